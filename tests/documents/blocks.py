# SPDX-License-Identifier: Apache-2.0
"""The documents and their blocks of code."""
import re
from typing import NamedTuple

from tests.conftest import ROOT

DOCUMENTS = [path.relative_to(ROOT).as_posix()
             for path in (*sorted(ROOT.glob("README*.md")), *sorted((ROOT / "docs").glob("*.md")))]
_FENCED = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block: number of its first line, language, content."""
    line: int
    language: str
    text: str


def read(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(document: str) -> list[Block]:
    text = read(document)
    return [Block(text.count("\n", 0, found.start()) + 1, found[1], found[2]) for found in _FENCED.finditer(text)]


def prose(document: str) -> str:
    """The text without its blocks."""
    return _FENCED.sub("", read(document))
