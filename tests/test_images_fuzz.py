# SPDX-License-Identifier: Apache-2.0
"""Damaged and hostile files of every kind that the project reads: each ends in a result or an InputError, soon.

Mutations are seeded: bytes turned, cut out, doubled, sizes made huge, files cut off or joined. A crash of the process
fails the whole test run; a pickle or any other code in a file would leave a mark in the test's folder.
"""
import json
import pickle
import struct
import time
import warnings
import zlib

import numpy as np
import pytest

from dependency.centernet.src.lib.utils.image_file import read_header, read_photo
from dependency.errors import InputError
from src.data.annotations import read_annotations
from src.weights import checkpoint
from src.weights.ckpt_format import CRC_MARK, CRC_SIZE
from src.weights.torch_file import read_tensors
from tests.dependency.test_image_file import encode, turned
from tests.weights.torch_writer import write_legacy, write_zip

IMAGES = 100                                # cases of each kind
TEXTS, WEIGHTS, GRAPHS = 200, 200, 60
LONGEST_SECONDS = 10.0
LIMIT = 1_000_000                           # pixels
HUGE = [struct.pack(order + kind, value) for order in "<>" for kind, value in (
    ("I", 0xFFFFFFFF), ("I", 0x7FFFFFFF), ("I", 60000), ("H", 0xFFFF), ("H", 0x7FFF), ("I", 0), ("Q", 1 << 62))]


def mutate(content, rng):
    """The file with one to four damages."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        # Half of the damages hit the start, where formats tell their sizes.
        place = int(rng.integers(0, max(1, min(len(data), 64) if rng.random() < 0.5 else len(data))))
        length = int(rng.integers(1, 33))
        kind = rng.integers(0, 6)
        if kind == 0:
            data[place:place + 1] = rng.bytes(1)
        elif kind == 1:
            huge = HUGE[rng.integers(len(HUGE))]
            data[place:place + len(huge)] = huge
        elif kind == 2:
            del data[place:place + length]
        elif kind == 3:
            data[place:place] = data[place:place + length] * int(rng.integers(1, 50))
        elif kind == 4:
            data = data[:place]
        else:
            data[place:place + length] = rng.bytes(length)
    return bytes(data)


def outcome(function, *arguments):
    """"read" or "refused"; anything else is an error of the program."""
    start = time.perf_counter()
    try:
        function(*arguments)
        return "read"
    except InputError as error:
        assert str(error)
        return "refused"
    finally:
        assert time.perf_counter() - start < LONGEST_SECONDS


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)


@pytest.mark.parametrize("kind, mode, options", [
    ("JPEG", "RGB", {"exif": turned()}), ("JPEG", "CMYK", {"progressive": True}), ("PNG", "RGBA", {}), ("PNG", "P", {}),
    ("GIF", "P", {}), ("WEBP", "RGB", {}), ("WEBP", "RGBA", {"lossless": True}), ("BMP", "RGB", {}),
    ("TIFF", "RGB", {"compression": "tiff_lzw"}), ("PPM", "RGB", {})])
def test_photographs(picture, kind, mode, options):
    content = encode(picture, kind, mode, **options)
    rng = np.random.default_rng(len(content))
    for _ in range(IMAGES):
        damaged = mutate(content, rng)
        if outcome(read_photo, damaged, LIMIT) == "read":
            image = read_photo(damaged, LIMIT)
            assert image.dtype == np.uint8 and image.shape[2] == 3
            assert image.shape[0] * image.shape[1] <= LIMIT


def test_noise_behind_every_magic_number():
    rng = np.random.default_rng(1)
    for magic in (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"GIF89a", b"BM", b"RIFF\0\0\0\0WEBPVP8X",
                  b"II*\0", b"MM\0*", b"P5 ", b"P3\n"):
        for _ in range(15):
            outcome(read_photo, magic + rng.bytes(int(rng.integers(0, 400))), LIMIT)


def test_headers_for_training(tmp_path, picture):
    path = tmp_path / "x.jpg"
    rng = np.random.default_rng(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")     # Pillow remarks on damaged EXIF
        for kind in ("JPEG", "PNG", "TIFF"):
            content = encode(picture, kind)
            for _ in range(15):
                path.write_bytes(mutate(content, rng))
                outcome(read_header, path)


LABEL = (b"# a/b.jpg\n1 2 30 40 5 6 0.0 7 8 0.0 9 10 1.0 11 12 0.0 13 14 0.0 0.5\n1 2 3 4 " + b"-1.0 " * 16
         + b"\n# c.jpg\n")
WIDER = b"a/b.jpg\n2\n1 2 30 40 0 0 0 0 0 0\n5 6 7 8 1 1 1 1 2 1\nc.jpg\n0\n0 0 0 0 0 0 0 0 0 0\n"
COCO = (b'{"categories": [{"id": 1, "name": "face"}], "images": [{"id": 1, "file_name": "a.jpg", "height": 10, '
        b'"width": 9}], "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "keypoints": '
        b'[1, 2, 2, 3, 4, 2, 5, 6, 1, 0, 0, 0, 7, 8, 2], "num_keypoints": 4, "area": 12, "iscrowd": 0}]}')


@pytest.mark.parametrize("name, content", [("label.txt", LABEL), ("wider_bbx_gt.txt", WIDER), ("train.json", COCO)])
def test_annotations(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    assert outcome(read_annotations, path) == "read"
    rng = np.random.default_rng(len(content))
    seen = set()
    for _ in range(TEXTS):
        path.write_bytes(mutate(content, rng))
        seen.add(outcome(read_annotations, path))
    path.write_bytes(b"[" * 200_000)
    assert seen >= {"refused"} and outcome(read_annotations, path) == "refused"


def small_checkpoint(path):
    rng = np.random.default_rng(0)
    tensors = {f"layer{number}.weight": rng.normal(size=(3, 4)).astype(np.float32) for number in range(3)}
    checkpoint.save(path, tensors, {"model": "centerface", "options": {}}, {"epoch": 1})
    return path.read_bytes()


def with_checksum(body):
    """Damaged bytes with a checksum that fits: the parser itself must stand them."""
    return body + CRC_MARK + zlib.crc32(body).to_bytes(10, "big")


def test_checkpoints(tmp_path):
    path = tmp_path / "x.ckpt"
    content = small_checkpoint(path)
    rng = np.random.default_rng(3)
    for number in range(WEIGHTS):
        path.write_bytes(mutate(content, rng) if number % 2 else with_checksum(mutate(content[:-CRC_SIZE], rng)))
        outcome(checkpoint.load, path)


@pytest.mark.parametrize("write", [write_zip, write_legacy])
def test_weights_of_pytorch(tmp_path, write):
    path = tmp_path / "x.pth"
    write(path, {"conv.weight": np.ones((3, 4), np.float32), "conv.bias": np.zeros(3, np.float32)})
    content = path.read_bytes()
    rng = np.random.default_rng(5)
    for _ in range(WEIGHTS):
        path.write_bytes(mutate(content, rng))
        outcome(read_tensors, path)


class Mark:
    """Unpickled, it makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        import os
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("reader", [checkpoint.load, read_tensors, read_annotations, read_photo])
def test_a_pickle_is_never_run(tmp_path, protocol, reader):
    path = tmp_path / "x.pth"
    path.write_bytes(pickle.dumps({"weight": Mark(tmp_path / "made")}, protocol))
    assert outcome(reader, path) == "refused"
    path.write_bytes(b"".join(pickle.dumps(each, protocol) for each in (0x1950a86a20f9469cfc6c, 1001, {}, Mark(
        tmp_path / "made"))))
    assert outcome(reader, path) == "refused" and not (tmp_path / "made").exists()


