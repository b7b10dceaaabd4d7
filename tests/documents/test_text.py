# SPDX-License-Identifier: Apache-2.0
"""Links and contents of the documents lead somewhere, their options exist, and both READMEs say the same."""
import ast
import re

import pytest

from src.config import cfg_res50
from tests.conftest import ROOT
from tests.documents.blocks import DOCUMENTS, blocks, prose, read

MANUALS = ("docs/centerface.md", "docs/retinaface.md")
# Of other programs: pip, msrun, setup.py, Slurm.
FOREIGN_OPTIONS = {"no-deps", "inplace", "worker_num", "local_worker_num", "node_rank", "join", "nodes",
                   "ntasks-per-node", "gpus-per-node", "signal", "requeue", "open-mode", "kill-on-bad-exit"}


def headings(document, level="#+"):
    """The headings' text; of a link its text."""
    found = re.findall(rf"^{level} (.+)", prose(document), re.MULTILINE)
    return [re.sub(r"\[(.*?)\]\(.*?\)", r"\1", each).replace("\\", "") for each in found]


def anchors(document):
    """GitHub's: lower case, punctuation left out, spaces as hyphens."""
    return [re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings(document)]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(document)):
        name, _, anchor = link.partition("#")
        if "://" in link:
            continue
        target = ((ROOT / document).parent / name).resolve() if name else ROOT / document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.relative_to(ROOT).as_posix()), link


def test_every_document_is_linked_by_the_readme():
    for document in DOCUMENTS:
        assert document == "README.md" or f"]({document})" in read("README.md"), document


@pytest.mark.parametrize("document", MANUALS)
def test_the_contents_of_a_manual_are_its_headings_in_order(document):
    listed = re.findall(r"^ *- \[(.+)\]\(#", prose(document), re.MULTILINE)
    assert ["Contents", *listed] == headings(document) and len(listed) > 15


def test_the_contents_of_the_formats_list_every_chapter():
    chapters = headings("docs/formats.md", "##")
    assert len(chapters) > 4 and all(f"[{each}](#" in prose("docs/formats.md") for each in chapters)


def test_the_options_of_the_documents_exist():
    sources = [path.read_text(encoding="utf-8") for folder in ("src", "benchmarks", "scripts", "dependency")
               for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".sh")]
    sources += [path.read_text(encoding="utf-8") for path in ROOT.glob("*.py")]
    pattern = re.compile(r"\"(\w+)\": Option\(|--(\w[\w-]*)")
    known = {word for text in sources for pair in pattern.findall(text) for word in pair}
    for document in DOCUMENTS:
        unknown = set(re.findall(r"(?<![\w-])--(\w[\w-]*)", read(document))) - known - FOREIGN_OPTIONS
        assert not unknown, f"{document}: {sorted(unknown)}"


def test_the_parameters_of_the_retinaface_manual_are_its_defaults():
    (block,) = (block for block in blocks("docs/retinaface.md") if block.text.startswith("'variance'"))
    shown = ast.literal_eval("{" + block.text + "}")
    assert len(shown) == 38 and {name: cfg_res50[name] for name in shown} == shown


def test_the_readme_is_a_front_door():
    assert len(read("README.md").splitlines()) <= 220


def test_both_readmes_have_the_same_commands_and_numbers():
    def commands(document):
        return [(block.language, re.sub(r" +#.*", "", block.text)) for block in blocks(document)]

    def facts(document):
        return sorted(re.findall(r"`[^`\n]+`|(?<![\d.])\d*\.\d+", prose(document)))

    assert commands("README.md") == commands("README_CN.md")
    assert facts("README.md") == facts("README_CN.md")
