# SPDX-License-Identifier: Apache-2.0
"""The converter's command line: what it writes, counts, prints, refuses, and the tree it lays out."""
import json

import cv2
import numpy as np
import pytest

from dependency.centernet.src.lib.datasets.dataset.coco_hp import read_coco
from dependency.errors import InputError
from src.cli.program import run
from src.common.log import LOGGER
from src.tools.prepare_wider import main
from src.tools.wider_layout import GROUND_TRUTH, make_layout

SEEN = "12 25 0.0 18 25 0.0 15 30 0.0 13 34 0.0 17 34 1.0 0.9"
LABEL = f"""# 0--Parade/one.jpg
10 20 30 30 {SEEN}
1 2 6 5
3 3 -4 5
# 0--Parade/two.jpg
70 10 20 20
# 1--Handshaking/gone.jpg
1 2 30 40
"""
FLAGS = """0--Parade/one.jpg
2
10 20 30 30 0 0 0 0 0 0
1 2 6 5 2 0 0 1 0 0
0--Parade/two.jpg
0
0 0 0 0 0 0 0 0 0 0
"""


@pytest.fixture
def work(tmp_path):
    """label.txt, flags.txt and images/0--Parade/{one,two}.jpg of 80 x 60."""
    (tmp_path / "label.txt").write_text(LABEL)
    (tmp_path / "flags.txt").write_text(FLAGS)
    (tmp_path / "images/0--Parade").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    for name in ("one", "two"):
        assert cv2.imwrite(str(tmp_path / f"images/0--Parade/{name}.jpg"), pixels)
    return tmp_path


def call(work, *words):
    """Run `main`; words with a dot or a slash in front are files of `work`."""
    return main([str(work / word[1:]) if word.startswith("@") else word for word in words])


def test_label_to_train_json(work, capsys):
    assert call(work, "--annotation", "@label.txt", "--image_dir", "@images", "--only_existing", "--out",
                "@annotations/train.json") == 0
    records = read_coco(work / "annotations/train.json")
    assert [(record.path, record.height, record.width) for record in records] == [
        ("0--Parade/one.jpg", 60, 80), ("0--Parade/two.jpg", 60, 80)]
    assert records[0].boxes.tolist() == [[10, 20, 40, 50], [1, 2, 7, 7]]
    assert records[0].visibility.tolist() == [[2, 2, 2, 2, 1], [0] * 5]
    assert records[1].boxes.tolist() == [[70, 10, 80, 30]], "clipped to the image"
    assert f"{work / 'label.txt'}:4: 0--Parade/one.jpg: " in capsys.readouterr().out


def test_two_files_become_one(work):
    call(work, "--annotation", "@label.txt", "@flags.txt", "--image_dir", "@images", "--only_existing",
         "--out", "@train.json")
    one = read_coco(work / "train.json")[0]
    assert one.ignore.tolist() == [False, True] and one.visibility.any(axis=1).tolist() == [True, False]


@pytest.mark.parametrize("options, boxes, ignored", [
    ([], 2, 1), (["--drop_invalid"], 1, 0), (["--min_size", "5.5"], 1, 0), (["--min_size", "5"], 2, 1),
    (["--ignore_small", "31"], 2, 2), (["--ignore_small", "31", "--drop_invalid"], 1, 1),
    (["--min_size", "5.5", "--ignore_small", "31"], 1, 1)])
def test_filters(work, options, boxes, ignored):
    call(work, "--annotation", "@flags.txt", "--image_dir", "@images", "--out", "@train.json", *options)
    one, two = read_coco(work / "train.json")
    assert (len(one.boxes), int(one.ignore.sum()), len(two.boxes)) == (boxes, ignored, 0)


@pytest.mark.parametrize("annotation, options", [
    ("@flags.txt", ["--drop_invalid", "--min_size", "31"]), ("@flat.txt", [])])
