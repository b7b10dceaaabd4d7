# SPDX-License-Identifier: Apache-2.0
"""What to type after a training: commands that run as they stand, from the folder in which the training was started.

    print("\\n".join(commands(Path("outputs/.../best.ckpt"), test_options, photo)))
"""
from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def commands(checkpoint: Path, test_options: Sequence[str], photo: Path | None) -> list[str]:
    """Return command lines that test, score with a report, export and use a checkpoint.

    Args:
        checkpoint: its file.
        test_options: of test.py, that name the val set; none: there is no val set, and no command tests.
        photo: an image to find faces in.
    """
    stem = str(checkpoint.with_suffix(""))
    lines = []
    if test_options:
        lines.append(["test.py", "--test_model", str(checkpoint.parent), "--ckpt_name", checkpoint.name, *test_options,
                      "--eval", "1", "--save_dir", f"{stem}_test"])
        lines.append(["eval.py", "--pred", f"{stem}_test", *_truth(test_options), "--report", f"{stem}_report"])
    lines.append(["export.py", "--ckpt_file", str(checkpoint), "--file_format", "ONNX", "--file_name", stem])
    if photo:
        lines.append(["predict.py", str(photo), "--ckpt", str(checkpoint)])
    python = _interpreter()
    return [shlex.join([python, os.path.relpath(str(ROOT / program)), *words]) for program, *words in lines]


def _truth(test_options: Sequence[str]) -> list[str]:
    """Return the options of eval.py that name the val set of these options of test.py."""
    given = dict(zip(test_options, test_options[1:]))
    if "--data" in given:
        return ["--data", given["--data"]]
    only = ["--only_predicted"] if "--only_existing" in test_options else []
    return ["--gt", str(Path(given["--ground_truth_mat"]).parent), "--image_dir", given["--data_dir"], *only]


def _interpreter() -> str:
    """Return what starts this Python: `python` where that is it, else its path."""
    found = shutil.which("python")
    if found and os.path.realpath(found) == os.path.realpath(sys.executable) and Path(found).parent == Path(
            sys.executable).parent:
        return "python"
    return os.path.relpath(sys.executable) if Path(sys.executable).is_relative_to(Path.cwd()) else sys.executable
