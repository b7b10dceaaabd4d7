# SPDX-License-Identifier: Apache-2.0
"""FDDB in training and testing: its ellipse lists as annotations, its folds as a split of test.py."""
import cv2
import numpy as np
import pytest

from dependency.errors import InputError
from dependency.evaluate.fddb.protocol import evaluate_fddb
from src.annotations.read_write import read_annotations, validate
from src.evaluation.predict import predict_images
from src.evaluation.split_images import check_folder, list_images, split_files
from tests.small_wider import BOX, SquareDetector

NAMES = {1: ["2002/08/11/big/img_591", "2002/08/26/big/img_265"], 2: ["2003/01/02/big/img_7"]}
IMAGES = [f"{name}.jpg" for names in NAMES.values() for name in names]


@pytest.fixture
def folder(tmp_path):
    """Two folds of images with one white square each, its annotated ellipse just inside."""
    x, y, width, height = BOX
    image = np.zeros((96, 128, 3), np.uint8)
    image[y:y + height, x:x + width] = 255
    row = f"{width / 2} {height / 2} 0.0 {x + width / 2} {y + height / 2}  1"
    for fold, names in NAMES.items():
        path = tmp_path / "FDDB-folds" / f"FDDB-fold-{fold:02d}-ellipseList.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(f"{name}\n1\n{row}\n" for name in names))
        (path.parent / f"FDDB-fold-{fold:02d}.txt").write_text("\n".join(names))
        for name in names:
            picture = tmp_path / "originalPics" / f"{name}.jpg"
            picture.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(picture), image)
    return tmp_path


def test_ellipses_are_read_as_the_boxes_that_hold_them(folder):
    path = folder / "FDDB-folds" / "FDDB-fold-01-ellipseList.txt"
    records = read_annotations(path, image_dir=folder / "originalPics")
    assert [record.path for record in records] == IMAGES[:2] and (records[0].height, records[0].width) == (96, 128)
    x, y, width, height = BOX
    np.testing.assert_allclose(records[0].boxes, [[x, y, x + width, y + height]])
    assert not records[0].visibility.any() and records.lines(1)[:2] == (4, [6])
    assert validate(path, folder / "originalPics") == []
    assert len(read_annotations(path, "fddb")) == 2


def test_the_images_of_the_folds(folder):
    pictures = folder / "originalPics"
    assert list_images(folder / "FDDB-folds", pictures) == IMAGES == list_images(folder, pictures)
    assert list_images(folder / "FDDB-folds" / "FDDB-fold-02-ellipseList.txt", pictures) == IMAGES[2:]
    (pictures / IMAGES[1]).unlink()
    with pytest.raises(InputError, match=IMAGES[1]):
        list_images(folder / "FDDB-folds", pictures)
    assert list_images(folder / "FDDB-folds", pictures, only_existing=True) == [IMAGES[0], IMAGES[2]]
    (folder / "FDDB-folds" / "val.mat").write_bytes(b"")
    assert split_files(folder / "FDDB-folds") == [folder / "FDDB-folds" / "val.mat"]
    with pytest.raises(InputError):
        split_files(pictures)


def test_predictions_of_nested_names_are_written_found_and_scored(folder):
    out, pictures = folder / "out", folder / "originalPics"
    predict_images(SquareDetector(), IMAGES, pictures, out)
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.txt")) == sorted(
        image.replace(".jpg", ".txt") for image in IMAGES)
    report = evaluate_fddb(out, folder / "FDDB-folds")
    assert report.rates["discrete"][100] == 1.0 and report.rates["continuous"][100] == pytest.approx(np.pi / 4, abs=.02)
    check_folder(out, IMAGES)
    with pytest.raises(InputError):
        check_folder(out, IMAGES[:2])
    predict_images(SquareDetector(), IMAGES[:1], pictures, out / "89")
    check_folder(out, IMAGES)       # a folder of another checkpoint below does not count
