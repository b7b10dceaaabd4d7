# SPDX-License-Identifier: Apache-2.0
"""Prediction text files: exact bytes out, every layout of the wild in, damage named with file and line."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dependency.centernet.src.lib.detectors.faces import Faces
from dependency.errors import InputError
from dependency.evaluate import prediction_io
from dependency.evaluate.prediction_io import parse_prediction, read_landmarks, write_prediction
from tests.conftest import read_prediction

ROWS = [[646.3, 189.1, 42.1, 51.8, 0.747], [157.4, 408.6, 43.1, 54.1, 0.667]]
BODY = "646.3 189.1 42.1 51.8 0.747\n157.4 408.6 43.1 54.1 0.667\n"
LAYOUTS = {
    "official": "0--Parade/a.jpg\n2\n" + BODY,
    "name without suffix": "a\n2\n" + BODY,
    "name of digits": "20\n2\n" + BODY,
    "name with blanks": "my event/an image 3.jpg\n2\n" + BODY,
    "no header": BODY,
    "count only": "2\n" + BODY,
    "name only": "a.jpg\n" + BODY,
    "CRLF": ("e/a.jpg\n2\n" + BODY).replace("\n", "\r\n"),
    "old Macintosh line ends": ("e/a.jpg\n2\n" + BODY).replace("\n", "\r"),
    "trailing blanks": ("e/a.jpg\n2\n" + BODY).replace("\n", " \n"),
    "tabs": "e/a.jpg\n2\n" + BODY.replace(" ", "\t"),
    "blank lines": "\n\ne/a.jpg\n\n2\n\n" + BODY.replace("\n", "\n\n"),
    "no last line end": ("e/a.jpg\n2\n" + BODY).rstrip(),
    "landmark columns": "e/a.jpg\n2\n" + BODY.replace("\n", " 1 2 3 4 5 6 7 8 9 10\n"),
    "columns in one row only": "e/a.jpg\n2\n" + BODY.rstrip() + " 0 1\n",
    "exponents": "e/a.jpg\n2\n6.463e2 189.1 42.1 51.8 7.47e-1\n157.4 408.6 43.1 54.1 .667\n",
    "byte order mark": "\ufeffe/a.jpg\n2\n" + BODY,
    "other alphabet": "événement/人.jpg\n2\n" + BODY,
}


def faces(boxes, scores):
    count = len(scores)
    return Faces(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32),
                 np.zeros((count, 5, 2), np.float32))


def test_written_bytes(tmp_path):
    path = tmp_path / "0--Parade" / "a.txt"
    write_prediction(path, "0--Parade/a.jpg", faces([[10, 20, 30.25, 60], [1.04, 2, 3, 4]], [0.5, 0.9126]))
    assert path.read_bytes() == b"0--Parade/a.jpg\n2\n1.0 2.0 2.0 2.0 0.913\n10.0 20.0 20.2 40.0 0.500\n"
    write_prediction(path, "0--Parade/a.jpg", faces([[1, 2, 3, 4]], [0.91264]), score_digits=5)
    assert path.read_text().splitlines()[2] == "1.0 2.0 2.0 2.0 0.91264"
    write_prediction(path, "0--Parade/a.jpg", faces([], []))
    assert path.read_bytes() == b"0--Parade/a.jpg\n0\n"
    assert [entry.name for entry in path.parent.iterdir()] == ["a.txt"]


def test_non_finite_faces_are_not_written(tmp_path):
    with pytest.raises(InputError, match="e/a"):
        write_prediction(tmp_path / "a.txt", "e/a.jpg", faces([[1, 2, 3, np.nan]], [0.5]))
    assert not list(tmp_path.iterdir())


@given(st.lists(st.tuples(st.integers(-500, 20000), st.integers(-500, 20000), st.integers(0, 9000),
                          st.integers(0, 9000), st.integers(0, 1000)), max_size=20))
def test_round_trip(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("round") / "a.txt"
    values = sorted(values, key=lambda row: -row[4])
    boxes = [[x / 10, y / 10, (x + w) / 10, (y + h) / 10] for x, y, w, h, _ in values]
    write_prediction(path, "e/a.jpg", faces(boxes, [row[4] / 1000 for row in values]))
    rows = read_prediction(path)
    assert rows.dtype == np.float64 and rows.shape == (len(values), 5)
    # float32 corners of up to 2900 pixels are off by up to 1.3e-4 each, so a digit may turn.
    np.testing.assert_allclose(rows, np.array(values).reshape(-1, 5) / [10, 10, 10, 10, 1000], atol=0.1001)
    np.testing.assert_array_equal(rows[:, 4], [row[4] / 1000 for row in values])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_in_the_wild(tmp_path, layout):
    path = tmp_path / "a.txt"
    path.write_bytes(LAYOUTS[layout].encode())
    np.testing.assert_array_equal(read_prediction(path), ROWS)


def test_no_detections():
    for content in (b"", b"\n \n", b"e/a.jpg\n0\n", b"e/a.jpg\n", b"0\n", b"e/a.jpg\r\n0"):
        assert parse_prediction(content, "a.txt").rows.shape == (0, 5)


@pytest.mark.parametrize("content, line", [
    ("e/a.jpg\n2\n1 2 3 4 .5\n1 2 3 4\n", 4), ("e/a.jpg\n1\n1 2 3 nan .5\n", 3),
    ("e/a.jpg\n1\n1 2 3 4 inf\n", 3),
    ("e/a.jpg\n1\n1 2 x 4 .5\n", 3), ("1 2 3 4\n1 2 3 4 .5\n", 1), ("1 2 x 4 .5\n1 2 3 4 .5\n", 1),
    ("e/a.jpg\n\n\n1\n\n1 2 3 4 .5\n1,2,3,4,.5\n", 7), ("e/a.jpg\nmany\n1 2 3 4 .5\n", 2),
    ("e/a.jpg\n-1\n", 2),
    ("e/a.jpg\n2\n1 2 3 4 .5 9 9\n1 2 3 4\n", 4), ("e/a.jpg\n1\n1 2 3 4 1e999\n", 3), ("1 2 3 4 .5\n7\n", 2)])
def test_damage_is_named_with_file_and_line(tmp_path, content, line):
    path = tmp_path / "a.txt"
    path.write_text(content)
    with pytest.raises(InputError, match=f"a.txt:{line}: "):
        read_prediction(path)


@given(st.binary(max_size=200) | st.text("0123456789.- \n\rnaife", max_size=80).map(str.encode))
def test_any_bytes_give_finite_rows_or_an_input_error(content):
    try:
        rows = parse_prediction(content, "a.txt").rows
    except InputError as error:
        assert "a.txt:" in str(error)
    else:
        assert rows.shape[1] == 5 and np.isfinite(rows).all()


PLAIN = ["0", "-0", "7.", "0.1", "-12.5", "123456789012345", "0.12345678901234", "-0.05"]
ODD = ["+1", ".5", "-.5", "1e5", "2.5e+10", "0.30000000000000004", "1234567890123456789", "9007199254740993",
       "0.00000000000000000000001", "1e999", "nan", "inf", "1_000", "0x10", "1e", ".", "-", "+-1", "1-2", "1.-2",
       "1.2.3", "1,5", "--1", "\x00"]


@pytest.fixture(scope="module")
def parse_decimal_rows():
    return pytest.importorskip("dependency.evaluate.decimal_rows",
                               reason="build it: python dependency/evaluate/setup.py install").parse_decimal_rows


def test_plain_numbers_have_the_bits_of_float_and_odd_ones_go_to_the_other_parser(parse_decimal_rows):
    for number in PLAIN:
        rows = parse_decimal_rows(f"{number} 1 2 3 {number}\n".encode(), 5)
        np.testing.assert_array_equal(rows, [[float(number), 1, 2, 3, float(number)]])
    for number in ODD:
        assert parse_decimal_rows(f"1 2 3 4 5\n1 2 {number} 4 5\n".encode(), 5) is None


TOKENS = [*PLAIN, *ODD, "", " ", "\t", "\r", "\x0b", "\x1c"]


@given(st.lists(st.lists(st.sampled_from(PLAIN), min_size=4, max_size=6)
                | st.lists(st.sampled_from(TOKENS), max_size=8), max_size=5),
       st.sampled_from([" ", "  ", "\t"]), st.sampled_from(["\n", "\r\n", "\r", " \n", "\n\n"]))
def test_both_parsers_agree(parse_decimal_rows, rows, blank, end):
    content = end.join(blank.join(row) for row in rows).encode()
    parsed = parse_decimal_rows(content, 5)
    if parsed is not None:
        np.testing.assert_array_equal(parsed, prediction_io._parse_lines(b"a.jpg\n1\n" + content, "a.txt", 5).rows)


def test_a_file_is_read_alike_without_the_compiled_parser(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.integers(0, 999, (50, 4)) / 4, rng.integers(0, 9999, 50) / 10000])
    (tmp_path / "a.txt").write_text("e/a.jpg\n50\n" + "".join(" ".join(map(str, row)) + "\n" for row in rows))
    np.testing.assert_array_equal(read_prediction(tmp_path / "a.txt"), rows)
    monkeypatch.setattr(prediction_io, "compiled_parser", lambda: None)
    np.testing.assert_array_equal(read_prediction(tmp_path / "a.txt"), rows)


def test_landmarks_are_read_back(tmp_path):
    rng = np.random.default_rng(0)
    boxes, points = rng.integers(0, 50, (3, 4)), rng.integers(0, 99, (3, 5, 2))
    boxes[:, 2:] += boxes[:, :2]
    scores = np.array([0.9, 0.5, 0.1])
    found = Faces(boxes.astype(np.float32), scores.astype(np.float32), points.astype(np.float32))
    write_prediction(tmp_path / "e" / "a.txt", "e/a.jpg", found, landmarks=True)
    rows = read_landmarks(tmp_path, ["e/a.jpg"])["e/a"]
    np.testing.assert_array_equal(rows, np.column_stack([boxes, scores, points.reshape(3, 10)]))
    write_prediction(tmp_path / "e" / "a.txt", "e/a.jpg", found)
    with pytest.raises(InputError, match="a.txt:3: .*--save_landmarks"):
        read_landmarks(tmp_path, ["e/a.jpg"])
    with pytest.raises(InputError, match="b.txt"):
        read_landmarks(tmp_path, ["e/b.jpg"])
