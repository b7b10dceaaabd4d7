# SPDX-License-Identifier: Apache-2.0
"""The report page as a file: what it says, that nothing in it comes from outside, what it does without pictures."""
import base64
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from dependency.errors import InputError
from dependency.evaluate.report.page import write_page
from dependency.evaluate.report.page_markup import breakable, decimal, percent, rough_percent, tag
from dependency.evaluate.report.page_pictures import CROP_BYTES, PHOTO_BYTES, cut_pictures
from tests.small_analysis import EVENTS, make_images, make_run

HOSTILE = ["0--<img src=x onerror=alert(1)>", "1--\"><script>alert(1)</script>", "2--&lt;b&gt; 'quoted' <!--"]


class Document(HTMLParser):
    """Elements with attributes, and the text of everything but style and script."""

    def __init__(self, content: str):
        super().__init__()
        self.elements, self.texts, self.path = [], [], []
        self.feed(content)
        self.close()

    def handle_starttag(self, name, attributes):
        self.elements.append((name, dict(attributes)))
        if name not in ("meta", "wbr"):
            self.path.append(name)

    def handle_endtag(self, name):
        assert self.path.pop() == name, "elements are nested as written"

    def handle_data(self, data):
        if self.path and self.path[-1] not in ("style", "script"):
            self.texts.append(data)

    @property
    def text(self):
        return " ".join("".join(self.texts).replace("\u00a0", " ").split())

    def named(self, name):
        return [attributes for element, attributes in self.elements if element == name]


def page(tmp_path, *runs, image_dir=None):
    path = tmp_path / "deep" / "report.html"
    write_page({"version": 1, "runs": list(runs)}, path, image_dir)
    content = path.read_text(encoding="utf-8")
    document = Document(content)
    assert document.path == [], "every element is closed"
    return content, document


def test_numbers_and_sentences_are_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)                         # style and script are found from anywhere
    run = make_run()
    _, document = page(tmp_path, run)
    for sentence in run["summary"]:
        assert sentence in document.text
    for values in run["report"]["ap"].values():
        for value in values.values():
            assert f"{value:.4f}" in document.text
    assert f"{100 * run['operating_point']['recall']:.1f} %" in document.text
    assert "IoU 0.5, 18 of 18 images scored, 0 without a prediction" in document.text
    groups = [group for family in run["groups"].values() for group in family]
    assert len(groups) > 30
    for group in groups:
        for text in (group["name"], f"{100 * group['recall']:.1f} %", f"{group['ap']:.3f}"):
            assert text in document.text
    assert [attributes.get("class") for attributes in document.named("svg")].count("curves") == 3
    for kind in ("no box", "score too low", "box too loose", "background", "duplicate", "loose box"):
        assert kind in document.text


def test_text_from_outside_stays_text(tmp_path):
    name = "</title><script>alert(1)</script>"
    run = make_run(HOSTILE, name)
    run["report"]["warnings"] = ["odd file \udcff<i>", "</script><script>alert(2)</script>"]
    _, document = page(tmp_path, run, image_dir=make_images(tmp_path / "images", HOSTILE[:1]))
    assert len(document.named("script")) == 1 and not document.named("img") and not document.named("i")
    assert not any(key.startswith("on") for _, attributes in document.elements for key in attributes)
    for text in (name, *HOSTILE, "odd file \\udcff<i>", "</script><script>alert(2)</script>"):
        assert " ".join(text.split()) in document.text
    assert {attributes.get("data-event") for attributes in document.named("figure")} >= {HOSTILE[0]}


def test_nothing_comes_from_outside(tmp_path):
    content, document = page(tmp_path, make_run(), image_dir=make_images(tmp_path / "images"))
    targets = [attributes[key] for _, attributes in document.elements for key in ("src", "href", "xlink:href", "action")
               if key in attributes]
    assert len(targets) > 50
    assert all(re.match(r"#[\w-]+$|data:image/jpeg;base64,", target) for target in targets)
    ids = {attributes["id"] for _, attributes in document.elements if "id" in attributes}
    assert {target[1:] for target in targets if target[0] == "#"} <= ids
    assert not document.named("link") and not document.named("iframe")
    assert not re.search(r"url\(|@import|https?:|fetch\(|import\(", content)
    policy = next(attributes["content"] for attributes in document.named("meta") if "http-equiv" in attributes)
    assert "default-src 'none'" in policy and "script-src 'sha256-" in policy


