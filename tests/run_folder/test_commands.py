# SPDX-License-Identifier: Apache-2.0
"""The commands that a training prints at its end are understood by the programs; a soak test runs them."""
import shlex
from pathlib import Path

from src.cli.arguments import parse
from src.run_folder.commands import commands


def test_the_programs_understand_the_commands(tmp_path):
    from eval import build_parser
    from export import OPTIONS as EXPORT
    from predict import OPTIONS as PREDICT
    from src.evaluation.options import OPTIONS as TEST
    run = tmp_path / "a run's folder"
    val_set = ["--data_dir", "images dir", "--ground_truth_mat", "truth/gt.mat"]
    lines = commands(run / "best.ckpt", val_set, run / "a b.jpg")
    words = [shlex.split(line) for line in lines]
    assert [Path(line[1]).name for line in words] == ["test.py", "eval.py", "export.py", "predict.py"]
    cfg, _ = parse(TEST, words[0][2:], "")
    assert cfg.test_model == str(run) and cfg.ckpt_name == "best.ckpt" and cfg.data_dir == "images dir" and cfg.eval
    scored = build_parser().read(words[1][2:])
    assert scored.pred == [cfg.save_dir] and scored.gt == "truth" and scored.image_dir == "images dir" and scored.report
    assert parse(EXPORT, words[2][2:], "")[0].ckpt_file == str(run / "best.ckpt")
    assert words[3][2] == str(run / "a b.jpg") and parse(PREDICT, words[3][3:], "")[0].ckpt == str(run / "best.ckpt")


def test_the_report_is_of_the_data_file():
    report = shlex.split(commands(Path("best.ckpt"), ["--data", "my.yaml", "--backend", "onnx"], None)[1])
    assert report[2:] == ["--pred", "best_test", "--data", "my.yaml", "--report", "best_report"]


def test_without_a_val_set_no_command_tests():
    assert ["test.py" in line for line in commands(Path("last.ckpt"), [], None)] == [False]
