# SPDX-License-Identifier: Apache-2.0
"""test.py from the command line: options, prediction trees, scores, exit status."""
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dependency.errors import InputError
from tests.small_wider import IMAGES, SquareDetector, make_checkpoint, make_data_file, make_split

ROOT = Path(__file__).resolve().parents[1]


def script(name):
    """A script of the root as a module; the standard library has a `test` of its own."""
    spec = importlib.util.spec_from_file_location(f"{name}_script", ROOT / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def entry(monkeypatch):
    """test.py with detectors whose error grows with the number in the checkpoint's name."""
    module = script("test")
    monkeypatch.setattr("src.evaluation.predict.detector_loader", lambda cfg, names: (
        lambda path: SquareDetector(shift=abs(int(path.name.split("-")[1].split("_")[0]) - 2) * 9)))
    return module


@pytest.fixture
def split(tmp_path):
    made = make_split(tmp_path)
    made.model = tmp_path / "model"
    made.model.mkdir()
    made.save = tmp_path / "save"
    made.arguments = ["--data_dir", str(made.images), "--ground_truth_mat", str(made.gt), "--save_dir", str(made.save),
                      "--test_model", str(made.model)]
    return made


def checkpoints(split, *epochs):
    for epoch in epochs:
        (split.model / f"0-{epoch}_{epoch * 198}.ckpt").write_bytes(b"x")


def test_a_sweep_writes_a_tree_for_each_epoch_and_names_the_best(entry, split, capsys):
    checkpoints(split, 1, 2, 10)
    assert entry.main([*split.arguments, "--eval", "1"]) == 0
    assert {path.name for path in split.save.iterdir()} >= {"1", "2", "10", "metrics.jsonl"}
    assert len(list((split.save / "10").rglob("*.txt"))) == len(IMAGES)
    lines = [json.loads(line) for line in (split.save / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 10]
    assert lines[1]["ap"]["0.5"] == {"easy": 1.0, "medium": 1.0, "hard": 1.0} and lines[2]["ap"]["0.5"]["hard"] == 0
    printed = capsys.readouterr().out
    assert "best by sum   : 0-2_396.ckpt" in printed and "Hard   Val AP: 1.0" in printed
    assert "better than: 0-1_198.ckpt by" in printed or "cannot be told from it: 0-1_198.ckpt by" in printed
    assert lines[1]["interval"]["0.5"]["hard"] == [1.0, 1.0]


def test_own_images_need_a_checkpoint_and_a_data_file_only(entry, split, capsys):
    checkpoints(split, 2)
    one = ["--ckpt", str(split.model / "0-2_396.ckpt"), "--data", str(make_data_file(split)), "--save_dir",
           str(split.save), "--eval", "1"]
    assert entry.main(one) == 0
    assert (split.save / "images" / IMAGES[0]).with_suffix(".txt").is_file()
    assert capsys.readouterr().out.count("Easy   Val AP: nan") == 2     # the square has 32 pixels, easy begins at 50
    (line,) = (split.save / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line)["ap"]["0.5"]["medium"] == 1.0
    for option in ("--data_dir=x", "--ground_truth_mat=x", "--ground_truth_path=x", "--test_model=x", "--start=1"):
        with pytest.raises(InputError, match=f"{option.split('=')[0]} works only without"):
            entry.main([*one, option])


def test_a_dry_run_leaves_nothing_behind(entry, split, capsys):
    checkpoints(split, 1, 2)
    before = sorted(split.images.parent.rglob("*"))
    assert entry.main([*split.arguments, "--eval", "1", "--dry_run"]) == 0
    printed = capsys.readouterr().out
    assert "1 of 3 images scored" in printed and "0-1_198.ckpt" in printed and "0-2_396" not in printed
    assert "dry run" in printed and sorted(split.images.parent.rglob("*")) == before


def test_one_checkpoint_goes_straight_into_the_save_folder(entry, split, capsys):
    checkpoints(split, 1, 2)
    assert entry.main([*split.arguments, "--ckpt_name", "0-2_396.ckpt", "--is_distributed", "--verbose"]) == 0
    assert (split.save / IMAGES[0]).with_suffix(".txt").is_file()
    printed = capsys.readouterr().out
    assert "==========start eval===============" in printed and "==========end testing===============" in printed
    assert "event:1, num:3" in printed and "============num 3 time " in printed
    assert f"img_path={split.images}" in printed


def test_only_existing_tests_and_scores_what_is_there(entry, split, capsys):
    checkpoints(split, 2)
    for options, named in ((["--test_sise", "832"], "test_size"),
                           (["--ground_truth_path", "nowhere", "--eval", "1"], "nowhere")):
        with pytest.raises(InputError, match=named):
            entry.main(split.arguments + options)
    (split.images / IMAGES[0]).unlink()
    with pytest.raises(InputError, match=IMAGES[0]):
        entry.main(split.arguments)
    assert entry.main([*split.arguments, "--only_existing", "--eval", "1"]) == 0
    printed = capsys.readouterr().out
    assert "tests 2 of 3 images" in printed and "2 of 3 images scored" in printed


def test_a_real_network_scores_the_same_in_either_runtime(split):
    """The whole way in a process of its own, by ONNX Runtime without MindSpore; two of four checkpoints are bad."""
    pytest.importorskip("onnxruntime")
    for seed in (1, 2):
        make_checkpoint(split.model / f"0-{seed}_{seed * 9}.ckpt", seed)
    make_checkpoint(split.model / "0-3_27.ckpt", 3, hm_head__0__bias=np.nan)
    whole = make_checkpoint(split.model / "0-4_36.ckpt", 4).read_bytes()
    (split.model / "0-4_36.ckpt").write_bytes(whole[:-500])
    options = ["--eval", "1", "--device_target", "CPU", "--score_digits", "6", "--test_size", "64", "--top_k", "50"]
    block = ("import runpy, sys; sys.modules['mindspore'] = None; sys.argv[0] = 'test.py'; "
             "runpy.run_path('test.py', run_name='__main__')")
    for backend, program in (("mindspore", ["test.py"]), ("onnx", ["-c", block])):
        save = split.save / backend
        done = subprocess.run([sys.executable, *program, *split.arguments, *options, f"--backend={backend}",
                               f"--save_dir={save}"], cwd=ROOT, capture_output=True, text=True, timeout=300,
                              check=False)
        assert done.returncode == 1, done.stdout + done.stderr
        assert "best by hard" in done.stdout and "NaN" in done.stdout and "0-4_36.ckpt" in done.stdout
        assert {path.relative_to(save).parts[0] for path in save.rglob("*/*.txt")} == {"1", "2"}
    trees = sorted(path.relative_to(split.save / "onnx") for path in (split.save / "onnx").rglob("*/*.txt"))
    assert len(trees) == 2 * len(IMAGES)
    for name in trees:
        rows = [np.array([line.split() for line in (split.save / kind / name).read_text().splitlines()[2:]], float)
                for kind in ("mindspore", "onnx")]
        assert len(rows[0]) == len(rows[1]) > 0
        np.testing.assert_allclose(np.sort(rows[0], 0), np.sort(rows[1], 0), atol=0.1)
