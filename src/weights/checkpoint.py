# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: MindSpore `.ckpt` files with metadata and a checksum inside, read and written without MindSpore.

    save("0-1_198.ckpt", tensors, metadata, {"epoch": 1});  load("0-1_198.ckpt").metadata["model"]   ->   "centerface"

`mindspore.load_checkpoint` reads these files (also with `crc_check=True`) and `load` reads MindSpore's.
Beside the tensors a file holds up to three JSON texts: "file" (how many entries there must be), "metadata" (how to
rebuild and feed the network), "bookkeeping" (epoch, step, ...). See docs/formats.md.
"""
from __future__ import annotations

import difflib
import json
import re
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dependency.errors import InputError
from dependency.files import atomic_write
from src.common.log import LOGGER
from src.weights.ckpt_format import CRC_MARK, CRC_SIZE, DamagedError, Entry, decode, encode
from src.weights.metadata import METADATA_KEY, OLD_METADATA_KEY, check_metadata, parse_table

NETWORK_PREFIXES = ("centerface_network.", "network.", "module.")
# Moments of MindSpore's optimizers, and the weights in training where a moving average has their plain names.
OPTIMIZER_PREFIXES = ("moments.", "moment1.", "moment2.", "accum.", "stat.", "vhat.", "adam_m.", "adam_v.", "raw.")
# Scalars and schedules that MindSpore's optimizers and loss scalers leave among the parameters.
STATE_NAMES = {"global_step", "learning_rate", "beta1_power", "beta2_power", "momentum", "weight_decay",
               "epoch_num", "step_num", "scale_sense", "loss_scale", "current_iterator_step",
               "last_overflow_iterator_step"}
_TEXTS = ("file", METADATA_KEY, "bookkeeping")
_ARRAY_TAG = "bookkeeping."
_CONVERT = "convert it: python -m src.tools.convert {path} OUT.ckpt"
_OTHER_FORMATS = (
    (b"PK\x03\x04", "a PyTorch file (or another zip archive)", _CONVERT),
    (b"\x80\x02", "a PyTorch file", _CONVERT),
    (b"\x1f\x8b", "a gzip archive", "unpack it first"),
    (b"version https://git-lfs", "a git-lfs pointer, not the weights", "fetch the real file: git lfs pull"),
    (b"<", "a web page or XML, not weights", "download the file itself again"),
)


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint file.

    tensors: every tensor by its name in the file, optimizer state included (see `network_tensors`).
    metadata: how to rebuild and feed the network; None where the file has no metadata.
    bookkeeping: epoch, step and other values of the training; for files of MindSpore its scalars and texts.
    """
    tensors: dict[str, np.ndarray]
    metadata: dict[str, Any] | None = None
    bookkeeping: dict[str, Any] = field(default_factory=dict)


def save(path: str | Path, tensors: dict[str, np.ndarray], metadata: dict[str, Any] | None = None,
         bookkeeping: dict[str, Any] | None = None) -> None:
    """Write a checkpoint; an interruption leaves the former file.

    Args:
        path: the file to write.
        tensors: arrays by name; none may be empty.
        metadata: a JSON-able dict (tuples come back as lists), or None.
        bookkeeping: arrays, or JSON-able values such as numbers, texts, a generator's state.
    """
    for name in tensors:
        if name in _TEXTS or name.startswith(_ARRAY_TAG):
            raise ValueError(f"{name}: this name is reserved in a checkpoint")
    texts = {} if metadata is None else {METADATA_KEY: _to_json(metadata)}
    arrays, rest = {}, {}
    for name, value in (bookkeeping or {}).items():
        if isinstance(value, np.ndarray):
            arrays[_ARRAY_TAG + name] = value
        else:
            rest[name] = value
    if rest:
        texts["bookkeeping"] = _to_json(rest)
    count = 1 + len(texts) + len(tensors) + len(arrays)
    entries: dict[str, Entry] = {"file": _to_json({"format": 1, "entries": count}), **texts, **tensors, **arrays}
    checksum = 0
    with atomic_write(path, "wb") as file:
        for tag, entry in entries.items():
            data = encode(tag, entry)
            checksum = zlib.crc32(data, checksum)
            file.write(data)
        file.write(CRC_MARK + checksum.to_bytes(10, "big"))


