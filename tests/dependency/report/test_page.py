# SPDX-License-Identifier: Apache-2.0
"""The report page as a file: its numbers and elements, that it loads nothing, and that text cannot become markup."""
import itertools
import re
import sys
from html.parser import HTMLParser

import pytest

from dependency.errors import InputError
from dependency.evaluate.report import view
from dependency.evaluate.report.page import write_page
from dependency.evaluate.report.view import FAMILIES
from tests.dependency.scored_sets import EVENTS, faulty_run, write_images

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
    write_page({"version": 2, "runs": list(runs)}, path, image_dir)
    content = path.read_text(encoding="utf-8")
    return content, Document(content)


def test_every_number_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)                         # the templates are found from anywhere
    run = faulty_run()
    _, document = page(tmp_path, run)
    texts = [*run["summary"], share(run["operating_point"]["recall"])]
    texts += [f"{value:.3f}" for values in run["report"]["ap"].values() for value in values.values()]
    groups = [group for family in run["groups"].values() for group in family]
    assert len(groups) > 30
    for group in groups:
        texts += [group["name"], share(group["recall"]), f"{group['ap']:.3f}"]
    for face in run["misses"] + run["false_alarms"] + run["worst_images"]:
        texts += [face["image"], face.get("why", ""), face.get("kind", "")]
    for each in run["deploy"]:
        texts += [f"{each['score']:.6g}", *map(share, each["interval"])] if each["score"] else [share(each["best"])]
    texts += [f"{value:+.3f}" for value in run["error_budget"].values() if value >= 0]
    for text in texts:
        assert text in document.text
    assert len(document.named("svg", "curves")) == 3 == len(document.named("dl", "tiles")) * 3
    widths = [float(re.fullmatch(r"width:([\d.]+)%", fill["style"]).group(1)) / 100
              for fill in document.named("span", "fill")]
    recalls = [group["recall"] for family in FAMILIES for group in run["groups"][family]]
    assert sorted(widths[3:]) == pytest.approx(sorted(recalls), abs=0.001), "three bars are in the legend"


def share(value):
    return f"{100 * value:.1f} %"


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
    assert all(re.match(r"#[\w-]+$|data:image/webp;base64,", target) for target in targets)
    ids = [attributes["id"] for _, attributes in document.elements if "id" in attributes]
    assert len(ids) == len(set(ids)) and {target[1:] for target in targets if target[0] == "#"} <= set(ids)
    assert not document.named("link") and not document.named("iframe")
    assert not re.search(r"url\(|@import|https?:|fetch\(|import\(", content)
    pictures = [attributes for attributes in document.named("svg") if attributes.get("role") == "img"]
    assert len(pictures) == len(document.named("figure")) + 1 > 40, "and the curves over score"
    assert all(len(attributes["aria-label"]) > 10 for attributes in pictures)
    policy = next(attributes["content"] for attributes in document.named("meta") if "http-equiv" in attributes)
    assert "default-src 'none'" in policy and "script-src 'sha256-" in policy


