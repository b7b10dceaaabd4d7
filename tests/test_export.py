# SPDX-License-Identifier: Apache-2.0
"""export.py: both spellings of its arguments, what it refuses, and that MINDIR equals the checkpoint."""
import json
import subprocess
import sys

import numpy as np
import pytest

import export
from dependency.errors import InputError
from src.common.export import TOLERANCE, Export, ExportError, compare, sample_images
from tests.conftest import ROOT
from tests.small_wider import make_checkpoint


def parsed(*words):
    return export.checkpoint_and_batch(export.build_parser().parse_args(words))


def test_the_manuals_arguments_and_the_options_mean_the_same():
    assert parsed("4", "a.ckpt") == parsed("--batch_size", "4", "--ckpt_file", "a.ckpt") == (4, "a.ckpt")
    assert parsed("4", "--ckpt_file=a.ckpt") == (4, "a.ckpt")
    assert parsed("--ckpt_file=a.ckpt") == (1, "a.ckpt")


@pytest.mark.parametrize("words, message", [
    (["a.ckpt"], "BATCH_SIZE 'a.ckpt'"), (["0", "a.ckpt"], "BATCH_SIZE '0'"), (["1"], "no checkpoint"),
    (["--batch_size", "-1", "--ckpt_file", "a"], "BATCH_SIZE '-1'"), ([], "no checkpoint is given"),
    (["1", "a", "b"], "too much"), (["1", "a", "--ckpt_file", "b"], "given twice"),
    (["1", "--batch_size", "2"], "given twice"),
])
def test_wrong_arguments(words, message):
    with pytest.raises(InputError, match=message):
        parsed(*words)


def test_air_without_ascend_says_what_to_do(tmp_path):
    done = subprocess.run([sys.executable, str(ROOT / "export.py"), "1", "a.ckpt", "--device_target", "CPU"],
                          cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "on an Ascend host, or give --file_format MINDIR" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("height, width", [(0, 32), (100, 96), (96, 100)])
def test_sides_that_do_not_fit(height, width):
    with pytest.raises(InputError, match="multiples of 32"):
        Export("MINDIR", (1, height, width, 3), "CPU")


def test_compare_measures_and_refuses():
    maps = [np.zeros((1, 2, 3, 3), np.float32), np.ones((1, 1, 3, 3), np.float32)]
    near = [each + np.float32(TOLERANCE / 2) for each in maps]
    assert compare(near, tuple(maps)) == pytest.approx(TOLERANCE / 2, rel=1e-2)
    far = [maps[0].copy(), maps[1].copy()]
    far[1][0, 0, 2, 2] += 2 * TOLERANCE
    with pytest.raises(ExportError, match="differs from the checkpoint by 0.0002"):
        compare(far, tuple(maps))
    far[1][0, 0, 2, 2] = np.nan
    with pytest.raises(ExportError, match="by nan"):
        compare(far, tuple(maps))
    with pytest.raises(ExportError, match="shapes"):
        compare(maps[:1], tuple(maps))


def test_sample_images_differ_within_a_batch():
    images = sample_images((2, 64, 96, 3))
    assert images.shape == (2, 64, 96, 3) and images.dtype == np.uint8
    assert (images[0] != images[1]).mean() > 0.9 and images.std() > 30
    assert np.array_equal(images, sample_images((2, 64, 96, 3)))


@pytest.mark.slow
def test_mindir_equals_the_checkpoint(ms, tmp_path, monkeypatch, capsys):
    from src import models
    from src.common.inference import Forward
    monkeypatch.chdir(tmp_path)
    path = make_checkpoint(tmp_path / "0-1_2.ckpt")
    assert export.main(["2", str(path), "--file_format", "MINDIR", "--input_h", "64", "--input_w", "96",
                        "--file_name", "my files/face", "--device_target", "CPU"]) == 0
    written = tmp_path / "my files" / "face.mindir"
    assert sorted(each.name for each in written.parent.iterdir()) == ["face.json", "face.mindir"]
    assert "uint8 BGR images 2x64x96x3" in capsys.readouterr().out

    images = np.random.default_rng(7).integers(0, 256, (2, 64, 96, 3), np.uint8)
    forward = Forward(models.recipe, device_target="CPU")
    card = forward.load(path)
    expected = forward(images)
    (tmp_path / "plain.mindir").write_bytes(written.read_bytes())
    maps = ms.nn.GraphCell(ms.load("plain.mindir"))(ms.Tensor(images))
    assert compare([each.asnumpy() for each in maps], expected) <= TOLERANCE
    assert min(each.std() for each in expected) > 0

    told = json.loads((tmp_path / "my files" / "face.json").read_text())
    assert {name: told[name] for name in card} == card
    assert told["export"]["outputs"] == [list(each.shape) for each in expected]
    assert told["export"]["input"]["shape"] == [2, 64, 96, 3]
    assert told["export"]["largest_difference"] <= TOLERANCE


@pytest.mark.slow
def test_a_different_network_is_not_written(ms, tmp_path, monkeypatch, capsys):
    def other(self, recipe, card, path, stem):
        return original(self, recipe, card, make_checkpoint(tmp_path / "other.ckpt", seed=1), stem)
    original = Export._write
    monkeypatch.setattr(Export, "_write", other)
    path = make_checkpoint(tmp_path / "0-1_2.ckpt")
    assert export.main(["1", str(path), "--file_format", "MINDIR", "--input_h", "32", "--input_w", "32",
                        "--file_name", str(tmp_path / "face"), "--device_target", "CPU"]) == 1
    assert "differs from the checkpoint" in capsys.readouterr().err
    assert not list(tmp_path.glob("face*"))
