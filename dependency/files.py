# SPDX-License-Identifier: Apache-2.0
"""Find a file that must exist, and write files that must never be seen half written.

    path = existing_file("centerface.onnx", "an ONNX file")     # InputError where there is none
    with atomic_write("0-3_594.ckpt", "wb") as file: ...        # the former file or the new one, whole, at any moment
    append_line("metrics.jsonl", json.dumps(line))              # a whole line or none
    path = inside("output", "0--Parade/a.txt")                  # the check of names that come from another file
    folder = new_folder("outputs/2026-11-28_time_22_42_33")     # of two processes each gets its own
    with open_locked("config.yaml", "x") as file: ...           # no other process may open it so until it is closed
    link_file("0-3_594.ckpt", "best.ckpt")                      # a second name for a file
    remove_partial("outputs")                                   # what writers that were killed have left behind
"""
from __future__ import annotations

import errno
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain, count
from pathlib import Path
from typing import IO

from dependency.errors import InputError

try:
    import fcntl
except ImportError:         # Windows: a partial file is recognised as abandoned by its age only
    fcntl = None  # type: ignore[assignment]

# `.<name>.<random>.part`, as atomic_write calls the file that it is writing.
_PARTIAL = re.compile(r"\..+\.[a-z0-9_]{8}\.part")
# Where there are no locks (another host, some file systems): abandoned when unchanged for so many seconds.
_ABANDONED = 3600.0


def plain_text(path: str | Path) -> str:
    """Return a file's name as one line of text: line breaks and bytes that are no text become escapes."""
    text = str(path).encode("utf-8", "backslashreplace").decode("utf-8")
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)


def existing_file(path: str | Path, kind: str, advice: str = "") -> Path:
    """Return the path of a file that exists.

    Args:
        path: of the file.
        kind: what is expected, with its article, for the message.
        advice: what to type instead, for the message.

    Raises:
        InputError: there is a folder, or nothing.
    """
    path = Path(path)
    if not os.path.isfile(path):            # False, too, for a name too long for any file
        problem = f"a folder, not {kind}" if os.path.isdir(path) else f"no such file; expected {kind}"
        name = plain_text(path)
        name = name if len(name) <= 300 else f"{name[:40]}... ({len(name)} letters)"
        raise InputError(f"{name}: {problem}{advice and '; '}{advice}")
    return path


def inside(folder: str | Path, name: str | Path) -> Path:
    """Join the folder that a user named and a name that comes from elsewhere, for a file to write.

    Raises:
        InputError: the file would lie outside: by "..", an absolute name, or a link to another folder.
    """
    folder, path = Path(folder), Path(folder) / name
    if path.name == ".." or not path.parent.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{str(name)!r}: this name leads outside {folder}, where nothing is written; rename the "
                         "image, or remove the link")
    return path


@contextmanager
def atomic_write(path: str | Path, mode: str = "w") -> Iterator[IO]:
    """Open a file beside `path`; when the block ends well it takes the place of `path`, else it is removed.

    Args:
        path: the final file; its folder is created.
        mode: "w" for text (UTF-8) or "wb" for bytes.

    Raises:
        OSError: with the file's name, when the disk is full or the file may not be written.

    A crash, a kill or a full disk at any moment leaves the former file or the new one, nothing between. What a kill
    leaves beside it `remove_partial` removes.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _named(path):
        handle, temporary = _locked_temporary(path)
        lock = os.dup(handle)       # keeps the lock until the file has its final name
        try:
            with os.fdopen(handle, mode, encoding=None if "b" in mode else "utf-8") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            if fcntl is None:
                os.close(lock)      # there an open file cannot be renamed
                lock = -1
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
        except BaseException:
            with suppress(FileNotFoundError):       # its folder may be gone
                os.unlink(temporary)
            raise
        finally:
            if lock >= 0:
                os.close(lock)


def append_line(path: str | Path, line: str) -> None:
    """Add a line to a text file (UTF-8), the whole line or nothing of it.

    Raises:
        OSError: with the file's name, when the disk is full or the file may not be written.
    """
    path = Path(path)
    with _named(path), path.open("ab", buffering=0) as file:
        former = file.tell()
        content = memoryview(f"{line}\n".encode())
        try:
            while content:
                content = content[file.write(content):]
        except OSError:
            with suppress(OSError):
                file.truncate(former)
            raise


def link_file(source: str | Path, target: str | Path) -> None:
    """Give a file a second name in place of what had it, at once: a hard link, or a copy where links are impossible.

    Raises:
        OSError: the file is absent, the disk is full, or the folder may not be written.
    """
    source, target = Path(source), Path(target)
    temporary = target.with_name(f".{target.name}.{os.getpid():08d}.part")      # a name that `remove_partial` knows
    with suppress(FileNotFoundError):
        temporary.unlink()
    try:
        os.link(source, temporary)
    except OSError:
        with source.open("rb") as content, atomic_write(target, "wb") as file:
            shutil.copyfileobj(content, file)
        return
    os.replace(temporary, target)
    temporary.unlink(missing_ok=True)       # os.replace leaves it where both are names of one file already


def new_folder(path: str | Path) -> Path:
    """Make a folder that was not there, and its parents: `path`, or <path>_1, <path>_2, ...; return it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for folder in chain([path], (path.with_name(f"{path.name}_{number}") for number in count(1))):
        with suppress(FileExistsError):
            folder.mkdir()
            break
    return folder


@contextmanager
def open_locked(path: str | Path, mode: str) -> Iterator[IO[str]]:
    """Open a text file that no other process can open so until this one closes it or ends.

    Raises:
        BlockingIOError: another process has it open. FileExistsError: with mode "x".
    """
    with open(path, mode, encoding="utf-8") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise
            except OSError:         # a file system without locks
                pass
        yield file


def remove_partial(folder: str | Path) -> list[Path]:
    """Remove what writers that were killed have left half written in a folder; those still writing are not touched.

    Returns:
        the files that were removed.
    """
    removed = []
    for path in sorted(Path(folder).glob(".*.part")):
        if _PARTIAL.fullmatch(path.name):
            with suppress(FileNotFoundError, PermissionError):
                if _remove_if_abandoned(path):
                    removed.append(path)
    return removed


def _remove_if_abandoned(path: Path) -> bool:
    """Remove a half-written file unless its writer may still be at work; return whether it was removed.

    A writer holds a lock on its file; the lock ends when the process ends, even if it is killed. Where there are no
    locks, a file that has not changed for `_ABANDONED` seconds counts as abandoned.
    """
    with path.open("r+b") as file:
        try:
            if fcntl is None:
                raise OSError("no locks")
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            if time.time() - path.stat().st_mtime < _ABANDONED:
                return False
        path.unlink()
    return True


def _locked_temporary(path: Path) -> tuple[int, str]:
    """Create a file beside `path`, open and locked; return its descriptor and its name."""
    import tempfile  # slow to import, and many programs write nothing
    while True:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:50]}.", suffix=".part")
        if fcntl is not None:
            with suppress(OSError):             # a file system without locks
                fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink or fcntl is None:
            return handle, temporary
        os.close(handle)        # removed by another process before it was locked


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Add the name of the file to an OSError that names none."""
    try:
        yield
    except OSError as error:
        if error.filename is not None or isinstance(error.__cause__, OSError):      # named already
            raise
        reason = error.strerror or str(error)       # NumPy's has a text only
        raise OSError(error.errno or errno.EIO, f"cannot write {path}: {reason}; free some space or write "
                                                "elsewhere") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
