# SPDX-License-Identifier: Apache-2.0
"""Links inside and between the documents lead somewhere, and contents list every chapter."""
import re

import pytest

from tests.conftest import ROOT

DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def lines(path):
    """Without fenced code."""
    return re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL).splitlines()


def anchors(path, level="#+"):
    """GitHub's: lower case, punctuation left out, spaces as hyphens; a link counts by its text."""
    headings = [found[1] for found in (re.match(rf"{level} (.+)", line) for line in lines(path)) if found]
    plain = [re.sub(r"\[(.*?)\]\(.*?\)", r"\1", each).replace("\\", "") for each in headings]
    return [re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in plain]


def links(path):
    return re.findall(r"\]\(([^)\s]+)\)", "\n".join(lines(path)))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    for link in links(path):
        name, _, anchor = link.partition("#")
        if "://" in link or link.startswith("mailto:"):
            continue
        target = path.parent / name if name else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_contents_of_the_formats_list_every_chapter():
    path = ROOT / "docs" / "formats.md"
    assert len(anchors(path, "##")) > 4 and {f"#{each}" for each in anchors(path, "##")} <= set(links(path))