def load(path: str | Path) -> Checkpoint:
    """Read a checkpoint of this project or of MindSpore and verify its checksum.

    Raises:
        InputError: no such file, another format, cut off, or changed; the message says what to do.
    """
    path = Path(path)
    data = _read(path)
    body = memoryview(data)
    has_checksum = data[-CRC_SIZE:-10] == CRC_MARK
    if has_checksum:
        body = body[:-CRC_SIZE]
        if zlib.crc32(body) != int.from_bytes(data[-10:], "big"):
            raise InputError(f"{path}: the checksum does not match: the file was changed after it was written; copy it "
                             "again or use another checkpoint")
    try:
        entries = decode(body)
    except DamagedError as error:
        raise InputError(f"{path}: not a MindSpore checkpoint, or cut off or damaged ({error}); copy it again, or "
                         "give a .ckpt that train.py or src.tools.convert wrote") from error
    expected = _from_json(path, entries, "file").get("entries", 0)
    if len(entries) < expected:
        raise InputError(f"{path}: cut off: it holds {len(entries)} of {expected} entries; copy it again")
    if not has_checksum:
        LOGGER.warning("%s has no checksum (MindSpore wrote the file): damage cannot be detected", path)
    return _sort_entries(path, entries)


def network_tensors(checkpoint: Checkpoint) -> dict[str, np.ndarray]:
    """Select the network's own tensors, without the prefixes of training cells and the optimizer's state."""
    return strip_prefix({name: value for name, value in checkpoint.tensors.items()
                         if not name.startswith(OPTIMIZER_PREFIXES)})


