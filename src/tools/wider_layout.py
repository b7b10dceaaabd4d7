# SPDX-License-Identifier: Apache-2.0
"""The CenterFace manual's dataset tree, made of links to a WIDER FACE download.

    links, missing = make_layout(Path("dataset/centerface"), Path("downloads"))

    dataset/centerface/annotations/                 train.json, val.json go here
    dataset/centerface/images/train/images       -> downloads/WIDER_train/images
    dataset/centerface/images/val/images         -> downloads/WIDER_val/images
    dataset/centerface/ground_truth/*.mat        -> downloads/eval_tools/ground_truth/*.mat, and val.mat
"""
from __future__ import annotations

import shlex
from pathlib import Path

from dependency.errors import InputError

SOURCE = "http://shuoyang1213.me/WIDERFACE or https://huggingface.co/datasets/CUHK-CSE/wider_face"
GROUND_TRUTH = ("wider_easy_val.mat", "wider_medium_val.mat", "wider_hard_val.mat", "wider_face_val.mat")


def make_layout(target: Path, wider: Path,
                ground_truth: Path | None = None) -> tuple[list[str], list[str]]:
    """Make the tree under `target`; existing files stay.

    Args:
        target: the folder to fill, for example dataset/centerface.
        wider: holds the unpacked downloads WIDER_train, WIDER_val, wider_face_split, eval_tools, each perhaps in a
            folder or two of its own.
        ground_truth: holds the four .mat files, where they are not under `wider`.

    Returns:
        One line for each link, and one for each missing part of the download.

    Raises:
        InputError: `wider` holds none of the parts, or another file has the name of a link.
    """
    tops = [wider, *sorted(folder for pattern in ("*", "*/*") for folder in wider.glob(pattern) if folder.is_dir())]
    folders = [ground_truth] if ground_truth else []
    folders += [top / name for name in ("eval_tools/ground_truth", "ground_truth", "wider_face_split") for top in tops]
    sources = {target / f"images/{split}/images": [top / f"WIDER_{split}/images" for top in tops]
              for split in ("train", "val")}
    for name in GROUND_TRUTH:
        sources[target / "ground_truth" / name] = [folder / name for folder in folders]
    # The manual's test asks for val.mat, its evaluation for wider_face_val.mat: one file under two names.
    sources[target / "ground_truth/val.mat"] = sources[target / "ground_truth/wider_face_val.mat"]
    existing = {link: next((source for source in candidates if source.exists()), None)
             for link, candidates in sources.items()}
    packed = [file for top in tops for file in sorted(top.glob("*.zip"))]
    remedy = "unpack first: " + "; ".join(f"unzip {shlex.quote(str(file))} -d {shlex.quote(str(wider))}"
                                          for file in packed) if packed else f"download it from {SOURCE}"
    if not any(existing.values()):
        raise InputError(f"{wider}: holds no unpacked WIDER_train, WIDER_val, .mat files; {remedy}")
    (target / "annotations").mkdir(parents=True, exist_ok=True)
    links: list[str] = []
    missing: list[str] = []
    for link, source in existing.items():
        if source is None:
            missing.append(f"{sources[link][0]} (for {link}); {remedy}")
        else:
            _link(link, source)
            links.append(f"{link} -> {source}")
    return links, missing


def _link(link: Path, source: Path) -> None:
    if link.is_symlink() or link.exists():
        if link.resolve() != source.resolve():
            raise InputError(f"{link} is there already and is not a link to {source}; move it away first")
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(source.resolve(), target_is_directory=source.is_dir())
