# SPDX-License-Identifier: Apache-2.0
"""export.py: both spellings of its arguments, what it refuses, and that what it writes is verified."""
import hashlib
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

import export
from dependency.errors import InputError
from src import models
from src.export.export import Export
from src.face_detector import FaceDetector
from src.inference.backends import open_backend
from src.retinaface.spec import DEFAULT_METADATA
from src.weights import checkpoint
from src.weights.network import read_network
from tests.conftest import ROOT
from tests.retinaface.weights import random_tensors
from tests.small_wider import make_checkpoint


def parsed(*words):
    return export.checkpoint_and_batch(export.build_parser().read(words))


def test_the_manuals_arguments_and_the_options_mean_the_same():
    assert parsed("4", "a.ckpt") == parsed("--batch_size", "4", "--ckpt_file", "a.ckpt") == (4, "a.ckpt")
    assert parsed("4", "--ckpt_file=a.ckpt") == (4, "a.ckpt")
    assert parsed("--ckpt_file=a.ckpt") == (1, "a.ckpt")
    assert parsed("--ckpt_file=a.ckpt", "--file_format=ONNX") == (0, "a.ckpt")
    assert parsed("0", "a.ckpt", "--file_format=MINDIR") == (0, "a.ckpt")


@pytest.mark.parametrize("words, message", [
    (["a.ckpt"], "--batch_size a.ckpt"), (["0", "a.ckpt"], "--batch_size 0"), (["1"], "checkpoint"),
    (["--batch_size", "-1", "--ckpt_file", "a"], "--batch_size -1"), ([], "checkpoint"), (["1", "a", "b"], "twice"),
    (["1", "a", "--ckpt_file", "b"], "twice"), (["1", "--batch_size", "2"], "twice"), (["\u00b2", "a"], "--batch_size"),
    (["1", "a", "--int8", "2"], "--int8 2")])
def test_wrong_arguments(words, message):
    with pytest.raises(InputError, match=message):
        parsed(*words)


def test_the_score_to_deploy_is_in_the_file_and_taken_from_it(tmp_path):
    source = str(make_checkpoint(tmp_path / "a.ckpt"))
    words = ["--ckpt_file", source, "--file_format", "ONNX", "--verify", "0", "--file_name", str(tmp_path / "a")]
    assert export.main([*words, "--deploy_score", "0.62"]) == 0
    made = FaceDetector(tmp_path / "a.onnx", threads=1)
    assert made.metadata["deploy"] == {"score_threshold": 0.62} and made._detector.score_threshold == 0.62
    assert FaceDetector(tmp_path / "a.onnx", threads=1, score_threshold=0.1)._detector.score_threshold == 0.1
    assert export.main(words) == 0
    made = FaceDetector(tmp_path / "a.onnx", threads=1)
    assert "deploy" not in made.metadata and made._detector.score_threshold == 0.35


@pytest.mark.parametrize("words, message", [
    (["--calibration", "a"], "--calibration"), (["--rows", "9"], "--rows"),
    (["--certify", "0", "--images", "a"], "--images"), (["--gt", "a"], "--gt"),
    (["--certify", "0", "--check_sizes", "64"], "--check_sizes"),
    (["--file_format", "AIR", "--images", "a"], "--images"),
    (["--file_format", "MINDIR", "--check_sizes", "64"], "--check_sizes"),
])
def test_options_that_would_do_nothing_are_refused(words, message):
    with pytest.raises(InputError, match=message):
        export.main(["--ckpt_file", "a.ckpt", "--file_format", "ONNX", *words])


