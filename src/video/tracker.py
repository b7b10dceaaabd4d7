# SPDX-License-Identifier: Apache-2.0
"""Follow faces from frame to frame, so that one that is lost for a while, or found late, is known all the time.

    tracker = Tracker(hold=25)
    tracker.add(number, faces.boxes, faces.scores)      # of each frame that was searched, in order
    tracker.faces(number - 25)                          # what is known of an earlier one, from both sides

Boxes are xyxy pixels. A face is continued by weaker detections than those that it is first believed by (ByteTrack,
Zhang et al. 2022): see `BELIEVED`. Between two detections its box is interpolated; after the last, and before the first
one, it goes on as it moved.
"""
from __future__ import annotations

from typing import Any

import numpy as np

from dependency.evaluate.overlaps import box_overlaps

# Detections under the first score are not looked at; a face is believed from one over the second on, or from several
# in a row.
CONTINUED, BELIEVED, SEVERAL = 0.1, 0.25, 5
# Two boxes may be one face where they overlap so much after each was made twice as large.
OVERLAP = 0.25
# Detections from which the speed is estimated; it halves in so many frames without one.
RECENT, HALVED = 8, 8.0
LAST = 1 << 62


class Track:
    """One face: the frames in which it was found, [K] ascending, with boxes [K, 4] and scores [K].

    number: of the face, once it was believed and shown. begin, end: frames between which its scene lasts.
    """

    def __init__(self, begin: int):
        self.frames: list[int] = []
        self.boxes: list[np.ndarray] = []
        self.scores: list[float] = []
        self.number, self.is_believed = 0, False
        self.begin, self.end = begin, LAST

    def add(self, frame: int, box: np.ndarray, score: float) -> None:
        """Add a detection."""
        self.frames.append(frame)
        self.boxes.append(box)
        self.scores.append(score)
        self.is_believed |= score >= BELIEVED or len(self.frames) >= SEVERAL

    def forget(self, frame: int) -> None:
        """Forget what the boxes from a frame on do not depend on, except for the most recent detections."""
        old = min(int(np.searchsorted(self.frames, frame, side="right")) - 1, len(self.frames) - RECENT)
        if old > 0:
            del self.frames[:old], self.boxes[:old], self.scores[:old]

    def box(self, frame: int) -> np.ndarray:
        """Return the box [4] at any frame."""
        after = int(np.searchsorted(self.frames, frame))
        if 0 < after < len(self.frames):
            return np.array([np.interp(frame, self.frames[after - 1:after + 1], pair)
                             for pair in zip(*self.boxes[after - 1:after + 1])])
        index = 0 if after == 0 else -1
        passed = frame - self.frames[index]
        # A speed that halves every `HALVED` frames.
        steps = np.sign(passed) * (1 - 0.5 ** (abs(passed) / HALVED)) * HALVED / np.log(2)
        return self.boxes[index] + steps * self._speed(slice(0, RECENT) if index == 0 else slice(-RECENT, None))

    def _speed(self, recent: slice) -> np.ndarray:
        """Estimate how the box [4] changes in a frame, by the detections of `recent`: its place, not its size."""
        times, boxes = np.array(self.frames[recent], float), np.array(self.boxes[recent])
        if len(times) < 3:
            return np.zeros(4)
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        times = times - times.mean()
        return np.tile(times @ centres / (times @ times), 2)


class Tracker:
    """Joins the detections of a film to faces.

    Args:
        hold: frames for which a face that is lost stays where it would be.
        before: frames for which it was there before it was found.
        ahead: frames after which nothing is asked any more.
    """

    def __init__(self, hold: int, before: int, ahead: int):
        self._hold, self._before, self._ahead = hold, before, ahead
        self._tracks: list[Track] = []
        self._count = self._cut = 0

    def add(self, frame: int, boxes: np.ndarray, scores: np.ndarray, is_cut: bool = False) -> None:
        """Add the detections of a frame: boxes [N, 4] and scores [N]; `is_cut`: another scene begins here."""
        if is_cut:
            self._cut = frame
            for track in self._tracks:
                track.end = min(track.end, frame)
        # Also those that end here: a flash or a fast turn of the camera looks like another scene.
        active = [track for track in self._tracks if track.end >= frame <= track.frames[-1] + self._hold]
        boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
        pairs = _match(np.array([track.box(frame) for track in active]).reshape(-1, 4), boxes)
        for index, (box, score) in enumerate(zip(boxes, scores)):
            if index in pairs:
                track = active[pairs[index]]
                track.end = LAST
            else:
                track = Track(self._cut)
                self._tracks.append(track)
            track.add(frame, box, float(score))
        oldest = frame - self._ahead
        self._tracks = [track for track in self._tracks if track.frames[-1] + self._hold >= oldest]
        for track in self._tracks:
            track.forget(oldest)

    def faces(self, frame: int) -> list[dict[str, Any]]:
        """Return the faces of a frame as JSON has them: "face" (its number), "score" where it was found, "box_xyxy"."""
        found = []
        for track in self._tracks:
            first, last = track.frames[0] - self._before, track.frames[-1] + self._hold
            if not (track.is_believed and max(first, track.begin) <= frame <= last and frame < track.end):
                continue
            if not track.number:
                self._count += 1
                track.number = self._count
            score = {"score": round(track.scores[track.frames.index(frame)], 4)} if frame in track.frames else {}
            found.append({"face": track.number, **score, "box_xyxy": np.round(track.box(frame), 1).tolist()})
        return found


def _match(expected: np.ndarray, found: np.ndarray) -> dict[int, int]:
    """Pair boxes [N, 4] with boxes [M, 4], so that the sum of overlaps is largest: found index -> expected index."""
    # Imported here: this takes longer than to search a photograph, for which predict.py needs no tracker.
    from scipy.optimize import linear_sum_assignment

    overlaps = box_overlaps(_twice(expected), _twice(found), offset=0.0)
    rows, columns = linear_sum_assignment(overlaps, maximize=True)
    return {int(column): int(row) for row, column in zip(rows, columns) if overlaps[row, column] >= OVERLAP}


def _twice(boxes: np.ndarray) -> np.ndarray:
    half = (boxes[:, 2:] - boxes[:, :2]) / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, 2:] + half], axis=1)