def test_pictures_have_words_and_tables_have_heads(tmp_path):
    _, document = page(tmp_path, make_run(), image_dir=make_images(tmp_path / "images"))
    drawn = [attributes for attributes in document.named("svg") if attributes.get("role") == "img"]
    assert len(drawn) == len(document.named("figure")) > 40
    assert all(len(attributes["aria-label"]) > 10 for attributes in drawn)
    assert all(attributes.get("scope") for attributes in document.named("th"))
    assert ("html", {"lang": "en"}) in document.elements


@pytest.mark.parametrize("left", [0, 5])
def test_absent_images_are_counted_and_the_table_says_the_rest(tmp_path, left):
    run = make_run()
    (tmp_path / "images").mkdir()
    make_images(tmp_path / "images", EVENTS[:left])
    _, document = page(tmp_path, run, image_dir=tmp_path / "images")
    absent = len(run["worst_images"]) - left
    assert f"{absent} of {len(run['worst_images'])} are not shown as pictures" in document.text
    assert "_image.jpg is not in the folder of images" in document.text
    for face in run["misses"] + run["false_alarms"] + run["worst_images"]:
        assert face["image"] in document.text
    assert any("open" in attributes for attributes in document.named("details")) == (left == 0)


def test_without_a_folder_of_images(tmp_path):
    _, document = page(tmp_path, make_run())
    assert "are not shown as pictures: no folder of images was given." in document.text
    assert not document.named("image")


def test_a_damaged_image_is_named(tmp_path):
    images = make_images(tmp_path / "images")
    (images / EVENTS[2] / "2_image.jpg").write_bytes(b"not a picture")
    _, document = page(tmp_path, make_run(), image_dir=images)
    assert "2_image.jpg: not an image" in document.text
    assert "1 image of 18 not shown" in document.text


@pytest.mark.parametrize("analysis", [{}, {"version": 2, "runs": [1]}, {"version": 1, "runs": []}])
def test_another_version_is_refused(tmp_path, analysis):
    with pytest.raises(InputError, match="expected an analysis of version 1 with at least one run"):
        write_page(analysis, tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_no_such_folder_of_images(tmp_path):
    with pytest.raises(InputError, match="no such folder; give the one that holds the event folders"):
        write_page({"version": 1, "runs": [make_run()]}, tmp_path / "report.html", tmp_path / "images")
    assert list(tmp_path.iterdir()) == []


def test_two_runs_stand_side_by_side(tmp_path):
    first, second = make_run(), make_run(name="second", shift=0.4)
    _, document = page(tmp_path, first, second)
    change = second["report"]["ap"]["0.5"]["hard"] - first["report"]["ap"]["0.5"]["hard"]
    assert change < -0.1 and f"{change:+.4f}" in document.text
    assert "first vs second" in document.text
    curves = [attributes for attributes in document.named("path") if "curve" in attributes.get("class", "").split()]
    assert len(curves) == 6 and {attributes["class"] for attributes in curves} == {"curve run0", "curve run1"}
    for group in second["groups"]["height"]:
        assert f"{100 * group['recall']:.1f} %" in document.text


def test_a_run_without_flags_or_faces_in_a_subset(tmp_path):
    run = make_run(flags=False)
    run["report"]["ap"]["0.5"]["easy"] = None
    del run["report"]["curves"]["0.5"]["easy"]
    run["misses"], run["false_alarms"], run["worst_images"] = [], [], []
    run["operating_point"]["score"] = None
    _, document = page(tmp_path, run)
    assert "need WIDER's flags" in document.text and "Occlusion" not in document.text
    assert "no detection, so no score to work at" in document.text
    curves = [attributes for attributes in document.named("path") if "curve" in attributes.get("class", "").split()]
    assert len(curves) == 2
    assert not document.named("figure")[3:]


def test_landmarks(tmp_path):
    run = make_run()
    assert "Right mouth corner" not in page(tmp_path, run)[1].text
    run["landmarks"] = {"nme": 0.0314, "faces": 4321, "per_point": [0.01, 0.02, 0.03, 0.04, 0.05],
                        "normaliser": "sqrt(w*h)"}
    text = page(tmp_path, run)[1].text
    assert "Right mouth corner" in text and "3.14 %" in text and "4,321" in text and "sqrt(w*h)" in text


def stored_pixels(markup):
    data = re.search(r"base64,([^\"]+)", markup).group(1)
    return cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)