def test_wrong_input_is_refused(tmp_path, monkeypatch):
    run = faulty_run()
    for analysis in ({}, {"version": 1, "runs": [run]}, {"version": 2, "runs": []}):
        with pytest.raises(InputError):
            write_page(analysis, tmp_path / "report.html")
    with pytest.raises(InputError, match="--image_dir"):
        write_page({"version": 2, "runs": [run]}, tmp_path / "report.html", tmp_path / "images")
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(InputError, match="pip install jinja2"):
        write_page({"version": 2, "runs": [run]}, tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_two_runs_stand_side_by_side(tmp_path):
    first, second = faulty_run(), faulty_run(name="second", shift=0.4)
    _, document = page(tmp_path, first, second)
    assert "Is B better than A?" in document.text and "--bootstrap 1000" in document.text
    assert [len(document.named("path", f"run{index}")) for index in range(3)] == [3, 3, 0]
    assert [len(document.named("circle", f"run{index}")) for index in range(2)] == [1, 1]
    for run in (first, second):
        for group in run["groups"]["height"]:
            assert share(group["recall"]) in document.text
    answers = document.text[:document.text.index("In each cell the share")]
    assert answers.count("False alarms an image") == 2, "the answer names the scores of both runs"


def test_counts_agree_with_each_other(tmp_path):
    run = faulty_run()
    _, document = page(tmp_path, run, image_dir=write_images(tmp_path / "images"))
    text = document.text
    for name, noun in (("misses", "missed faces"), ("false_alarms", "false alarms")):
        counts = run["counts"][name]
        total = sum(counts.values())
        assert f"{total} {noun}." in text and f"with pictures, {len(run[name])} of {total} in the table" in text
        assert all(f"{count} {kind}: " in text for kind, count in counts.items() if count)
    point = run["operating_point"]
    assert f"Why the {point['faces'] - point['found']} faces are missed" in text
    assert f"{point['found']} of {point['faces']}" in text
    assert f"{sum(run['counts']['false_alarms'].values())} in all" in text


def test_every_box_lies_within_its_picture(tmp_path):
    run = faulty_run()
    _, document = page(tmp_path, run, image_dir=write_images(tmp_path / "images"))
    frame, boxes = None, 0
    for name, attributes in document.elements:
        if name == "svg" and "viewbox" in attributes:
            frame = [float(value) for value in attributes["viewbox"].split()]
        elif name == "path" and attributes.get("class", "").startswith("box "):
            for x, y, width, height in re.findall(r"M([-\d.]+) ([-\d.]+)h([\d.]+)v([\d.]+)", attributes["d"]):
                boxes += 1
                assert frame[0] < float(x) and float(x) + float(width) < frame[0] + frame[2]
                assert frame[1] < float(y) and float(y) + float(height) < frame[1] + frame[3]
    assert boxes > 100


def test_the_slider_starts_at_a_score_of_the_table(tmp_path):
    for run in (faulty_run(), {**faulty_run(), "deploy": []}):
        graph = view.graph(run)
        score = graph["rows"][graph["start"]][0]
        assert score in [run["operating_point"]["score"], *(each["score"] for each in run["deploy"])]
        assert graph["rows"] == sorted(graph["rows"]) and len(graph["rows"]) >= 100
        for mark, other in itertools.combinations(graph["marks"], 2):
            assert mark["line"] != other["line"] or abs(mark["middle"] - other["middle"]) > 11 * len(mark["name"])


def verdict(kind, best, low, high):
    each = {"difference": (low + high) / 2, "low": low, "high": high}
    pairs = [({}, each)]
    return {"kind": kind, "best": {"letter": best}, "worse": pairs * (low > 0), "equal": pairs * (low <= 0)}


@pytest.mark.parametrize("verdicts, answer", [
    ([("easy", "B", -0.1, 0.1), ("medium", "A", 0.001, 0.1), ("hard", "A", 0.1, 0.2)],
     "No: A is better on hard, barely on medium; on easy the two cannot be told apart."),
    ([("easy", "B", 0.1, 0.2), ("hard", "B", 0.1, 0.2)], "Yes: B is better on hard, on easy."),
    ([("easy", "A", 0.1, 0.2), ("hard", "B", 0.1, 0.2)], "Yes: B is better on hard; A is better on easy."),
    ([("easy", "A", 0.1, 0.2), ("hard", "B", 0, 0.2)],
     "This cannot be told: on hard the two cannot be told apart; A is better on easy."),
])
def test_one_sentence_says_which_is_better(verdicts, answer):
    assert view.plain_answer([verdict(*each) for each in verdicts]) == answer


def comparison(difference, low, high, other="second", kind="hard"):
    return {"iou": 0.5, "kind": kind, "best": "first", "other": other, "difference": difference, "low": low,
            "high": high, "probability": 0.9}


def test_which_run_is_better_is_said_as_the_interval_says_it(tmp_path):
    runs = [faulty_run(EVENTS[:3], name) for name in ("first", "second", "third")]
    path = tmp_path / "report.html"
    for low, sure in ((0.05, True), (-0.01, False)):
        write_page({"version": 2, "runs": runs[:2], "comparisons": [comparison(0.1234, low, 0.2)]}, path)
        document = Document(path.read_text(encoding="utf-8"))
        assert "0.1234 behind" in document.text if sure else "0.1234 behind" not in document.text
        assert ("No: A is better on hard." in document.text) == sure
        assert ("This cannot be told: on hard" in document.text) == (not sure)
        assert len(document.named("td", "best")) == sure, "none is best that cannot be told apart"
        assert ("Hard: A is better than B by 0.1234" in document.text) == sure
        assert ("they cannot be told apart; A leads by 0.1234" in document.text) == (not sure)
        assert len(document.named("svg", "sure")) == sure and "behind: 90.0 %" in document.text
    write_page({"version": 2, "runs": runs, "comparisons": [comparison(0.1, -0.01, 0.2),
                                                            comparison(0.2, 0.1, 0.3, "third")]}, path)
    text = Document(path.read_text(encoding="utf-8")).text
    assert "A has the highest AP; cannot be told from it: B; it is better than C." in text


def test_how_the_numbers_were_obtained(tmp_path):
    settings = {"checkpoint": "best.ckpt", "test_size": "1200/1600", "pad": "32", "nms": "hard", "nms_iou": 0.3,
                "score_threshold": 0.02, "test_scales": [1.0], "flip_test": False, "date": "2026-11-29 10:00",
                "commit": "abc1234"}
    one, two = (faulty_run(EVENTS[:3], name) for name in ("first", "second"))
    one["settings"], two["settings"] = settings, {**settings, "nms": "soft"}
    path = tmp_path / "report.html"
    write_page({"version": 2, "runs": [one, two], "written": {"date": "2026-11-30 09:00", "commit": "def5678"}}, path)
    text = Document(path.read_text(encoding="utf-8")).text
    for shared in ("Checkpoint best.ckpt", "Test size 1200/1600, padding 32",
                   "Predicted 2026-11-29 10:00, commit abc1234", "Protocol WIDER FACE, IoU 0.5",
                   "Report 2026-11-30 09:00, commit def5678", "Images 3 of 3"):
        assert text.count(shared) == 1, shared
    assert "NMS hard, 0.3" in text and "NMS soft" in text
    write_page({"version": 2, "runs": [faulty_run(EVENTS[:3])]}, path)
    assert "not known: no settings.json" in Document(path.read_text(encoding="utf-8")).text


def test_few_faces_are_not_red_and_every_crop_has_both_boxes(tmp_path):
    run = faulty_run()
    run["groups"]["blur"][0].update(faces=19, least=False)
    run["groups"]["blur"][1]["least"] = True
    _, document = page(tmp_path, run, image_dir=write_images(tmp_path / "images"))
    assert len(document.named("tr", "few")) >= 1 + sum(group["faces"] < 20 for group in run["groups"]["event"])
    assert len(document.named("span", "least")) == 1 + sum(
        group["least"] for family in run["groups"].values() for group in family), "one is in the legend"
    boxes = {class_: sum(attributes["d"].count("M") for attributes in document.named("path", class_))
             for class_ in ("missed", "false")}
    assert boxes["missed"] >= len(run["misses"]) and boxes["false"] >= len(run["false_alarms"]) + sum(
        miss["best_box"] is not None for miss in run["misses"])