def test_an_image_that_lost_all_its_faces_is_not_background(work, capsys, annotation, options):
    (work / "flat.txt").write_text("# 0--Parade/one.jpg\n3 3 -4 5\n# 0--Parade/two.jpg\n")
    (work / "images/0--Parade/three.jpg").write_bytes((work / "images/0--Parade/two.jpg").read_bytes())
    (work / "kept.txt").write_text("# 0--Parade/three.jpg\n1 2 40 40\n")
    call(work, "--annotation", annotation, "@kept.txt", "--image_dir", "@images", "--out", "@train.json", *options)
    assert [record.path for record in read_coco(work / "train.json")] == ["0--Parade/two.jpg", "0--Parade/three.jpg"]
    out = capsys.readouterr().out
    assert "1 with faces, 1 without" in out and "left out  1 " in out


def test_validate_lists_every_problem_by_line(work, capsys):
    assert call(work, "--annotation", "@label.txt", "--image_dir", "@images", "--validate") == 1
    places = [line.split(": ")[0] for line in capsys.readouterr().out.splitlines()[:-1]]
    assert places == [f"{work / 'label.txt'}:{number}" for number in (4, 6, 7)]
    assert call(work, "--annotation", "@flags.txt", "--image_dir", "@images", "--validate") == 0


def test_repair_tells_what_it_did_and_leaves_nothing_to_validate(work, capsys):
    (work / "images/0--Parade/cut.jpg").write_bytes((work / "images/0--Parade/one.jpg").read_bytes()[:-300])
    (work / "label.txt").write_text(LABEL + "# 0--Parade/cut.jpg\n1 2 3 4\n")
    assert call(work, "--annotation", "@label.txt", "--image_dir", "@images", "--repair", "@fixed.txt") == 0
    out = capsys.readouterr().out.splitlines()
    assert [(line.split(": ")[0].rsplit(":", 1)[1], line.rsplit(" -> ", 1)[1]) for line in out[:4]] == [
        ("4", "dropped"), ("6", "clipped"), ("7", "image left out"), ("9", "image left out")]
    assert call(work, "--annotation", "@fixed.txt", "--image_dir", "@images", "--validate") == 0
    assert call(work, "--annotation", "@label.txt", "--image_dir", "@images", "--repair", "@fixed.json",
                "--headers_only") == 0
    assert [record.path for record in read_coco(work / "fixed.json")][-1] == "0--Parade/cut.jpg"


@pytest.mark.parametrize("words, text", [
    ([], "--out"),
    (["--annotation", "@label.txt"], "--out"),
    (["--out", "@t.json"], "--annotation"),
    (["--layout", "@tree"], "--wider"),
    (["--annotation", "@label.txt", "--validate", "--wider", "@"], "--wider"),
    (["--annotation", "@label.txt", "--out", "@t.txt", "--only_existing"], "--image_dir"),
    (["--annotation", "@label.txt", "--out", "@t.xml"], ".json"),
    (["--annotation", "@flags.txt", "--out", "@t.txt"], "0--Parade/one.jpg"),
    (["--annotation", "@label.txt", "--image_dir", "@empty", "--repair", "@t.json"], "3 of 3 images"),
    (["--annotation", "@label.txt", "--image_dir", "@empty", "--only_existing", "--out", "@t.json"], "--image_dir"),
    (["--annotation", "@label.txt", "--image_dir", "@images", "--out", "@t.json"], "1--Handshaking/gone.jpg"),
    (["--annotation", "@label.txt", "--out", "@t.json"], "--image_dir"),
    (["--annotation", "@flags.txt", "--out", "@t.txt", "--drop_invalid", "--min_size", "31"], "1 below --min_size"),
    (["--annotation", "@columns.txt", "--out", "@t.txt"], "columns.txt:2: 0--Parade/one.jpg: 14 columns"),
    (["--annotation", "@flags.txt", "--image_dir", "@other", "--repair", "@t.json"], "2 image_unreadable"),
    (["--annotation", "@lost.txt", "--image_dir", "@images", "--repair", "@t.json"], "lost.txt:3: "),
])
def test_refusals_say_what_to_type(work, capsys, words, text):
    (work / "columns.txt").write_text("# 0--Parade/one.jpg\n" + "1 2 " * 7 + "\n1 2 3\n")
    (work / "lost.txt").write_text("# 0--Parade/one.jpg\n1 2 6 5\n0--Parade/two.jpg\n10 20 30 30\n")
    (work / "other/0--Parade").mkdir(parents=True)
    for name in ("one", "two"):
        (work / f"other/0--Parade/{name}.jpg").write_text("no image")
    assert run(lambda: call(work, *words)) == 2
    assert text in capsys.readouterr().err
    assert not list(work.glob("t.*"))


