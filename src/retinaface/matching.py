# SPDX-License-Identifier: Apache-2.0
"""Targets of RetinaFace: which anchor learns which face.

    loc, conf, landm = match(0.35, boxes, prior_box((840, 840)), (0.1, 0.2), labels, landms)

Boxes and landmarks are shares of the input's width and height. A label is 1 (face with landmarks), -1 (face without)
or IGNORED; an anchor's class is one of these or 0, background.
"""
from __future__ import annotations

import heapq
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from dependency.errors import InputError
from src.retinaface.anchors import bbox_encode, landmark_encode

BACKGROUND = 0
# Neither face nor background: not part of any loss.
IGNORED = -2
# A face whose best IoU with an anchor is lower gets no anchor.
GATE = 0.2
MATCHINGS = ("own", "atss", "reference")
# Candidates of a face among the anchors of one size (Zhang et al. 2020, section 4.1: k = 9).
CANDIDATES = 9


class _Overlaps:
    """IoU of one face at a time with all anchors: the matrix of 2,000 faces and 29,126 anchors would take 233 MB."""

    def __init__(self, boxes: np.ndarray, priors: np.ndarray):
        self.centres, halves = np.ascontiguousarray(priors[:, :2].T), priors[:, 2:].T / 2
        self.low, self.high = np.ascontiguousarray(self.centres - halves), np.ascontiguousarray(self.centres + halves)
        self.anchor_sides = priors[:, 2]
        self.anchor_area = np.prod(self.high - self.low, axis=0)
        self.boxes = boxes
        self.face_area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
        self.intersection, self.side, self.scratch, self.iou = np.empty((4, len(priors)), np.float32)

    def row(self, face: int) -> np.ndarray:
        """Compute the IoU of the face of this number with all anchors, [N]; the next call overwrites the array."""
        self._extent(face, 0, self.intersection)
        self._extent(face, 1, self.side)
        self.intersection *= self.side
        np.subtract(self.anchor_area, self.intersection, out=self.scratch)
        self.scratch += self.face_area[face]
        return np.divide(self.intersection, self.scratch, out=self.iou)

    def ambiguous(self, best: float) -> np.ndarray:
        """Find the anchors that must not learn that the face of the last `row` is background, [N] bool.

        Their IoU is at least half that of the best anchor (GATE at most), or half of their area is inside the face.
        """
        near = self.iou >= max(min(GATE, best / 2), float(np.finfo(np.float32).tiny))
        return near | (self.intersection >= self.anchor_area / 2)

    @cached_property
    def sizes(self) -> list[np.ndarray]:
        """The numbers of the anchors of each size, [n] each."""
        return [np.flatnonzero(self.anchor_sides == side) for side in np.unique(self.anchor_sides)]

    def adaptive(self, face: int) -> np.ndarray:
        """Find the anchors of the face of the last `row` by ATSS, see `match`: their numbers, [n]."""
        low, high = self.boxes[face].reshape(2, 2, 1)
        x, y = np.square(self.centres - (low + high) / 2)
        distance = x + y
        candidates = []
        for anchors in self.sizes:
            near = distance[anchors]
            last = min(CANDIDATES, len(near)) - 1
            # Equal distances differ by rounding.
            candidates.append(anchors[near <= 1.0001 * np.partition(near, last)[last]])
        chosen = np.concatenate(candidates)
        iou, centres = self.iou[chosen], self.centres[:, chosen]
        inside = ((centres > low) & (centres < high)).all(axis=0)
        return chosen[inside & (iou >= iou.mean() + iou.std())]

    def _extent(self, face: int, axis: int, out: np.ndarray) -> None:
        low, high = self.boxes[face, axis], self.boxes[face, 2 + axis]
        np.minimum(self.high[axis], high, out=out)
        out -= np.maximum(self.low[axis], low, out=self.scratch)
        np.maximum(out, 0, out=out)


