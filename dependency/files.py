# SPDX-License-Identifier: Apache-2.0
"""Writing files that must never be seen half written."""
import os
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Iterator, Union


@contextmanager
def atomic_write(path: Union[str, Path], mode: str = "w") -> Iterator[IO]:
    """Open a file beside `path`; when the block ends well it takes the place of `path`, else it is removed.

    Args:
        path: the final file; its folder is created.
        mode: "w" for text (UTF-8) or "wb" for bytes.

    Raises:
        OSError: with the file's name, when the disk is full or the file may not be written.

    A crash, a kill or a full disk at any moment leaves the former file or the new one, nothing between.
    """
    import tempfile         # here, because its import takes longer than many programs that write nothing want to spend
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException as error:
        os.unlink(temporary)
        if isinstance(error, OSError) and error.filename is None:
            raise OSError(error.errno, f"cannot write {path}: {error.strerror}; "
                                       "free some space or write elsewhere") from error
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
