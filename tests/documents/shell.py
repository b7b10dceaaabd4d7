# SPDX-License-Identifier: Apache-2.0
"""Run the shell blocks of a document as typed, in a copy of the project, with small settings.

    Shell(folder, real=False).run(block, log)

The shell is the machine's; `python` is a program of ours that asks this process to run the command. In the quick tests
it calls the program's main() here, where everything is imported once; with real=True it starts the real program.
Either way the options of SMALL are added at the end, where they win.
"""
from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import shlex
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from unittest import mock

from src import models
from src.cli.options import flat
from src.cli.program import run
from tests.conftest import ROOT

# What a command gets so that it takes seconds. Programs are named by file or module.
SMALL = {
    "train.py": "--epochs=2 --batch_size=2 --image_size=64 --workers=1 --device_target=CPU",
    "test.py": "--backend=onnx --device_target=CPU --test_size=96",
    "eval.py": "--backend=onnx --device_target=CPU --val_origin_size=1",      # where it detects
    "predict.py": "--test_size=96",
    "src.tools.synthetic": "--train=6 --val=4 --size=192 --workers=1",
}
# And in the quick tests: building ResNet-50 and its optimiser takes long, and so does MindSpore's compilation.
QUICK = {"train.py retinaface": "--backbone=mobilenet025 --pretrain=0", "export.py": "--verify=0",
         "src.tools.doctor": "--quick"}
# Words that are replaced: a file whose name promises a hash can only be downloaded.
WORDS = {"mobilenet_v2-b0353104.pth": "mobilenet_v2.pth", "resnet50-19c8e357.pth": "resnet50.pth"}
# Commands that do nothing here, and why.
ABSENT = {
    "make": "it is what runs these tests, or takes as long as all of them",
    "curl": "a download; the copy of the project has the file",
    "git": "a download",
    "pip": "an installation",
    "unzip": "the copy of the project has the unpacked files",
    "setup.py": "tests/dependency/test_build_extension.py builds both extensions",
}
CLIENT = """import json, os, socket, sys, time
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    server.sendall(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode())
    server.shutdown(socket.SHUT_WR)
    status, out, error = json.loads(server.makefile().read())
sys.stdout.write(out), sys.stderr.write(error)
sys.stdout.flush()
time.sleep(0.03)        # a Python takes longer to end: whoever reads its output has it all then
sys.exit(status)
"""


class Shell:
    """A shell in the folder of a project, see the head of the file."""

    def __init__(self, folder: Path, real: bool = False):
        self.folder, self.real = folder, real
        self.times: list[tuple[float, str]] = []
        tools = folder / ".venv" / "bin"
        tools.mkdir(parents=True)
        self.socket_folder = tempfile.TemporaryDirectory()      # the address of a socket has at most 107 bytes
        address = f"{self.socket_folder.name}/python"
        (tools / "client.py").write_text(CLIENT.format(address=address))
        for name in ("python", "python3"):
            _write_tool(tools / name, f'exec {shlex.join([sys.executable, "-IS", str(tools / "client.py")])} "$@"')
        for name in ABSENT:
            _write_tool(tools / name, ":")
        _write_tool(tools / "sleep", "exec /bin/sleep 0.05")
        (tools / "activate").write_text(f"PATH={shlex.quote(str(tools))}:$PATH\n")
        self.environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": "", "DEVICE_NUM": "2"}
        self.environment.pop("PYTHON", None)        # `make PYTHON=python3.11 test` exports it, and the scripts heed it
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(address)
        self.server.listen()
        self.server.settimeout(0.05)

    def run(self, block: str) -> subprocess.CompletedProcess:
        """Run the lines of a block until one fails, and wait for what they started in the background."""
        script = f"set -eu\n{block}\nfor job in $(jobs -p); do wait $job; done\n"
        log = self.folder / ".log"
        with log.open("w") as output, subprocess.Popen(["sh", "-c", script], cwd=self.folder, env=self.environment,
                                                       stdout=output, stderr=output) as shell:
            while shell.poll() is None:
                with contextlib.suppress(socket.timeout):
                    self._serve(self.server.accept()[0])
        return subprocess.CompletedProcess(script, shell.returncode, log.read_text(errors="replace"))

    def _serve(self, client: socket.socket) -> None:
        with client:
            client.settimeout(60)
            words, cwd, environment = json.loads(client.makefile().read())
            with _folder(cwd):
                answer = self._answer(words, environment)
            client.sendall(json.dumps(answer).encode())

    def _answer(self, words: list[str], environment: dict[str, str]) -> tuple[int, str, str]:
        if Path(words[0]).name in ABSENT:
            return 0, "", ""
        words, start = shrink(words, not self.real), time.monotonic()
        answer = self._start(words, environment) if self.real or words[0] == "-c" else call(words, environment)
        self.times.append((time.monotonic() - start, shlex.join(words)))
        if "src.tools.doctor" in words and answer[0] == 1:      # it has found something on this machine
            return (0, *answer[1:])
        return answer

    @staticmethod
    def _start(words: list[str], environment: dict[str, str]) -> tuple[int, str, str]:
        done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr


def shrink(words: list[str], quick: bool) -> list[str]:
    """The command line of a Python program with the options of SMALL, and with `quick` of QUICK."""
    words = [_replace(word) for word in words]
    if words[0].endswith("launch.py") and "--" in words and "--dry_run" not in words and "--which_host" not in words:
        # One process in place of several: no device of this kind is here.
        words = [word for word in words[words.index("--") + 1:] if not word.startswith("--is_distributed")]
    program = words[1] if words[0] == "-m" else Path(words[0]).name
    if program == "eval.py" and {"--pred", "--gt", "--sweep"} & {word.split("=")[0] for word in words}:
        return words
    small, spellings = SMALL.get(program, ""), {}
    if program == "train.py":
        model = models.select(words[1:], default="retinaface")[0]
        program += f" {model}"
        spellings = {f"--{name}": option.aliases for name, option in flat(models.options(model)).items()}
    small = [*small.split(), *(QUICK.get(program, "").split() if quick else [])]
    for option in (word.split("=")[0] for word in small):
        words = _without(words, (option, *spellings.get(option, ())))
    return [*words, *small]


def _without(words: list[str], names: tuple[str, ...]) -> list[str]:
    """The words without an option and its value; a flag has none."""
    kept: list[str] = []
    for before, word in zip(["", *words], words):
        if word.split("=")[0] not in names and (before not in names or word.startswith("--")):
            kept.append(word)
    return kept


def call(words: list[str], environment: dict[str, str]) -> tuple[int, str, str]:
    """Run a program of the project in this process: its status and what it prints."""
    if words[0] == "-m":
        name, arguments = words[1], words[2:]
    else:
        path = Path(words[0])
        path = ROOT / "src/tools" / path.name if path.parent.name == "scripts" else path.resolve()
        name, arguments = ".".join(path.relative_to(ROOT).with_suffix("").parts), words[1:]
    main = importlib.import_module(name).main
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error), \
            mock.patch.dict(os.environ, environment, clear=True), \
            mock.patch.object(sys, "argv", [words[0], *arguments]):
        try:
            status = run(lambda: main(arguments))
        except SystemExit as end:
            status = end.code or 0
        except Exception:       # noqa: BLE001 - the shell waits for an answer in any case
            status = 1
            traceback.print_exc()
    return status, out.getvalue(), error.getvalue()


def _replace(word: str) -> str:
    for old, new in WORDS.items():
        word = word.replace(old, new)
    return word


def _write_tool(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@contextlib.contextmanager
def _folder(folder: str):
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
