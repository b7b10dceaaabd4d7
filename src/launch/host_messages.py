# SPDX-License-Identifier: Apache-2.0
"""What launchers on several hosts say to each other, and the connection over which they do.

    connection.send("failed", what="rank 1 ...", ...);  for message in connection.poll(): ...

A message is one line of JSON: a word of WORDS with its fields, at most MAX_LINE bytes; anything else closes the
connection. Each side sends `beat` every second and gives the other up after five seconds of silence.
"""
import json
import select
import socket
import time
from typing import Any

BEAT = 1.0                  # seconds
SILENCE = 5.0
MAX_LINE = 1 << 16
WORDS = {
    "hello": {"host_rank": int, "hosts": int, "size": int},         # this host is ready for an attempt
    "start": {"port": int},                                         # all are; begin the attempt
    "failed": {"what": str, "status": int, "log": str, "cause": str, "tail": list, "others": list},
    "interrupt": {},                                                # a person stops the run
    "done": {},                                                     # all workers of this host ended well
    "end": {"status": int, "why": str},                             # the first host's last word
    "beat": {},
}


def encode(word: str, **fields: Any) -> bytes:
    """One line; of a long tail the last lines that fit."""
    for name, value in fields.items():
        if isinstance(value, str):
            fields[name] = value[:2000]
    if "others" in fields:
        fields["others"] = [text[:500] for text in fields["others"]]
    while True:
        line = json.dumps({"word": word, **fields}).encode("ascii")
        if len(line) < MAX_LINE or not fields.get("tail"):
            return line + b"\n"
        fields["tail"] = fields["tail"][1:]


def decode(line: bytes) -> dict[str, Any]:
    """The message of one line.

    Raises:
        ValueError: it is none.
    """
    try:
        message = json.loads(line)
    except RecursionError as error:
        raise ValueError("too many brackets") from error
    word = message.get("word") if isinstance(message, dict) else None
    fields = WORDS.get(word) if isinstance(word, str) else None
    if fields is None or set(message) != {"word", *fields}:
        raise ValueError(f"not a message of a launcher: {line[:80]!r}")
    for name, kind in fields.items():
        if type(message[name]) is not kind:
            raise ValueError(f"{name} of {message['word']} is not of type {kind.__name__}")
    if not all(isinstance(text, str) for text in message.get("tail", []) + message.get("others", [])):
        raise ValueError("tail or others is not lines of text")
    return message


class Gone(Exception):
    """The other side cannot be heard any more; the message says how."""


class Connection:
    """One side of a connection; never waits."""

    def __init__(self, sock: socket.socket):
        self.sock = sock
        self.peer = sock.getpeername()[0]
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received, self._to_send = b"", b""
        self._heard = self._beat = time.monotonic()

    def send(self, word: str, **fields: Any) -> None:
        self._to_send += encode(word, **fields)
        self._flush()

    def poll(self) -> list[dict[str, Any]]:
        """Messages that came, without beats.

        Raises:
            Gone: closed, silent for too long, or not speaking our words.
        """
        now = time.monotonic()
        if now - self._beat >= BEAT:
            self._beat = now
            self.send("beat")
        self._flush()
        closed = self._receive()
        *lines, self._received = self._received.split(b"\n")
        if len(self._received) > MAX_LINE or any(len(line) > MAX_LINE for line in lines):
            raise Gone("it sent a line that is too long")
        try:
            messages = [decode(line) for line in lines]
        except ValueError as error:
            raise Gone(f"it sent {error}") from error
        if closed and not messages:
            raise Gone("its launcher closed the connection")
        if time.monotonic() - self._heard > SILENCE:
            raise Gone(f"no sign of it for {SILENCE:.0f} s")
        return [message for message in messages if message["word"] != "beat"]

    def _receive(self) -> bool:
        """Takes what came, at most a few lines at a time; whether the other side has closed."""
        try:
            block = self.sock.recv(2 * MAX_LINE)
        except BlockingIOError:
            return False
        except OSError:
            return True
        self._received += block
        self._heard = time.monotonic()
        return not block

    def _flush(self) -> None:
        try:
            while self._to_send:
                self._to_send = self._to_send[self.sock.send(self._to_send):]
        except OSError:         # full for now, or closed, which poll finds
            pass

    def close(self) -> None:
        """Let the other side have what was sent: closing with something unread would take it back."""
        deadline = time.monotonic() + 0.5
        try:
            while self._to_send and time.monotonic() < deadline:
                select.select([], [self.sock], [], 0.05)
                self._flush()
            self.sock.shutdown(socket.SHUT_WR)
            while time.monotonic() < deadline:
                if select.select([self.sock], [], [], 0.05)[0] and not self.sock.recv(MAX_LINE):
                    break
        except OSError:
            pass
        self.sock.close()