def test_dropped_faces_are_counted_and_most_are_a_warning(work, capsys, caplog, monkeypatch):
    monkeypatch.setattr(LOGGER, "propagate", True)
    words = ["--image_dir", "@images", "--repair", "@fixed.json"]
    (work / "images/0--Parade/two.jpg").write_text("no image")
    (work / "label.txt").write_text("# 0--Parade/one.jpg\n1 2 6 5\n2 2 6 5\n3 3 6 0\n# 0--Parade/two.jpg\n5 5 9 9\n")
    assert call(work, "--annotation", "@label.txt", *words) == 0
    assert "dropped   2: 1 size, 1 image_unreadable" in capsys.readouterr().out and not caplog.records
    (work / "label.txt").write_text("# 0--Parade/one.jpg\n1 2 6 5\n# 0--Parade/two.jpg\n5 5 9 9\n7 7 9 9\n")
    assert call(work, "--annotation", "@label.txt", *words) == 0
    assert "2 image_unreadable" in caplog.text


def test_faces_of_images_that_are_not_there_are_counted(work, capsys):
    call(work, "--annotation", "@label.txt", "--image_dir", "@images", "--only_existing", "--out", "@train.json")
    first = capsys.readouterr().out.splitlines()[0]
    assert "2 of 3 images" in first and "1 faces" in first


def test_real_train_part(shared_data, tmp_path):
    wider = shared_data / "wider"
    files = [str(wider / name) for name in ("train/label.txt", "annotations/wider_face_train.mat")]
    assert main(["--annotation", *files, "--image_dir", str(wider / "train/images"), "--only_existing",
                 "--out", str(tmp_path / "train.json")]) == 0
    faces = json.loads((tmp_path / "train.json").read_text())["annotations"]
    assert len(faces) == 2378 and sum(face["num_keypoints"] > 0 for face in faces) == 55


# ---- layout ------------------------------------------------------------------------------------------------

@pytest.fixture
def download(work):
    """What the unpacked archives look like."""
    for split in ("train", "val"):
        folder = work / f"dl/WIDER_{split}/images/0--Parade"
        folder.mkdir(parents=True)
        (folder / "one.jpg").write_bytes((work / "images/0--Parade/one.jpg").read_bytes())
    (work / "dl/eval_tools/ground_truth").mkdir(parents=True)
    for name in GROUND_TRUTH:
        (work / "dl/eval_tools/ground_truth" / name).write_bytes(name.encode())
    return work / "dl"


def test_layout_makes_the_manuals_tree(work, download):
    tree = work / "dataset/centerface"
    links, missing = make_layout(tree, download)
    assert len(links) == 7 and not missing
    assert (tree / "images/train/images/0--Parade/one.jpg").is_file()
    assert (tree / "images/val/images/0--Parade/one.jpg").is_file()
    assert (tree / "ground_truth/val.mat").read_bytes() == b"wider_face_val.mat"
    assert all((tree / "ground_truth" / name).read_bytes() == name.encode() for name in GROUND_TRUTH)
    assert (tree / "annotations").is_dir()
    assert make_layout(tree, download)[0] == links, "a second run changes nothing"


