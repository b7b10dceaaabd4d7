# SPDX-License-Identifier: Apache-2.0
"""The report page in a real browser: no complaint, no overflow on a phone, readable colours, controls that work."""
import pytest

from dependency.evaluate.report.page import write_page
from tests.browser import Browser, find_browser
from tests.small_analysis import EVENTS, make_images, make_run

HOSTILE = ["0--<img src=x onerror=\"document.title='owned'\">",
           "1--An_event_with_a_name_that_never_ends_" + "abcdefghij" * 8]
# Text whose colour stands out less than WCAG 2.1 AA asks of small text (4.5 : 1).
FAINT = """(() => {
  const channels = colour => colour.match(/[\\d.]+/g).map(Number);
  const light = colour => { const [r, g, b] = channels(colour).map(v => v / 255).map(
    v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const behind = element => { for (let e = element; e; e = e.parentElement) {
    const colour = getComputedStyle(e).backgroundColor; if ((channels(colour)[3] ?? 1) === 1) return colour; }
    return 'rgb(255, 255, 255)'; };
  const found = [];
  let seen = 0;
  for (const e of document.querySelectorAll('body *')) {
    if (!e.checkVisibility() || ![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    if (e.closest('script')) continue;
    seen += 1;
    const style = getComputedStyle(e);
    const ends = [light(e.closest('svg') ? style.fill : style.color), light(behind(e))].sort((a, b) => b - a);
    const ratio = (ends[0] + 0.05) / (ends[1] + 0.05);
    if (ratio < 4.5) found.push(`${e.tagName}.${e.className} ${ratio.toFixed(2)}`);
  }
  return { seen, found };
})()"""


