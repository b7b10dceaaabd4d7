# SPDX-License-Identifier: Apache-2.0
"""The report page in a real browser: no complaint, no overflow on a phone, controls that work."""
import os
import re
import shutil

import pytest

from dependency.evaluate.ground_truth import SUBSETS
from dependency.evaluate.report import view
from dependency.evaluate.report.page import write_page
from tests.dependency.scored_sets import EVENTS, faulty_run, write_images

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
HOSTILE = ["0--<img src=x onerror=\"document.title='owned'\">",
           "1--An_event_with_a_name_that_never_ends_" + "abcdefghij" * 8]


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    program = os.environ.get("CHROME") or next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("no Chromium here: apt-get install chromium, or name one in CHROME")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def complaints():
    return []


@pytest.fixture
def open_page(browser, complaints):
    """Opens a file in a window; whatever a test does there, the browser must have nothing to complain of."""
    contexts = []

    def open_page(path, width=1280, **options):
        contexts.append(browser.new_context(viewport={"width": width, "height": 844}, **options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(request.url))
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Pages by name: one run, two runs, hostile names, no pictures; and the first run."""
    folder = tmp_path_factory.mktemp("pages")
    images = write_images(folder / "images")
    write_images(images, HOSTILE[:1])
    one, two = faulty_run(), faulty_run(name="second", shift=0.4)
    hostile = faulty_run(HOSTILE, HOSTILE[0] * 3)
    six = [one, two, *({**one, "name": name} for name in ("third", "fourth", "fifth", "sixth"))]
    comparisons = [{"iou": 0.5, "kind": kind, "best": "first", "other": other, "difference": 0.0436, "low": -0.0197,
                    "high": 0.0718, "probability": 0.9} for kind in (*SUBSETS, "sum") for other in ("second", "third")]
    result = {}
    for name, runs, image_dir in (("one", [one], images), ("two", [one, two], images), ("hostile", [hostile], images),
                                  ("bare", [one], None), ("six", six, None)):
        result[name] = folder / f"{name}.html"
        write_page({"version": 2, "runs": runs, "comparisons": comparisons if name == "six" else []}, result[name],
                   image_dir)
    result["run"] = one
    return result


def visible(page, selector):
    return page.locator(f"{selector} >> visible=true").count()


@pytest.mark.parametrize("name", ["one", "two", "hostile", "bare"])
@pytest.mark.parametrize("width, scheme", [(1280, "light"), (390, "dark")])
def test_fits_the_window(open_page, pages, name, width, scheme):
    page = open_page(pages[name], width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (
        "rgb(20, 23, 26)" if scheme == "dark" else "rgb(251, 251, 250)")
    # A picture that cannot be decoded is an error of this expression.
    page.evaluate("Promise.all([...document.querySelectorAll('image')].map(image => image.decode())).then(() => 0)")


def test_hostile_names_do_no_harm(open_page, pages, complaints, tmp_path):
    page = open_page(pages["hostile"], 390)
    assert page.title().startswith("0--<img src=x")
    assert page.locator("script, img").count() == 1
    page.locator("#worst .zoom").first.click()
    assert HOSTILE[0] in page.locator("dialog").inner_text()
    assert complaints == []
    # Even markup that got into the page would not run.
    path = tmp_path / "injected.html"
    path.write_text(pages["bare"].read_text(encoding="utf-8").replace(
        "<h1>", "<script>document.title = 'owned'</script><img src=x onerror=\"document.title='owned'\"><h1>"))
    assert open_page(path, 390).title() != "owned"
    assert "Content Security Policy" in " ".join(complaints)
    complaints.clear()


def test_long_lists_are_shortened_and_pictures_filtered(open_page, pages):
    page = open_page(pages["one"])
    total = page.locator("#misses figure").count()
    assert visible(page, "#events tbody tr") == 15 and visible(page, "#misses figure") == 24 < total
    page.locator("#events .more input").check()
    page.locator("#misses .more input").check()
    assert visible(page, "#events tbody tr") == len(EVENTS) == 18 and visible(page, "#misses figure") == total
    page.locator("#misses select").first.select_option("no box")
    shown = visible(page, "#misses figure")
    assert shown == visible(page, "#misses figure[data-kind='no box']") < total
    assert shown == sum(miss["why"] == "no box" for miss in pages["run"]["misses"])


def test_all_is_there_without_javascript_and_in_print(open_page, pages):
    page = open_page(pages["one"], 390, java_script_enabled=False)
    assert visible(page, "#scores input") == 0 and visible(page, "#scores .calibration tbody tr") == 20
    for box in page.locator(".more input").all():
        box.check()
    assert visible(page, "#events tbody tr") == 18
    assert visible(page, "#misses figure") == page.locator("#misses figure").count() > 24
    page = open_page(pages["one"], 718)
    page.emulate_media(media="print")
    assert visible(page, "#events tbody tr") == 18
    assert visible(page, "nav, .controls, .more") == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 718


def test_the_slider_and_the_curves_are_read_off(open_page, pages):
    page = open_page(pages["two"])
    assert visible(page, "#scores .of-run") == 1
    slider = page.locator("#scores input[type=range] >> visible=true")
    slider.fill("50")
    row = view.graph(pages["run"])["rows"][50]
    row = dict(zip(("score", "precision", "recall"), row))
    assert f"score from {row['score']:.3f}" in page.locator("#scores output >> visible=true").inner_text()
    assert f"recall {100 * row['recall']:.1f}" in page.locator("#scores output >> visible=true").inner_text()
    page.locator(".tabs label").nth(1).click()
    assert visible(page, "#scores .of-run[data-run='1']") == visible(page, "#scores .of-run") == 1
    curves = page.locator(".curves").first
    curves.hover()
    read = page.locator(".readout").first.inner_text()
    assert re.search(r"recall [\d.]+\s%: precision A\s[\d.–]+.*, B\s[\d.–]+", read)


def test_a_wide_table_shows_that_it_scrolls(open_page, pages):
    page = open_page(pages["six"], 390)
    wide = page.locator(".scroll").evaluate_all("""all => all.filter(each => each.scrollWidth > each.clientWidth)
        .map(each => [getComputedStyle(each).overflowX, getComputedStyle(each).backgroundImage])""")
    assert len(wide) >= 2
    assert all(overflow == "auto" and "gradient" in background for overflow, background in wide)


@pytest.mark.parametrize("name, width", [("one", 390), ("two", 390), ("six", 390), ("six", 360), ("hostile", 390)])
def test_no_number_is_cut_on_a_phone(open_page, pages, name, width):
    """At rest, before and after scrolling, every text in a cell lies within its table's place or outside of it."""
    page = open_page(pages[name], width)
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    for start in (0, 1, 100, 10_000):
        page.evaluate("start => document.querySelectorAll('.scroll').forEach(each => { each.scrollLeft = start; })",
                      start)
        page.wait_for_timeout(50)
        cut = page.evaluate("""() => [...document.querySelectorAll('.scroll')].flatMap(place => {
            const { left, right, width } = place.getBoundingClientRect();
            return [...place.querySelectorAll('td')].flatMap(cell => {
                const range = document.createRange();
                range.selectNodeContents(cell);
                const text = range.getBoundingClientRect(), own = cell.getBoundingClientRect();
                const across = [right, own.right].some(edge => text.left < edge - 1 && text.right > edge + 1);
                return width && text.width && across ? [cell.innerText] : [];
            });
        })""")
        assert cut == []