def test_air_without_ascend_says_what_to_do(tmp_path):
    done = subprocess.run([sys.executable, str(ROOT / "export.py"), "1", "a.ckpt", "--device_target", "CPU"],
                          cwd=tmp_path, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "--file_format MINDIR" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words, message", [
    (["--file_format", "ONNX", "--input_h", "100", "--input_w", "96"], "--input_h"),
    (["--file_format", "MINDIR", "--input_h", "96", "--input_w", "0"], "--input_w"),
    (["--file_format", "MINDIR", "--decode", "1"], "--decode"),
    (["--file_format", "MINDIR", "--verify", "0"], "--verify"),
    (["--file_format", "ONNX", "--int8", "1"], "--calibration"),
    (["--file_format", "ONNX", "--images", "absent"], "absent"),
    (["--file_format", "ONNX", "--ckpt_file", "absent.ckpt"], "absent.ckpt"),
])
def test_what_cannot_be_exported_leaves_nothing(tmp_path, words, message):
    path = make_checkpoint(tmp_path / "0-1_2.ckpt")
    with pytest.raises(InputError, match=message):
        export.main(["--ckpt_file", str(path), "--file_name", str(tmp_path / "face"), "--device_target", "CPU", *words])
    assert [each.name for each in tmp_path.iterdir()] == ["0-1_2.ckpt"]


def test_sizes_of_air_are_fixed(monkeypatch):
    monkeypatch.setattr("src.common.device.choose_target", lambda target: "Ascend")
    with pytest.raises(InputError, match="AIR"):
        Export("AIR", (1, 0, 0))


def test_onnx_without_verification_needs_no_mindspore(tmp_path):
    pytest.importorskip("onnx")
    path = make_checkpoint(tmp_path / "0-1_2.ckpt")
    code = (f"import sys; import export; "
            f"status = export.main(['--ckpt_file', {str(path)!r}, '--file_format', 'ONNX', '--certify', '0']); "
            "sys.exit(status or 'mindspore' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, text=True,
                          stdout=subprocess.PIPE, check=True, timeout=120)
    assert "NOT compared with the checkpoint" in done.stdout
    report = json.loads((tmp_path / "centerface.onnx.verification.json").read_text())
    assert report["verdict"] == "not compared"


@pytest.mark.parametrize("decode_rows", [0, 100])
@pytest.mark.parametrize("sizes", [{}, {"batch": 1, "height": 64, "width": 96}], ids=["any size", "one size"])
@pytest.mark.parametrize("name, options", [("centerface", {}), ("retinaface", {"backbone": "mobilenet025"})])
def test_onnx_has_no_control_flow(name, options, sizes, decode_rows):
    """MindSpore Lite refuses If and Loop."""
    onnx = pytest.importorskip("onnx")
    spec = models.spec(name)
    metadata = {**spec.default_metadata, "options": {**spec.default_metadata["options"], **options}}
    tensors = {tensor: np.ones(shape, np.float32) for tensor, shape in spec.tensor_shapes(metadata).items()}
    nodes = spec.onnx_graph(metadata, tensors, decode_rows=decode_rows, **sizes).graph.node
    assert len(nodes) > 50 and not {node.op_type for node in nodes} & {"If", "Loop", "Scan"}
    assert not [node.name for node in nodes for attribute in node.attribute
                if attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)]


