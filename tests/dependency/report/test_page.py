# SPDX-License-Identifier: Apache-2.0
"""The report page as a file: its numbers and elements, that it loads nothing, and that text cannot become markup."""
import re
import sys
from html.parser import HTMLParser

import pytest

from dependency.errors import InputError
from dependency.evaluate.report.page import write_page
from tests.dependency.scored_sets import faulty_run, write_images

HOSTILE = ["0--<img src=x onerror=alert(1)>", "1--\"><script>alert(1)</script>", "2--&lt;b&gt; 'quoted' <!--"]
EMPTY = ("meta", "wbr", "input")


class Document(HTMLParser):
    """Elements with attributes, and the text of everything but style and script."""

    def __init__(self, content: str):
        super().__init__()
        self.elements, self.texts, self.path = [], [], []
        self.feed(content)
        self.close()
        assert self.path == [], "every element is closed"

    def handle_starttag(self, name, attributes):
        self.elements.append((name, dict(attributes)))
        if name not in EMPTY:
            self.path.append(name)

    def handle_endtag(self, name):
        assert self.path.pop() == name, "elements are nested as written"

    def handle_data(self, data):
        if self.path and self.path[-1] not in ("style", "script"):
            self.texts.append(data)

    @property
    def text(self):
        return " ".join("".join(self.texts).split())

    def named(self, name, class_=None):
        return [attributes for element, attributes in self.elements
                if element == name and (class_ is None or class_ in attributes.get("class", "").split())]


def page(tmp_path, *runs, image_dir=None):
    path = tmp_path / "deep" / "report.html"
    write_page({"version": 1, "runs": list(runs)}, path, image_dir)
    content = path.read_text(encoding="utf-8")
    return content, Document(content)


def test_every_number_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)                         # the templates are found from anywhere
    run = faulty_run()
    _, document = page(tmp_path, run)
    texts = [*run["summary"], f"{100 * run['operating_point']['recall']:.1f} %"]
    texts += [f"{value:.4f}" for values in run["report"]["ap"].values() for value in values.values()]
    groups = [group for family in run["groups"].values() for group in family]
    assert len(groups) > 30
    for group in groups:
        texts += [group["name"], f"{100 * group['recall']:.1f} %", f"{group['ap']:.3f}"]
    for face in run["misses"] + run["false_alarms"] + run["worst_images"]:
        texts += [face["image"], face.get("why", ""), face.get("kind", "")]
    for text in texts:
        assert text in document.text
    assert len(document.named("svg", "curves")) == len(document.named("path", "curve")) == 3
    widths = [float(re.fullmatch(r"width:([\d.]+)%", fill["style"]).group(1)) / 100
              for fill in document.named("span", "fill")]
    recalls = [group["recall"] for family in ("height", "occlusion", "blur", "pose", "illumination", "expression")
               for group in run["groups"][family]]
    assert widths[2:][:2 * len(recalls):2] == pytest.approx(recalls, abs=0.001), "two bars are in the legend"


def test_text_from_outside_stays_text(tmp_path):
    name = "</title><script>alert(1)</script>"
    run = faulty_run(HOSTILE, name)
    run["report"]["warnings"] = ["odd file \udcff<i>", "</script><script>alert(2)</script>"]
    _, document = page(tmp_path, run, image_dir=write_images(tmp_path / "images", HOSTILE[:1]))
    assert len(document.named("script")) == 1 and not document.named("img") and not document.named("i")
    assert not any(key.startswith("on") for _, attributes in document.elements for key in attributes)
    for text in (name, *HOSTILE, "odd file \\udcff<i>", "</script><script>alert(2)</script>"):
        assert " ".join(text.split()) in document.text
    assert {attributes.get("data-event") for attributes in document.named("figure")} >= {HOSTILE[0]}


def test_nothing_comes_from_outside_and_pictures_have_labels(tmp_path):
    content, document = page(tmp_path, faulty_run(), image_dir=write_images(tmp_path / "images"))
    targets = [attributes[key] for _, attributes in document.elements for key in ("src", "href", "xlink:href", "action")
               if key in attributes]
    assert len(targets) > 50
    assert all(re.match(r"#[\w-]+$|data:image/jpeg;base64,", target) for target in targets)
    ids = [attributes["id"] for _, attributes in document.elements if "id" in attributes]
    assert len(ids) == len(set(ids)) and {target[1:] for target in targets if target[0] == "#"} <= set(ids)
    assert not document.named("link") and not document.named("iframe")
    assert not re.search(r"url\(|@import|https?:|fetch\(|import\(", content)
    pictures = [attributes for attributes in document.named("svg") if attributes.get("role") == "img"]
    assert len(pictures) == len(document.named("figure")) > 40
    assert all(len(attributes["aria-label"]) > 10 for attributes in pictures)
    policy = next(attributes["content"] for attributes in document.named("meta") if "http-equiv" in attributes)
    assert "default-src 'none'" in policy and "script-src 'sha256-" in policy


def test_wrong_input_is_refused(tmp_path, monkeypatch):
    run = faulty_run()
    for analysis in ({}, {"version": 2, "runs": [run]}, {"version": 1, "runs": []}):
        with pytest.raises(InputError):
            write_page(analysis, tmp_path / "report.html")
    with pytest.raises(InputError, match="--image_dir"):
        write_page({"version": 1, "runs": [run]}, tmp_path / "report.html", tmp_path / "images")
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(InputError, match="pip install jinja2"):
        write_page({"version": 1, "runs": [run]}, tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_two_runs_stand_side_by_side(tmp_path):
    first, second = faulty_run(), faulty_run(name="second", shift=0.4)
    _, document = page(tmp_path, first, second)
    change = second["report"]["ap"]["0.5"]["hard"] - first["report"]["ap"]["0.5"]["hard"]
    assert change < -0.1 and f"{change:+.4f}" in document.text
    assert len(document.named("small", "worse")) > 2
    assert [len(document.named("path", f"run{index}")) for index in range(3)] == [3, 3, 0]
    assert [len(document.named("circle", f"run{index}")) for index in range(2)] == [1, 1]
    for group in second["groups"]["height"]:
        assert f"{100 * group['recall']:.1f} %" in document.text
