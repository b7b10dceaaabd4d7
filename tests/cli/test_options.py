# SPDX-License-Identifier: Apache-2.0
"""Every option of every table: its default is allowed, and every value out of its range is refused by name."""
import importlib
import importlib.util
import math
import os
import subprocess
import sys

import pytest

from dependency.errors import InputError
from src import models
from src.cli.options import Option, convert, flat
from src.evaluation.options import OPTIONS
from tests.conftest import ROOT

TABLES = {**{f"train.py {name}": models.options(name) for name in models.MODELS}, "test.py": OPTIONS}
for program in ("eval", "predict", "export"):
    spec = importlib.util.spec_from_file_location(f"{program}_options", ROOT / f"{program}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    TABLES[f"{program}.py"] = module.OPTIONS
for tool in ("convert", "demo", "hccl_tools", "launch", "prepare_wider", "synthetic"):
    TABLES[tool] = importlib.import_module(f"src.tools.{tool}").OPTIONS
ALL = {f"{program} --{name}": (name, option)
       for program, table in TABLES.items() for name, option in flat(table).items()}
# Texts of any form: files and folders, which are looked for when they are used, ...
PATHS = {"ckpt", "hide", "faces", "flags", "gt", "json", "out", "plot", "images", "image_dir", "landmarks",
         "predictions", "sheet", "calibration", "check", "hccn_conf", "unfold", "resume", "report",
         "repair", "ground_truth", "wider", "layout", "rank_table", "data", "pretrained", "label_errors"}
PATH_ENDS = ("_dir", "_path", "_file", "_files", "_name", "_folder", "_mat", "_model", "_log", "folder", "_net",
             "_dataset", "_backbone")
# ... and hosts and devices, which have readers of their own.
ADDRESSES = {"hosts", "master_addr", "visible_devices", "device_num", "server_ip", "device_ip"}


def wrong_texts(option):
    """Texts that the option must refuse."""
    rule = option.rule
    texts = ["", "none of these", "[]", "{}"]
    if rule.kind in (int, float):
        step = 1 if rule.kind is int else 1e-3
        texts += [repr(rule.low - step), repr(rule.high + step), "nan", "inf", "-inf", "1e400", "-1e400", "9" * 5000]
    if rule.kind is bool:
        texts += ["2", "-1", "nan", "maybe"]
    if rule.length:
        texts = [text for text in texts if text or rule.length[0] > 0]
        good = str(rule.low)
        texts += [",".join([good] * (rule.length[1] + 1)), f"{good},x"]
    return [text for text in texts if text or option.default is not None]


@pytest.mark.parametrize("name, option", ALL.values(), ids=ALL)
def test_values_out_of_range_are_refused_by_name(name, option):
    rule = option.rule
    assert option.default is None or rule.holds(option.default)
    if rule.kind is str and not rule.choices and rule.test is None:
        assert name in PATHS | ADDRESSES or name.endswith(PATH_ENDS), "a text without choices, and no path"
        return
    assert rule.kind not in (int, float) or math.isfinite(rule.low) and math.isfinite(rule.high)
    for text in wrong_texts(option):
        with pytest.raises(InputError, match=f"^--{name} ") as caught:
            convert(name, text, option)
        assert "\n" not in str(caught.value) and "expected" in str(caught.value)


@pytest.mark.parametrize("command", [
    "train.py --model=centerface --lr=-1", "train.py --model=retinaface --image_size=1e400", "test.py --top_k=0",
    "eval.py --nms_iou=50", "eval.py --pred=a --gt=b --iou_thresh=nan", "predict.py a.jpg --score_threshold=35",
    "export.py 1 a.ckpt --rows=0", "-m src.tools.launch --devices=0 -- train.py", "-m src.tools.demo --epochs=0"])
def test_a_program_refuses_with_one_line_before_mindspore_is_imported(command, tmp_path):
    (tmp_path / "mindspore.py").write_text("raise SystemExit('mindspore was imported')")
    done = subprocess.run([sys.executable, *command.split()], capture_output=True, text=True, cwd=ROOT, check=False,
                          env={**os.environ, "PYTHONPATH": str(tmp_path)}, timeout=60)
    name = command.split(" -- ")[0].split()[-1].split("=")[0]
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {name} ") and done.stderr.count("\n") == 1


@pytest.mark.parametrize("default, text, value", [
    (0.1, "4e-3", 0.004), (3, " 7 ", 7), (False, "True", True), (True, "off", False), ("x", "1", "1")])
def test_the_type_is_the_defaults(default, text, value):
    result = convert("x", text, Option(default, "help"))
    assert result == value and type(result) is type(value)