def test_onnx_files(tmp_path):
    onnx, runtime = pytest.importorskip("onnx"), pytest.importorskip("onnxruntime")
    from src.inference.backends import open_backend
    helper = onnx.helper
    from src.centerface.spec import DEFAULT_METADATA, OUTPUTS
    channels = [1, 2, 2, 10]
    weight = onnx.numpy_helper.from_array(np.ones((15, 3, 1, 1), np.float32), "weight")
    lengths = onnx.numpy_helper.from_array(np.array(channels), "lengths")
    graph = helper.make_graph(
        [helper.make_node("Transpose", ["images"], ["x"], perm=[0, 3, 1, 2]),
         helper.make_node("Cast", ["x"], ["y"], to=1), helper.make_node("Conv", ["y", "weight"], ["z"]),
         helper.make_node("Split", ["z", "lengths"], OUTPUTS, axis=1)],
        "centerface", [helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, ["b", "h", "w", 3])],
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["b", count, "h", "w"])
         for name, count in zip(OUTPUTS, channels)], [weight, lengths])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"metadata": json.dumps(DEFAULT_METADATA)})
    path, content = tmp_path / "x.onnx", model.SerializeToString()
    runtime.set_default_logger_severity(4)

    def look(file):
        forward = open_backend(file, threads=1)
        forward(np.zeros((1, 32, 32, 3), np.uint8))
    path.write_bytes(content)
    assert outcome(look, path) == "read"
    rng = np.random.default_rng(4)
    for _ in range(GRAPHS):
        path.write_bytes(mutate(content, rng))
        outcome(look, path)
