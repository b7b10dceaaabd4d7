# SPDX-License-Identifier: Apache-2.0
"""HTML built from values, so that text from outside can never become markup; and numbers as people read them.

    tag("p", "Events: ", tag("b", event), class_="note")    # event is escaped, the inner tag is not

A plain string is text and is escaped; only `Html`, which `tag` and `join` make, enters the page as it is.
"""
from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable

VOID = ("meta", "wbr")
NOTHING = "–"                       # an en dash where there is no number


class Html(str):
    """Text that is markup already."""


def tag(name: str, /, *children: str | float | None, **attributes: str | float | bool | None) -> Html:
    """`<name attributes>children</name>`.

    Args:
        name: the element, HTML or SVG.
        *children: text (escaped), numbers or `Html`; None is left out.
        **attributes: None and False are left out, True stands bare; `class_` is `class`, `data_event` is
            `data-event`.
    """
    parts = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = key.rstrip("_").replace("_", "-")
        parts.append(key if value is True else f'{key}="{escape(value)}"')
    opening = f"<{' '.join(parts)}>"
    return Html(opening if name in VOID else f"{opening}{join(children)}</{name}>")


def join(children: Iterable[str | float | None]) -> Html:
    """The children one after the other, escaped where they are not `Html`."""
    return Html("".join(escape(child) for child in children if child is not None))


def escape(value: str | float) -> Html:
    """Text as HTML shows it; file names that are not UTF-8 keep their odd bytes as `\\udc..`."""
    if isinstance(value, Html):
        return value
    return Html(html.escape(str(value)).encode("utf-8", "backslashreplace").decode())


def breakable(text: str) -> Html:
    """A path or an event's name that may be broken after `/`, `--` and `_`."""
    return join(part for piece in re.split("(?<=[/_-])(?![/_-])", text) for part in (piece, tag("wbr")))


def percent(value: float | None, digits: int = 1) -> str:
    """0.1234 as `12.3 %`, not broken across lines."""
    return NOTHING if _absent(value) else f"{100 * value:.{digits}f}\u00a0%"


def rough_percent(value: float) -> str:
    """Whole percents; `< 1 %` and `> 99 %` for almost none and almost all."""
    if 0 < value < 0.005:
        return "<\u00a01\u00a0%"
    return ">\u00a099\u00a0%" if 0.995 <= value < 1 else percent(value, 0)


def decimal(value: float | None, digits: int = 3) -> str:
    """A number with fixed decimals, a dash for none."""
    return NOTHING if _absent(value) else f"{value:.{digits}f}"


def short(value: float | None) -> str:
    """At most four significant digits: a score, whatever its scale."""
    return NOTHING if _absent(value) else f"{value:.4g}"


def count(value: float | None) -> str:
    """31958 as `31,958`."""
    return NOTHING if _absent(value) else f"{value:,.0f}"


def plural(value: int, noun: str) -> str:
    """`1 face`, `2,300 faces`."""
    return f"{count(value)} {noun}{'' if value == 1 else 's'}"


def _absent(value: float | None) -> bool:
    return value is None or math.isnan(value)
