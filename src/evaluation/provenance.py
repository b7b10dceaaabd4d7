# SPDX-License-Identifier: Apache-2.0
"""How predictions were made, in `settings.json` beside them: checkpoint, options of the detector, date, commit.

    write_settings(Path("output/centerface/999"), Path("0-125_24750.ckpt"), detector)
    read_settings("output/centerface/999")["nms"]

The report names them; scoring does not depend on them.
"""
from __future__ import annotations

import json
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from dependency.centernet.src.lib.detectors.base_detector import format_size
from dependency.files import atomic_write
from src.evaluation.options import DETECTOR

SETTINGS = "settings.json"
DATE = "%Y-%m-%d %H:%M"
ROOT = Path(__file__).resolve().parents[2]


def write_settings(tree: Path, checkpoint: Path, detector: Any) -> None:
    """Write the settings of a detector (of one without such attributes: only checkpoint, date, commit)."""
    options = {name: getattr(detector, name) for name in DETECTOR if hasattr(detector, name)}
    if "test_size" in options:
        options["test_size"] = format_size(options["test_size"])
    with atomic_write(tree / SETTINGS) as file:
        json.dump({"checkpoint": checkpoint.name, **options, **date_and_commit()}, file, indent=2)
        file.write("\n")


def read_settings(pred: str | Path) -> dict[str, Any]:
    """Read the settings beside a tree or a .json file of predictions; none where they are absent or another file's."""
    folder = Path(pred).with_suffix("") if Path(pred).is_file() else Path(pred)
    with suppress(OSError, ValueError):
        content = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        if isinstance(content, dict) and "checkpoint" in content:
            return content
    return {}


def date_and_commit() -> dict[str, str]:
    """Return {"date": now, "commit": of this project}; without the commit where git does not know it."""
    result = {"date": time.strftime(DATE)}
    if (ROOT / ".git").exists():
        with suppress(OSError, subprocess.SubprocessError):
            result["commit"] = subprocess.run(["git", "describe", "--always", "--dirty", "--exclude=*"], cwd=ROOT,
                                              capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    return result
