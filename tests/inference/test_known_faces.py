# SPDX-License-Identifier: Apache-2.0
"""Files of faces that a person may have corrected: read as they are, or refused by line."""
import json

import numpy as np
import pytest

from dependency.errors import InputError
from src.inference.known_faces import KnownFaces, read_film
from tests.inference.test_prediction import write

FACE = {"face": 1, "score": 0.5, "box_xyxy": [1, 2, 30.5, 40]}


def test_a_film_without_rows_and_with_added_ones(tmp_path):
    path = tmp_path / "film.jsonl"
    lines = [{"frame": 0, "seconds": 0.0, "faces": [FACE, {"box_xyxy": [5, 5, 9, 9]}]}, {"frame": 1, "faces": []}]
    path.write_text("\n".join(map(json.dumps, lines)))
    assert read_film(path) == [lines[0]["faces"], []]


@pytest.mark.parametrize("line", ["", "{", "7", '{"frame": 2}', '{"frame": 3, "faces": []}', '{"frame": 2, "faces": 1}',
                                  *(f'{{"frame": 2, "faces": [{face}]}}' for face in (
                                      "1", "{}", '{"bbox": [1, 2, 3, 4]}', '{"box_xyxy": [1, 2, 3]}',
                                      '{"box_xyxy": [3, 2, 1, 4]}', '{"box_xyxy": [1, 2, 3, NaN]}',
                                      '{"box_xyxy": [1, 2, 3, 1e300]}', '{"box_xyxy": [1, 2, "3", 4]}',
                                      '{"box_xyxy": [1, 2, 3, 4], "name": "x"}',
                                      '{"box_xyxy": [1, 2, 3, 4], "score": "high"}'))])
def test_a_malformed_line_is_refused_by_number(tmp_path, line):
    path = tmp_path / "film.jsonl"
    good = [json.dumps({"frame": number, "faces": []}) for number in range(4)]
    path.write_text("\n".join([*good[:2], line, good[3]]))
    with pytest.raises(InputError, match="line 3") as error:
        read_film(path)
    assert "\n" not in str(error.value)


def test_a_photograph_of_the_size_that_the_file_says(tmp_path):
    path, photo = tmp_path / "a.json", write(tmp_path / "a.png")
    path.write_text(json.dumps({"image": "a.png", "height": 40, "width": 60, "faces": [FACE]}))
    known = KnownFaces(path)
    faces, = known.detect([known.read(photo)])
    assert faces.boxes.tolist() == [FACE["box_xyxy"]] and faces.scores == np.float32(0.5)
    with pytest.raises(InputError, match="60 x 40"):
        known.read(write(tmp_path / "b.png", size=(50, 60)))
    for content in (b"\xff\xfe", b"[]", b"nothing"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="a.json"):
            KnownFaces(path)
