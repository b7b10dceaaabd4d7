# SPDX-License-Identifier: Apache-2.0
"""The WIDER FACE evaluation as the public Python ports compute it, row by row and threshold by threshold.

    python -m benchmarks.reference_evaluation --pred output/centerface/999 --gt dataset/centerface/ground_truth

What benchmarks/evaluation.py compares with, and nothing else: our own writing of the published procedure, loops
included (3 subsets x every image x 1000 thresholds), with the compiled overlap matrix where it is built.  It
takes about a minute and expects well-formed files: name, count, rows `x y w h score` of scores that differ.
"""
import argparse
import json
import sys
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from dependency.evaluate.overlaps import box_overlaps

SUBSETS = ("easy", "medium", "hard")
STEPS = 1000


def read_tree(pred: Path) -> dict[str, dict[str, np.ndarray]]:
    """Read a prediction tree: event -> image -> [N, 5] float64 x y w h score, in the order of the file."""
    tree = {}
    for event in sorted(pred.iterdir()):
        tree[event.name] = {}
        for path in sorted(event.iterdir()):
            rows = [list(map(float, line.split()[:5])) for line in path.read_text().splitlines()[2:]]
            tree[event.name][path.stem] = np.array(rows, np.float64).reshape(-1, 5)
    return tree


def scale(tree: dict[str, dict[str, np.ndarray]]) -> None:
    """Map the scores of the whole tree to 0..1, in place."""
    low, high = 1.0, 0.0
    for images in tree.values():
        for rows in images.values():
            if len(rows):
                low, high = min(low, rows[:, 4].min()), max(high, rows[:, 4].max())
    for images in tree.values():
        for rows in images.values():
            rows[:, 4] = (rows[:, 4] - low) / (high - low)


def match_rows(rows: np.ndarray, boxes: np.ndarray, counts: np.ndarray, iou: float) -> tuple[np.ndarray, np.ndarray]:
    """Match the rows of an image with its faces.

    Returns:
        the number of faces found up to each row [N]; and [N]: 1 for a proposal, -1 for a row on an ignored face.
    """
    found, proposals, state = np.zeros(len(rows)), np.ones(len(rows)), np.zeros(len(boxes))
    corners, faces = rows[:, :4].copy(), boxes.copy()
    corners[:, 2:] += corners[:, :2]
    faces[:, 2:] += faces[:, :2]
    overlaps = box_overlaps(corners, faces)
    for row in range(len(rows)):
        best = overlaps[row].argmax()
        if overlaps[row].max() >= iou:
            if counts[best] == 0:
                state[best] = -1
                proposals[row] = -1
            elif state[best] == 0:
                state[best] = 1
        found[row] = len(np.where(state == 1)[0])
    return found, proposals


def count_image(rows: np.ndarray, found: np.ndarray, proposals: np.ndarray) -> np.ndarray:
    """Count the proposals and the found faces of one image at every score threshold, as [1000, 2]."""
    counts = np.zeros((STEPS, 2))
    for step in range(STEPS):
        reached = np.where(rows[:, 4] >= 1 - (step + 1) / STEPS)[0]
        if len(reached):
            last = reached[-1]
            counts[step, 0] = len(np.where(proposals[:last + 1] == 1)[0])
            counts[step, 1] = found[last]
    return counts


def area(recall: np.ndarray, precision: np.ndarray) -> float:
    """Compute the average precision as PASCAL VOC does."""
    recall = np.concatenate(([0.0], recall, [1.0]))
    precision = np.concatenate(([0.0], precision, [0.0]))
    for step in range(len(precision) - 1, 0, -1):
        precision[step - 1] = np.maximum(precision[step - 1], precision[step])
    steps = np.where(recall[1:] != recall[:-1])[0]
    return float(np.sum((recall[steps + 1] - recall[steps]) * precision[steps + 1]))


def evaluate(pred: Path, gt: Path, iou: float = 0.5) -> dict[str, float]:
    """Compute the average precision of the three subsets."""
    tree = read_tree(pred)
    scale(tree)
    whole = loadmat(gt / "wider_face_val.mat")
    result = {}
    for subset in SUBSETS:
        kept = loadmat(gt / f"wider_{subset}_val.mat")["gt_list"]
        faces, totals = 0, np.zeros((STEPS, 2))
        for e in range(len(whole["event_list"])):
            images = tree[str(whole["event_list"][e][0][0])]
            names, boxes, keeps = whole["file_list"][e][0], whole["face_bbx_list"][e][0], kept[e][0]
            for i in range(len(names)):
                rows = images[str(names[i][0][0])]
                truth = boxes[i][0].astype("float")
                keep = keeps[i][0]
                faces += len(keep)
                if not len(truth) or not len(rows):
                    continue
                counts = np.zeros(len(truth), int)
                if len(keep):
                    counts[keep - 1] = 1
                totals += count_image(rows, *match_rows(rows, truth, counts, iou))
        with np.errstate(invalid="ignore"):
            result[subset] = area(totals[:, 1] / faces, totals[:, 1] / totals[:, 0])
    return result


def main() -> int:
    """Print the average precisions as one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pred", type=Path, required=True, help="Folder of predictions, <event>/<image>.txt.")
    parser.add_argument("--gt", type=Path, required=True, help="Folder of the four .mat files.")
    args = parser.parse_args()
    print(json.dumps(evaluate(args.pred, args.gt)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