@pytest.fixture(scope="module")
def browser():
    program = find_browser()
    if program is None:
        pytest.skip("no Chromium here: apt-get install chromium, or name one in CHROME")
    with Browser(program) as started:
        yield started


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Pages by name: one run, two runs, hostile names, no pictures; and the first run."""
    folder = tmp_path_factory.mktemp("pages")
    images = make_images(folder / "images")
    make_images(images, HOSTILE[:1])
    one, two, hostile = make_run(), make_run(name="second", shift=0.4), make_run(HOSTILE, HOSTILE[0] * 3)
    result = {}
    for name, runs, image_dir in (("one", [one], images), ("two", [one, two], images), ("hostile", [hostile], images),
                                  ("bare", [one], None)):
        result[name] = folder / f"{name}.html"
        write_page({"version": 1, "runs": runs}, result[name], image_dir)
    result["run"] = one
    return result


@pytest.fixture(autouse=True)
def no_complaint(browser):
    """Whatever a test does, the browser must have nothing to complain of."""
    browser.complaints.clear()
    yield
    browser.run("1")
    assert browser.complaints == []


def visible(browser, selector):
    return browser.run(f"[...document.querySelectorAll({selector!r})].filter(e => e.checkVisibility()).length")


def click(browser, selector):
    browser.run(f"document.querySelector({selector!r}).click()")


def test_the_browser_does_complain(browser, tmp_path):
    path = tmp_path / "bad.html"
    path.write_text("<body><div style='width:900px'>wide</div><p style='color:#999'>faint</p><img src='none.png'>"
                    "<script>console.error('said'); undefinedName()</script>")
    browser.open(path, 390, 844)
    assert browser.run("document.documentElement.scrollWidth > 390")
    assert browser.run(FAINT)["found"] == ["P. 2.85"]
    complaints = " ".join(browser.complaints)
    assert "said" in complaints and "undefinedName" in complaints and "FILE_NOT_FOUND" in complaints
    browser.complaints.clear()


@pytest.mark.parametrize("name", ["one", "two", "hostile", "bare"])
@pytest.mark.parametrize("width, dark", [(1280, False), (390, False), (390, True)])
def test_fits_and_can_be_read(browser, pages, name, width, dark):
    browser.open(pages[name], width, 844, dark=dark)
    assert browser.run("document.documentElement.scrollWidth") <= width == browser.run("innerWidth")
    assert browser.run("getComputedStyle(document.body).backgroundColor") == (
        "rgb(20, 23, 26)" if dark else "rgb(251, 251, 250)")
    contrast = browser.run(FAINT)
    assert contrast["found"] == [] and contrast["seen"] > 200
    broken = browser.run("Promise.all([...document.querySelectorAll('image')].map("
                         "image => image.decode().then(() => 0, () => 1))).then(all => all.reduce((a, b) => a + b, 0))")
    assert broken == 0


def test_hostile_names_do_no_harm(browser, pages, tmp_path):
    browser.open(pages["hostile"], 390, 844)
    assert browser.run("document.title").startswith("0--<img src=x")
    assert browser.run("document.scripts.length + document.images.length") == 1
    click(browser, "#worst .zoom")
    assert HOSTILE[0] in browser.run("document.querySelector('dialog').innerText")
    # Even markup that got into the page would not run.
    path = tmp_path / "injected.html"
    path.write_text(pages["bare"].read_text(encoding="utf-8").replace(
        "<h1>", "<script>document.title = 'owned'</script><img src=x onerror=\"document.title='owned'\"><h1>"))
    browser.open(path, 390, 844)
    assert browser.run("document.title") != "owned"
    assert "Content Security Policy" in " ".join(browser.complaints)
    browser.complaints.clear()


def test_events_are_sorted_and_shortened(browser, pages):
    browser.open(pages["one"], 1280, 844)
    assert visible(browser, "#events tbody tr") == 15
    click(browser, "#events .more input")
    assert visible(browser, "#events tbody tr") == len(EVENTS) == 18

    def column(index, sort):
        if sort:
            click(browser, f"#events th:nth-child({index + 1}) button")
        return browser.run("[...document.querySelectorAll('#events tbody tr')]"
                           f".map(row => row.cells[{index}].innerText)")

    missed = [float(text) for text in column(3, False)]
    assert missed == sorted(missed, reverse=True)
    found = [float(text.split()[0]) for text in column(1, True)]
    assert found == sorted(found, reverse=True) and len(set(found)) > 1
    assert [float(text.split()[0]) for text in column(1, True)] == sorted(found)
    assert column(0, True) == EVENTS, "numbers in names count as numbers"
    assert browser.run("document.querySelectorAll('#events th[aria-sort]').length") == 1


def test_pictures_are_filtered(browser, pages):
    browser.open(pages["one"], 1280, 844)
    total = browser.run("document.querySelectorAll('#misses figure').length")
    assert visible(browser, "#misses figure") == 24 < total
    click(browser, "#misses .more input")
    assert visible(browser, "#misses figure") == total
    browser.run("(box => { box.value = 'no box'; box.dispatchEvent(new Event('change', { bubbles: true })); })"
                "(document.querySelector('#misses select'))")
    kinds = browser.run("[...document.querySelectorAll('#misses figure')].filter(e => e.checkVisibility())"
                        ".map(figure => figure.dataset.kind)")
    assert set(kinds) == {"no box"} and len(kinds) < total
    assert len(kinds) == sum(miss["why"] == "no box" for miss in pages["run"]["misses"])


def test_outlines_are_switched(browser, pages):
    browser.open(pages["one"], 1280, 844)
    for kind in ("missed", "false", "found", "ignored"):
        assert visible(browser, f"#worst .box.{kind}") > 5
        click(browser, f"#show-{kind}")
        assert visible(browser, f"#worst .box.{kind}") == 0


def test_a_picture_is_enlarged_by_keyboard(browser, pages):
    browser.open(pages["one"], 1280, 844)
    browser.run("document.querySelector('#worst .zoom').focus()")
    click(browser, "#worst .zoom")
    names = [browser.run("document.querySelector('dialog[open]').innerText")]
    assert browser.run("document.querySelector('dialog svg').clientHeight") > 600
    browser.press("ArrowRight")
    names.append(browser.run("document.querySelector('dialog[open]').innerText"))
    assert [worst["image"] in name for worst, name in zip(pages["run"]["worst_images"], names)] == [True, True]
    browser.press("Escape")
    assert browser.run("document.querySelector('dialog').open") is False
    assert browser.run("document.activeElement.className") == "zoom"


def test_all_is_there_without_javascript_and_in_print(browser, pages):
    browser.open(pages["one"], 390, 844, script=False)
    browser.run("document.querySelectorAll('.more input').forEach(box => box.checked = true)")
    assert visible(browser, "#events tbody tr") == 18
    assert visible(browser, "#misses figure") == browser.run("document.querySelectorAll('#misses figure').length") > 24
    browser.open(pages["one"], 718, 844)
    browser.send("Emulation.setEmulatedMedia", media="print")
    assert visible(browser, "#events tbody tr") == 18
    assert visible(browser, "nav, .controls, .more") == 0
    assert browser.run("document.documentElement.scrollWidth") <= 718
    browser.send("Emulation.setEmulatedMedia", media="")
