# SPDX-License-Identifier: Apache-2.0
"""Faces that are followed: one number, known before they are found and while they are lost."""
import numpy as np

from src.video.tracker import BELIEVED, SEVERAL, Tracker

HOLD, BEFORE, AHEAD = 10, 4, 10
STRONG, WEAK = BELIEVED + 0.1, BELIEVED - 0.05


def box(x, y=50, side=20):
    return [x, y, x + side, y + side]


def follow(frames, count=None, cuts=()):
    """Faces of each frame, asked `AHEAD` frames late, for frame -> [(box, score), ...]."""
    tracker, known, count = Tracker(HOLD, BEFORE, AHEAD), [], count or max(frames) + 1
    for number in range(count + AHEAD):
        if number < count:
            found = frames.get(number, [])
            tracker.add(number, np.array([each for each, _ in found]), np.array([score for _, score in found]),
                        number in cuts)
        if number >= AHEAD:
            known.append(tracker.faces(number - AHEAD))
    return known


def test_a_face_that_is_lost_keeps_its_number_and_its_box_is_interpolated():
    known = follow({number: [(box(4 * number), STRONG)] for number in range(30) if number not in range(12, 17)})
    assert all([face["face"] for face in faces] == [1] for faces in known)
    assert known[14][0]["box_xyxy"] == box(56) and "score" not in known[14][0] and known[11][0]["score"] == 0.35


def test_a_face_goes_on_as_it_moved_and_was_there_before():
    known = follow({number: [(box(100 + 2 * number), STRONG)] for number in range(20, 40)}, count=70)
    assert [number for number, faces in enumerate(known) if faces] == list(range(20 - BEFORE, 40 + HOLD))
    assert abs(known[18][0]["box_xyxy"][0] - 136) < 1 and abs(known[41][0]["box_xyxy"][0] - 182) < 1


def test_weak_detections_continue_a_face_or_make_one_together():
    weak = {number: [(box(50), WEAK)] for number in range(9)}
    assert follow({**weak, 9: [(box(50), STRONG)]})[0] and follow(weak)[0]
    assert not any(follow({number: weak[0] for number in range(SEVERAL - 1)}))


def test_two_that_cross_keep_their_numbers():
    frames = {number: [(box(5 * number, 50), STRONG), (box(200 - 5 * number, 62), STRONG)] for number in range(41)}
    for number in range(19, 23):
        frames[number] = frames[number][:1]             # the other is behind
    known = follow(frames)
    first, last = ({face["face"]: face["box_xyxy"][0] for face in known[number]} for number in (0, 40))
    assert len(first) == 2 and {number: last[number] for number in first} == {1: 200, 2: 0}


def test_at_another_scene_faces_end_unless_they_are_found():
    frames = {number: [(box(50), STRONG), (box(150), STRONG)] if number < 15 else [(box(50), STRONG)]
              for number in range(30)}
    known = follow(frames, cuts=(15,))
    assert [len(faces) for faces in known] == [2] * 15 + [1] * 15
    late = follow({number: [(box(50), STRONG)] for number in range(17, 30)}, cuts=(16,))
    assert [bool(faces) for faces in late] == [False] * 16 + [True] * 14


def test_a_long_film_takes_no_more_memory():
    tracker = Tracker(HOLD, BEFORE, AHEAD)
    for number in range(500):
        tracker.add(number, np.array([box(50), box(200 + number, 5)]), np.array([STRONG, STRONG]))
        assert len(tracker.faces(max(0, number - AHEAD))) == 2
    assert all(len(track.frames) <= AHEAD + 1 for track in tracker._tracks)