@pytest.mark.parametrize("words, shape", [
    (["2", "--file_format", "MINDIR", "--input_h", "64", "--input_w", "96"], [2, 64, 96, 3]),
    pytest.param(["0", "--file_format", "MINDIR", "--input_h", "0", "--input_w", "0"], [None, None, None, 3],
                 marks=pytest.mark.soak),
    (["2", "--file_format", "ONNX", "--input_h", "64", "--input_w", "96"], [2, 64, 96, 3]),
])
def test_what_is_written_equals_the_checkpoint(ms, tmp_path, monkeypatch, capsys, words, shape):
    monkeypatch.chdir(tmp_path)
    path = make_checkpoint(tmp_path / "0-1_2.ckpt")
    suffix = words[2].lower()
    assert export.main([*words, "--ckpt_file", str(path), "--file_name", "my files/f\u00e4ce", "--device_target",
                        "CPU", *([] if shape[1] else ["--check_sizes", "96,150,200"])]) == 0
    written = tmp_path / "my files" / f"f\u00e4ce.{suffix}"
    beside = {"mindir": ["f\u00e4ce.mindir.json"], "onnx": []}[suffix]
    assert sorted(each.name for each in written.parent.iterdir()) == sorted(
        [written.name, f"{written.name}.verification.json", *beside])
    assert "verification passed" in capsys.readouterr().out

    images = np.random.default_rng(7).integers(0, 256, (2, 64, 96, 3), np.uint8)
    reference, exported = (open_backend(each, device_target="CPU") for each in (path, written))
    for one, two in zip(reference(images), exported(images)):
        np.testing.assert_allclose(two, one, atol=1e-4)
        assert one.std() > 0
    assert {name: exported.metadata[name] for name in reference.metadata} == reference.metadata
    report = json.loads((written.parent / f"{written.name}.verification.json").read_text())
    assert report["input"]["shape"] == shape and "subtracts [100.0, 100.0, 100.0]" in report["input"]["normalised"]
    assert report["sha256"] == hashlib.sha256(written.read_bytes()).hexdigest()
    assert report["checkpoint_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [each["size"] for each in report["sizes"]] == ([["96", "150", "200"], ["96 x 64"]][bool(shape[1])])
    assert str(tmp_path) not in json.dumps(report)


@pytest.mark.soak
def test_the_report_of_integers_says_what_calibrated_them(ms, tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    path = make_checkpoint(tmp_path / "0-1_2.ckpt")
    for folder, seeds in (("train", (1, 2)), ("val", (2, 3, 4))):
        (tmp_path / folder).mkdir()
        for seed in seeds:
            pixels = np.random.default_rng(seed).integers(0, 256, (64, 96, 3), np.uint8)
            cv2.imwrite(str(tmp_path / folder / f"{seed}.png"), pixels)
    words = ["--ckpt_file", str(path), "--file_format", "ONNX", "--int8", "1", "--calibration", str(tmp_path / "train"),
             "--file_name", str(tmp_path / "face"), "--device_target", "CPU"]
    # Random weights find no face, so that nothing is compared; the report is printed all the same.
    assert export.main([*words, "--images", str(tmp_path / "val"), "--check_sizes", "64"]) == 1
    text = capsys.readouterr().err
    assert "calibrated on 2 images of train" in text and "on 3 images of val" in text
    assert not list(tmp_path.glob("face*"))
    assert export.main([*words, "--verify", "0"]) == 0
    report = json.loads((tmp_path / "face.onnx.verification.json").read_text())
    assert report["calibrated_on"] == {"folder": "train", "images": 2} and "compared_on" not in report


def test_a_different_network_is_not_written(ms, tmp_path, monkeypatch, capsys):
    def other(path, model):
        tensors = checkpoint.load(make_checkpoint(tmp_path / "other.ckpt", seed=1)).tensors
        return read_network(path, model)._replace(tensors=tensors)

    monkeypatch.setattr("src.export.export.read_network", other)
    path = make_checkpoint(tmp_path / "0-1_2.ckpt")
    for kind in ("MINDIR", "ONNX"):
        assert export.main(["1", str(path), "--file_format", kind, "--input_h", "32", "--input_w", "32",
                            "--file_name", str(tmp_path / "face"), "--device_target", "CPU"]) == 1
        assert "checkpoint" in capsys.readouterr().err
        assert not list(tmp_path.glob("face*"))


def test_a_former_report_does_not_outlive_its_file(ms, tmp_path, monkeypatch):
    """An export that ends between the two files leaves a file without report, never one with another's."""
    path = make_checkpoint(tmp_path / "0-1_2.ckpt")
    words = ["--ckpt_file", str(path), "--file_format", "ONNX", "--file_name", str(tmp_path / "face"), "--certify", "0"]
    assert export.main(words) == 0
    monkeypatch.setattr("src.export.export.json.dump", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export.main(words)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["0-1_2.ckpt", "face.onnx"]


@pytest.mark.soak
def test_retinaface_of_any_size(ms, tmp_path, capsys):
    path = tmp_path / "a.ckpt"
    checkpoint.save(path, random_tensors("mobilenet025"), {**DEFAULT_METADATA, "options": {"backbone": "mobilenet025"}})
    common = ["--ckpt_file", str(path), "--device_target", "CPU"]
    assert export.main([*common, "--file_format", "MINDIR", "--input_h", "75", "--input_w", "101",
                        "--file_name", str(tmp_path / "m")]) == 0
    assert "size 101 x 75, 3 images: boxes" in capsys.readouterr().out