def test_a_close_up_shows_its_face_in_its_place(tmp_path):
    pictures = cut_pictures([make_run()], make_images(tmp_path / "images"))
    assert len(pictures.crops) > 60 and not pictures.absent
    markup = {re.search(r'id="([^"]+)"', element).group(1): element for element in pictures.stored}
    photos = {name: cv2.imread(str(tmp_path / "images" / f"{name}.jpg")) for name in pictures.photos}
    for (name, box), picture in pictures.crops.items():
        x, y, width, height = picture.view
        assert x >= 0 and y >= 0 and x + width <= 320 and y + height <= 240
        crop = stored_pixels(markup[picture.id])
        expected = photos[name][y:y + height, x:x + width]
        assert crop.shape == expected.shape, "small enough to be stored as it is"
        assert np.abs(crop.astype(int) - expected).mean() < 6
        centre = np.array([box[0] + box[2] / 2 - x, box[1] + box[3] / 2 - y])
        assert (centre >= 0).all() and (centre <= (width, height)).all()


@pytest.mark.parametrize("box, view", [
    ((150, 110, 20, 20), (128, 88, 64, 64)), ((100, 60, 30, 50), (55, 25, 120, 120)),
    ((5, 110, 20, 20), (0, 88, 64, 64)), ((300, 220, 20, 20), (256, 176, 64, 64)),
    ((100, 20, 150, 190), (0, 0, 320, 240))])
def test_a_close_up_is_centred_and_moved_inside(tmp_path, box, view):
    run = make_run()
    run["misses"] = [{**run["misses"][0], "box": list(box)}]
    run["false_alarms"], run["worst_images"] = [], []
    (picture,) = cut_pictures([run], make_images(tmp_path / "images")).crops.values()
    assert picture.view == view


def test_the_worst_group_is_marked_where_it_stands_out(tmp_path):
    run = make_run()
    for family, recalls in {"blur": (0.8, 0.7, 0.2), "pose": (0.5, 0.52), "occlusion": (0.6, 0.61, 0.1)}.items():
        run["groups"][family] = [{"name": f"{family} {k}", "faces": 100, "share": 0.3, "ap": 0.5, "recall": recall,
                                  "missed": round(100 * (1 - recall))} for k, recall in enumerate(recalls)]
    run["groups"]["occlusion"][2].update(faces=2, share=0.002, missed=2)
    text = page(tmp_path, run)[1].text
    assert "blur 2 found least" in text and text.count("blur 2") == 1
    assert not any(f"{name} found least" in text for name in ("blur 0", "blur 1", "pose 0", "pose 1", "occlusion 0",
                                                              "occlusion 1", "occlusion 2"))


@pytest.mark.parametrize("box", [(-50, -50, 60, 60), (300, 230, 80, 80), (-10, -10, 1000, 1000), (5, 5, 1, 1),
                                 (500, 500, 20, 20)])
def test_a_close_up_of_any_box_is_inside_the_photograph(tmp_path, box):
    run = make_run()
    run["misses"] = [{**run["misses"][0], "box": list(box)}]
    run["false_alarms"], run["worst_images"] = [], []
    (picture,) = cut_pictures([run], make_images(tmp_path / "images")).crops.values()
    x, y, width, height = picture.view
    assert 0 <= x < x + width <= 320 and 0 <= y < y + height <= 240


def test_size_of_the_page_is_bounded(tmp_path):
    rng = np.random.default_rng(0)
    run = make_run()
    for image in run["worst_images"]:                   # noise is what JPEG compresses worst
        path = tmp_path / "images" / f"{image['image']}.jpg"
        path.parent.mkdir(parents=True)
        cv2.imwrite(str(path), rng.integers(0, 255, (768, 1024, 3), np.uint8))
    pictures = cut_pictures([run], tmp_path / "images")
    assert len(pictures.photos) == 18 and len(pictures.crops) > 60
    size = len(pictures.store())
    assert 0.4 * PHOTO_BYTES < size < (PHOTO_BYTES + CROP_BYTES) * 4 / 3 + 30_000 < 7_000_000


def test_markup():
    assert tag("p", "<", tag("b", 1), None, class_="a", data_x='"', hidden=True, title=None, open=False) == \
        '<p class="a" data-x="&quot;" hidden>&lt;<b>1</b></p>'
    assert breakable("16--A_b/c<") == "16--<wbr>A_<wbr>b/<wbr>c&lt;<wbr>"
    assert (percent(0.1234), percent(None), decimal(float("nan"))) == ("12.3\u00a0%", "–", "–")
    texts = [rough_percent(value).replace("\u00a0", " ") for value in (0, 0.001, 0.126, 0.997, 1)]
    assert texts == ["0 %", "< 1 %", "13 %", "> 99 %", "100 %"]