def strip_prefix(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Remove every leading `centerface_network.`, `network.` and `module.` from the names."""
    leading = re.compile(f"^(?:{'|'.join(map(re.escape, NETWORK_PREFIXES))})+")
    return {leading.sub("", name): value for name, value in tensors.items()}


def set_parameters(network: Any, tensors: dict[str, np.ndarray]) -> None:
    """Copy tensors, as float32, into the parameters of a MindSpore cell that have their names."""
    from mindspore import Tensor
    parameters = dict(network.parameters_and_names())
    for name, value in tensors.items():
        parameters[name].set_data(Tensor(value.astype(np.float32, copy=False)))


@dataclass(frozen=True)
class LoadReport:
    """How the tensors of a file fit a network; `wrong_shape` rows are (name, expected shape, actual shape)."""
    matched: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    wrong_shape: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]

    @property
    def ok(self) -> bool:
        """Whether file and network have the same names and shapes."""
        return not (self.missing or self.unexpected or self.wrong_shape)

    def format(self, limit: int = 8) -> str:
        """Write a summary line, then one line for each kind of difference with at most `limit` names."""
        lines = [(f"{len(self.matched)} matched, {len(self.missing)} missing, "
                 f"{len(self.unexpected)} unexpected, {len(self.wrong_shape)} of wrong shape")]
        shapes = tuple(f"{name} (expected {list(expected)}, file has {list(actual)})"
                       for name, expected, actual in self.wrong_shape)
        differences = {"missing": self.missing, "unexpected": self.unexpected, "wrong shape": shapes}
        for title, names in differences.items():
            if names:
                more = f", ... {len(names) - limit} more" if len(names) > limit else ""
                lines.append(f"  {title}: {', '.join(names[:limit])}{more}")
        return "\n".join(lines)

    def require(self, source: str | Path, metadata: dict[str, Any] | None = None) -> None:
        """Raise InputError, with the names and the likely cause, unless everything fits.

        Args:
            source: the file, for the message.
            metadata: the file's metadata, if any: its model and options are named.
        """
        if self.ok:
            return
        if not self.matched and not self.wrong_shape:
            cause = "the file belongs to another model; give --model or another checkpoint"
        elif self.wrong_shape:
            cause = ("the network was built with other options than the file's (such as another --head_conv); build it "
                     "with the file's options")
        else:
            cause = "the file is of another version of the model, or only a part of it"
        if metadata:
            cause += f" (the file's metadata says model {metadata.get('model')}, options {metadata.get('options')})"
        differences = "; ".join(line.strip() for line in self.format().splitlines())
        raise InputError(f"{source}: the weights do not fit the network: {differences}; likely cause: {cause}")


def load_report(shapes: dict[str, tuple[int, ...]], tensors: dict[str, np.ndarray]) -> LoadReport:
    """Compare a network's shapes by name with a file's tensors."""
    common = [name for name in shapes if name in tensors]
    wrong = {name: (name, tuple(shapes[name]), tensors[name].shape) for name in common
             if tuple(shapes[name]) != tensors[name].shape}
    return LoadReport(matched=tuple(name for name in common if name not in wrong),
                      missing=tuple(name for name in shapes if name not in tensors),
                      unexpected=tuple(name for name in tensors if name not in shapes),
                      wrong_shape=tuple(wrong.values()))


def checkpoint_name(prefix: int | str, epoch: int, step: int) -> str:
    """Name a checkpoint `<prefix>-<epochs done>_<steps done>.ckpt`; CenterFace's prefix is the rank."""
    return f"{prefix}-{epoch}_{step}.ckpt"


def list_checkpoints(folder: str | Path) -> list[Path]:
    """List the files `<prefix>-<epoch>_<step>.ckpt` of a folder, sorted by (epoch, step, name)."""
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give the folder that holds the .ckpt files")
    checkpoints = []
    for path in folder.iterdir():
        match = re.search(r"-(\d+)_(\d+)\.ckpt$", path.name)
        if match:
            checkpoints.append((int(match[1]), int(match[2]), path.name))
    return [folder / name for _, _, name in sorted(checkpoints)]


def _read(path: Path) -> bytes:
    """Read the file, unless it is plainly something else than a checkpoint."""
    if path.is_dir():
        raise InputError(f"{path}: a folder, not a checkpoint; give one file{_nearest(path / path.name)}")
    if not path.exists():
        raise InputError(f"{path}: no such checkpoint{_nearest(path)}")
    data = path.read_bytes()
    if not data:
        raise InputError(f"{path}: the file is empty (an interrupted copy, or a full disk); copy it again")
    for start, kind, advice in _OTHER_FORMATS:
        if data.startswith(start):
            raise InputError(f"{path}: {kind}, not a MindSpore checkpoint; {advice.format(path=path)}")
    return data


def _nearest(path: Path) -> str:
    """Write the end of a message: existing checkpoints with similar names."""
    folder = path.parent
    if not folder.is_dir():
        return f"; the folder {folder} does not exist either"
    names = sorted(file.name for file in folder.glob("*.ckpt"))
    if not names:
        return f"; there is no .ckpt file in {folder.resolve()}"
    close = difflib.get_close_matches(path.name, names, n=3, cutoff=0.3) or names[-3:]
    return f"; nearest in that folder: {', '.join(close)}"


def _sort_entries(path: Path, entries: dict[str, Entry]) -> Checkpoint:
    """Separate the entries of a file into tensors, metadata and bookkeeping."""
    if OLD_METADATA_KEY in entries:
        entries[METADATA_KEY] = entries.pop(OLD_METADATA_KEY)
    metadata = _from_json(path, entries, METADATA_KEY) if METADATA_KEY in entries else None
    check_metadata(metadata or {}, path)
    bookkeeping = _from_json(path, entries, "bookkeeping")
    tensors = {}
    for tag, value in entries.items():
        if tag in _TEXTS:
            continue
        if tag.startswith(_ARRAY_TAG):
            bookkeeping[tag[len(_ARRAY_TAG):]] = value
        elif isinstance(value, str) or value.ndim == 0 or tag in STATE_NAMES:
            bookkeeping[tag] = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
        else:
            tensors[tag] = value
    if not tensors:
        raise InputError(f"{path}: holds no tensors; give a checkpoint of a network")
    return Checkpoint(tensors, metadata, bookkeeping)


def _from_json(path: Path, entries: dict[str, Entry], tag: str) -> dict[str, Any]:
    """Parse the JSON object in a text entry; empty where there is no such text."""
    text = entries.get(tag)
    return parse_table(text, f"{path}: its entry {tag!r}", "use another checkpoint") if isinstance(text, str) else {}


def _to_json(value: dict[str, Any]) -> str:
    return json.dumps(value, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} {value!r} cannot be kept in a checkpoint's texts")