def match(threshold: float, boxes: np.ndarray, priors: np.ndarray, variances: Sequence[float], labels: np.ndarray,
          landms: np.ndarray, ignore_tiny: bool = True, matching: str = "own") -> tuple[np.ndarray, ...]:
    """Make the targets of one image.

    A face learns from the anchors whose IoU with it is at least `threshold` (Liu et al. 2016, SSD, arXiv 1512.02325,
    section 2.2); of several such faces an anchor belongs to the one that it overlaps most. Besides, every face gets the
    anchor that overlaps it best, if the IoU is at least GATE; of two faces with the same best anchor the one with the
    higher IoU gets it, and the other its next best.

    "atss": the threshold is each face's own (Zhang et al. 2020, arXiv 1912.02424, algorithm 1). Of each size of anchors
    the nine with the nearest centres, and those that are equally near, are its candidates: nine cells a level, since
    the two anchors of a cell have one centre. It learns from those whose IoU is at least the mean plus the standard
    deviation of the IoU of all candidates, and whose centre is inside it. The best anchor and GATE are as above.

    "reference": of several faces with the same best anchor the last one gets it, even one that is too small for it;
    nothing is ignored (faces labelled IGNORED are background); targets are encoded for background anchors too.

    Args:
        threshold: least IoU of anchor and face; not used by "atss".
        boxes: [G, 4] xyxy, shares of the input.
        priors: [N, 4] as `prior_box` gives them.
        variances: of the coding, (0.1, 0.2).
        labels: [G] 1, -1 or IGNORED; anchors on a face to ignore are no background.
        landms: [G, 10] x, y of five points, shares of the input; unused where the label is not 1.
        ignore_tiny: treat faces that are too small for any anchor like faces to ignore; else they are background.
        matching: a name in MATCHINGS.

    Returns:
        loc float32 [N, 4], conf int32 [N], landm float32 [N, 10]; loc and landm are 0 where the anchor has no face.

    Raises:
        InputError: an unknown name.
    """
    if matching not in MATCHINGS:
        raise InputError(f"match: no matching '{matching}': expected one of {', '.join(MATCHINGS)}")
    boxes, labels, landms = (np.asarray(boxes, np.float32).reshape(-1, 4), np.asarray(labels, np.int32),
                             np.asarray(landms, np.float32).reshape(-1, 10))
    if matching == "reference":
        kept = labels != IGNORED
        boxes, labels, landms = boxes[kept], labels[kept], landms[kept]
    count = len(priors)
    loc, conf, landm = np.zeros((count, 4), np.float32), np.zeros(count, np.int32), np.zeros((count, 10), np.float32)
    if len(boxes) == 0:
        return loc, conf, landm
    overlaps = _Overlaps(boxes, priors)
    if matching == "reference":
        owner, conf = _assign_as_reference(overlaps, labels, threshold)
        encoded = np.arange(count) if conf.any() else np.array([], np.intp)
    else:
        owner, conf = _assign(overlaps, labels, None if matching == "atss" else threshold, ignore_tiny)
        encoded = np.flatnonzero((conf != BACKGROUND) & (conf != IGNORED))
    faces, anchors = owner[encoded], priors[encoded]
    loc[encoded] = bbox_encode(boxes[faces], anchors, variances)
    landm[encoded] = landmark_encode(landms[faces], anchors, variances)
    return loc, conf, landm


def _assign(overlaps: _Overlaps, labels: np.ndarray, threshold: float | None,
            ignore_tiny: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return face and class of every anchor, [N] each; the face is void where the class is background or IGNORED.

    Args:
        threshold: least IoU of anchor and face; None = ATSS.
    """
    count = len(overlaps.iou)
    owner, best, ignored = np.zeros(count, np.intp), np.zeros(count, np.float32), np.zeros(count, bool)
    claims = []
    for face, label in enumerate(labels):
        row = overlaps.row(face)
        nearest = int(row.argmax())
        if label != IGNORED and row[nearest] >= GATE:
            claims.append((-float(row[nearest]), face, nearest))
            own = overlaps.adaptive(face) if threshold is None else np.flatnonzero(row >= threshold)
            own = own[row[own] > best[own]]
            owner[own], best[own] = face, row[own]
        elif label == IGNORED or ignore_tiny:
            ignored |= overlaps.ambiguous(float(row[nearest]))
    owners = _settle(overlaps, claims)
    forced = np.fromiter(owners, np.intp, len(owners))
    owner[forced] = np.fromiter(owners.values(), np.intp, len(owners))
    best[forced] = 1
    conf = np.where(best > 0, labels[owner], np.where(ignored, IGNORED, BACKGROUND)).astype(np.int32)
    return owner, conf


def _settle(overlaps: _Overlaps, claims: list[tuple[float, int, int]]) -> dict[int, int]:
    """Give every face one anchor, the best overlaps first.

    Args:
        claims: (minus IoU, face, its best anchor).

    Returns:
        {anchor: face}, without the faces for which no free anchor with an IoU of GATE is left.
    """
    owners: dict[int, int] = {}
    taken = np.zeros(len(overlaps.iou), bool)
    heapq.heapify(claims)
    while claims:
        _, face, anchor = heapq.heappop(claims)
        if not taken[anchor]:
            owners[anchor] = face
            taken[anchor] = True
            continue
        row = overlaps.row(face)
        row[taken] = 0
        anchor = int(row.argmax())
        if row[anchor] >= GATE:
            heapq.heappush(claims, (-float(row[anchor]), face, anchor))
    return owners


def _assign_as_reference(overlaps: _Overlaps, labels: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Return face and class of every anchor as the reference gives them."""
    count, faces = len(overlaps.iou), len(labels)
    owner, best = np.zeros(count, np.intp), np.full(count, -1, np.float32)
    nearest, reached = np.zeros(faces, np.intp), np.zeros(faces, np.float32)
    for face in range(faces):
        row = overlaps.row(face)
        nearest[face] = row.argmax()
        reached[face] = row[nearest[face]]
        better = row > best
        owner[better] = face
        np.maximum(best, row, out=best)
    if (reached < GATE).all():
        return owner, np.zeros(count, np.int32)
    best[nearest[reached >= GATE]] = 2
    # Of several faces with this best anchor the last one stays.
    for face in range(faces):
        owner[nearest[face]] = face
    return owner, np.where(best >= threshold, labels[owner], BACKGROUND).astype(np.int32)
