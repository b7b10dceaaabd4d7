# SPDX-License-Identifier: Apache-2.0
"""The benchmark of training samples: both sides make samples of the same images, and the large set is read whole."""
import numpy as np
import pytest

from benchmarks import data as benchmark
from src.annotations.read_write import read_annotations
from tests.retinaface.small_faces import write_small_faces

COLUMNS = {("ours", "centerface"): 5, ("published", "centerface"): 9, ("ours", "retinaface"): 4,
           ("published", "retinaface"): 4}


@pytest.mark.parametrize("model", ["centerface", "retinaface"])
@pytest.mark.parametrize("side", ["ours", "published"])
def test_a_sample_and_where_its_time_goes(tmp_path, side, model):
    write_small_faces(tmp_path)
    make, count = getattr(benchmark, side)(model, tmp_path / "label.txt", tmp_path / "images", 64)
    assert count == 5
    with benchmark.timed_parts(benchmark.PARTS[side, model]) as seconds:
        samples = [make(index) for index in range(count)]
    assert all(seconds[part] > 0 for part in ("decode", "crop", "colour", "targets"))
    for image, *targets in samples:
        assert image.shape == ((64, 64, 3) if side == "ours" else (3, 64, 64))
        assert len(targets) == COLUMNS[side, model] - 1
        assert image.dtype == (np.uint8 if side == "ours" else np.float32)
    assert any(target.any() for _, *targets in samples for target in targets)


def test_the_large_set_is_read_whole(tmp_path):
    path = tmp_path / "label.txt"
    benchmark.write_labels(path, images=20, faces=300)
    records = read_annotations(path)
    assert len(records) == 20 and len(records.boxes) == 300
    assert (records.visibility.any(axis=1)).sum() == 150 and not records.problems
    images, faces, seconds, kept, peak = benchmark.read(path)
    assert (images, faces) == (20, 300) and seconds > 0 and 0 < kept <= 1.1 * peak