def test_layout_never_replaces(work, download):
    tree = work / "tree"
    (tree / "ground_truth").mkdir(parents=True)
    (tree / "ground_truth/val.mat").write_text("mine")
    with pytest.raises(InputError, match="val.mat"):
        make_layout(tree, download)
    assert (tree / "ground_truth/val.mat").read_text() == "mine"


def test_layout_names_missing_parts(work, download):
    (download / "eval_tools/ground_truth/wider_face_val.mat").unlink()
    _, missing = make_layout(work / "tree", download)
    assert len(missing) == 2 and "http" in missing[0]
    assert "eval_tools/ground_truth/wider_face_val.mat" in missing[0]
    (download / "eval_tools/ground_truth").rename(work / "gt")
    assert len(make_layout(work / "apart", download, work / "gt")[1]) == 2
    with pytest.raises(InputError, match="WIDER_train"):
        make_layout(work / "other", work / "images")
    assert not (work / "other").exists()


def test_layout_of_downloads_in_folders_of_their_own_or_still_packed(work, download):
    for name in ("WIDER_train", "WIDER_val", "eval_tools"):
        (download / name).rename(work / "part")
        (download / name).mkdir()
        (work / "part").rename(download / name / name)
    links, missing = make_layout(work / "tree", download)
    assert len(links) == 7 and not missing
    (download / "WIDER_val/WIDER_val").rename(work / "away")
    (download / "WIDER_val.zip").touch()
    _, missing = make_layout(work / "part", download)
    assert len(missing) == 1 and f"unzip {download / 'WIDER_val.zip'} -d {download}" in missing[0]
    (work / "packed").mkdir()
    (work / "packed/WIDER_train.zip").touch()
    with pytest.raises(InputError, match="unzip .*WIDER_train.zip"):
        make_layout(work / "other", work / "packed")


def test_missing_images_are_three_lines_and_a_count(work, capsys):
    (work / "many.txt").write_text("# 0--Parade/one.jpg\n1 2 30 40\n" + "".join(
        f"# 0--Parade/{number}.jpg\n1 2 30 40\n" for number in range(50)))
    for words in (["--validate"], ["--repair", "@t.json"]):
        call(work, "--annotation", "@many.txt", "--image_dir", "@images", *words)
        lines = [line for line in capsys.readouterr().out.splitlines() if "exist" in line]
        assert len(lines) == 4 and "0--Parade/2.jpg" in lines[2] and "47" in lines[3]
    (work / "wrong").mkdir()
    (work / "images").rename(work / "wrong/images")
    for words in (["--validate"], ["--repair", "@t.json"], ["--out", "@t.json"]):
        with pytest.raises(InputError) as error:
            call(work, "--annotation", "@many.txt", "--image_dir", "@wrong", *words)
        assert all(f"{work}/wrong/{name}" in str(error.value) for name in ("0--Parade/one.jpg",
                                                                           "images/0--Parade/one.jpg"))


def test_layout_with_real_ground_truth_writes_both_json(work, download, shared_data):
    gt = shared_data / "wider/ground_truth"
    (work / "label.txt").write_text("# 0--Parade/one.jpg\n1 2 30 40\n")
    (download / "WIDER_val/images/0--Parade/one.jpg").unlink()
    assert cv2.imwrite(str(download / "WIDER_val/images/0--Parade/0_Parade_marchingband_1_465.jpg"),
                       np.zeros((1024, 1024, 3), np.uint8))
    words = ["--wider", "@dl", "--layout", "@tree", "--ground_truth", str(gt), "--only_existing"]
    assert call(work, *words, "--annotation", "@label.txt") == 0
    (train,) = read_coco(work / "tree/annotations/train.json")
    (val,) = read_coco(work / "tree/annotations/val.json")
    assert (train.path, train.height, len(train.boxes)) == ("0--Parade/one.jpg", 60, 1)
    assert val.path == "0--Parade/0_Parade_marchingband_1_465.jpg" and len(val.boxes)
