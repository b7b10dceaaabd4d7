# SPDX-License-Identifier: Apache-2.0
"""A copy of the project in a folder of its own, with the files that the documents' readers have."""
from __future__ import annotations

import shutil
from pathlib import Path

import av
import cv2
import numpy as np

from src.annotations.read_write import read_annotations
from src.centerface.torch_names import key_shapes, torch_name
from src.retinaface.layers import tensor_shapes
from src.tools import make_ground_truth, synthetic
from tests.conftest import ROOT
from tests.retinaface.weights import pytorch, random_tensors
from tests.weights.torch_writer import write_zip

SYNTHETIC = ["--train=6", "--val=4", "--size=192", "--workers=1"]


def make_data(folder: Path) -> Path:
    """A synthetic data set, a film, and files of weights as they are downloaded; all documents share them."""
    synthetic.main([str(folder / "set"), *SYNTHETIC])
    rng = np.random.default_rng(0)
    torchvision = {torch_name(name): rng.random(shape, np.float32) for name, shape in key_shapes().items()}
    write_zip(folder / "mobilenet_v2.pth", torchvision)
    resnet = {name: np.full(shape, 0.01, np.float32) for name, shape in tensor_shapes("resnet50", "backbone").items()}
    write_zip(folder / "resnet50.pth", pytorch(resnet, ""))
    write_zip(folder / "mobilenet0.25_Final.pth", pytorch(random_tensors("mobilenet025")))
    write_zip(folder / "mobilenetV1X0.25_pretrain.tar", pytorch(random_tensors("mobilenet025", "backbone")))
    photo = next((folder / "set/images/val/images").rglob("*.jpg"))
    make_fddb(folder, photo)
    make_downloads(folder)
    make_own(folder)
    image = cv2.imread(str(photo))
    with av.open(str(folder / "film.mp4"), "w") as film:
        stream = film.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = image.shape[0] // 2 * 2, image.shape[1] // 2 * 2, "yuv420p"
        for _ in range(4):
            film.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        film.mux(stream.encode())
    return folder


def make_fddb(folder: Path, photo: Path) -> None:
    """A fold of one photograph."""
    (folder / "FDDB-folds").mkdir()
    (folder / "FDDB-folds/FDDB-fold-01-ellipseList.txt").write_text("2002/img_1\n1\n20 15 0.0 60 60 1\n")
    (folder / "FDDB-folds/FDDB-fold-01.txt").write_text("2002/img_1\n")
    (folder / "originalPics/2002").mkdir(parents=True)
    shutil.copy(photo, folder / "originalPics/2002/img_1.jpg")


def make_downloads(folder: Path) -> None:
    """WIDER FACE as its files are unpacked, of the synthetic set."""
    synthetic_set, downloads = folder / "set", folder / "downloads"
    for split in ("train", "val"):
        (downloads / f"WIDER_{split}").mkdir(parents=True)
        (downloads / f"WIDER_{split}/images").symlink_to(synthetic_set / f"images/{split}/images")
    (downloads / "eval_tools").mkdir()
    (downloads / "eval_tools/ground_truth").symlink_to(synthetic_set / "ground_truth")
    (downloads / "label.txt").symlink_to(synthetic_set / "annotations/train_label.txt")
    make_ground_truth.main([str(synthetic_set / "annotations/train.json"), str(folder / "train_truth")])
    (downloads / "wider_face_split").mkdir()
    (folder / "train_truth/wider_face_val.mat").rename(downloads / "wider_face_split/wider_face_train.mat")


def make_own(folder: Path) -> None:
    """Images of one's own as YOLO has them: faces/images/{train,val}, labels beside them, and their data file."""
    for split in ("train", "val"):
        images, labels = folder / f"faces/images/{split}", folder / f"faces/labels/{split}"
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for record in read_annotations(folder / f"set/annotations/{split}.json"):
            name = Path(record.path)
            shutil.copy(folder / f"set/images/{split}/images" / name, images)
            size = np.array([record.width, record.height])
            corners = record.boxes.reshape(-1, 2, 2) / size
            rows = np.concatenate([corners.mean(axis=1), corners[:, 1] - corners[:, 0]], axis=1)
            (labels / f"{name.stem}.txt").write_text("".join(f"0 {' '.join(map(str, row))}\n" for row in rows))
    (folder / "my.yaml").write_text("path: faces\ntrain: images/train\nval: images/val\nnames: [face]\n")


def make_project(folder: Path, data: Path, document: str) -> Path:
    """The programs by links, the scripts (which write beside themselves) copied, and the data of a document."""
    for path in ROOT.iterdir():
        if path.name in ("src", "dependency", "benchmarks") or path.suffix == ".py":
            (folder / path.name).symlink_to(path)
    shutil.copytree(ROOT / "scripts", folder / "scripts", ignore=lambda _, names: [
        name for name in names if not name.endswith((".sh", ".py"))])
    for path in data.iterdir():
        if path.name != "set":
            (folder / path.name).symlink_to(path)
    images = sorted((data / "set/images/train/images").rglob("*.jpg"))
    (folder / "photos").mkdir()
    for number, image in enumerate(images[:3], 1):
        shutil.copy(image, folder / "photos" / f"{number}.jpg")
    shutil.copy(images[0], folder / "photo.jpg")
    if document == "docs/performance.md":       # the others make these themselves
        for name in ("dataset/centerface", "demo/data"):
            (folder / name).parent.mkdir()
            (folder / name).symlink_to(data / "set")
    return folder
