# SPDX-License-Identifier: Apache-2.0
"""An analysis in a few sentences: which kind of face is missed, why, and what the false alarms are.

    for sentence in summarise(tally, groups, why, kinds): print(sentence)

Kinds of faces are ranked by how many more of them are missed than if all kinds were missed alike.
"""
from typing import NamedTuple

import numpy as np

from dependency.evaluate.report.flags import FLAGS, LEVELS
from dependency.evaluate.report.groups import HEIGHTS, Group
from dependency.evaluate.report.tally import Tally

ATTRIBUTES = 3          # at most so many sentences on attributes
EVENTS = 3
WORTH_SAYING = 0.02     # of everything missed: a kind with less of an excess is no finding
OVER = "of {:g} px and over"
WHY_WORDS = {"no box": "have no box", "box too loose": "have a box that is too loose",
             "score too low": "have a box with too low a score",
             "taken by another": "have a box that lies better on a neighbour"}
KIND_WORDS = {"background": "lie on background (or on a face that is not annotated)",
              "loose box": "are loose boxes on a face", "duplicate": "are second boxes on a face"}


class Finding(NamedTuple):
    """A kind of face ("under 16 px", "with heavy blur"), how many count, are missed, and the excess of misses."""
    kind: str
    faces: int
    missed: int
    excess: float


def summarise(tally: Tally, groups: dict[str, list[Group]], why: dict[str, int], kinds: dict[str, int]) -> list[str]:
    """Sentences in plain English, the most important first.

    Args:
        tally: faces and rows at the operating point.
        groups: from `group_faces`.
        why: from `list_misses`; kinds: from `list_false_alarms`.
    """
    point = tally.point
    missed = point["faces"] - point["found"]
    score = "Without any detection" if point["score"] is None else f"At its best F1 (score {point['score']:.3g})"
    sentences = [(f"{score}, {percent(point['found'], point['faces'])} of the {point['faces']:,} faces are found, with "
                 f"{point['false_alarms_per_image']:.2f} false alarms an image.")]
    if missed:
        sizes = _size_findings(tally)
        findings = [finding for _, finding in sizes] + _attribute_findings(tally, tally.kept)[:ATTRIBUTES]
        findings.sort(key=lambda finding: -finding.excess)
        sentences += [f"Faces {finding.kind}: {percent(finding.faces - finding.missed, finding.faces)} found (of "
                      f"{finding.faces:,}); they are {percent(finding.missed, missed)} of everything missed."
                      for finding in findings]
        sentences += [text for limit, finding in sizes if finding.kind.startswith("under")
                      for text in _larger_faces(tally, limit)]
        sentences.append(f"Of the {missed:,} missed faces, {_shares(why, WHY_WORDS)}.")
        sentences += _event_sentence(groups["event"])
    if sum(kinds.values()):
        sentences.append(f"Of the {sum(kinds.values()):,} false alarms, {_shares(kinds, KIND_WORDS)}.")
    return sentences


def percent(part: float, whole: float) -> str:
    """"61 %", "0.4 %": a tenth is told only where it is most of the number."""
    value = 100 * part / whole
    return f"{value:.1f} %" if 0 < value < 2 or 99 <= value < 100 else f"{value:.0f} %"


def _finding(tally: Tally, kind: str, members: np.ndarray, among: np.ndarray) -> Finding:
    """One kind, [F] bool, against the rate of misses of all faces `among` which it is seen."""
    faces, missed = np.count_nonzero(among & members), np.count_nonzero(tally.missed & among & members)
    rate = np.count_nonzero(tally.missed & among) / np.count_nonzero(among)
    return Finding(kind, faces, missed, missed - faces * rate)


def _worth(tally: Tally, findings: list[Finding], among: np.ndarray) -> list[Finding]:
    least = WORTH_SAYING * np.count_nonzero(tally.missed & among)
    return sorted((finding for finding in findings if finding.excess > least), key=lambda finding: -finding.excess)


def _size_findings(tally: Tally) -> list[tuple[float, Finding]]:
    """Small faces, large faces, or both, each with the limit in pixels where the excess is the largest."""
    heights, result = tally.boxes[:, 3], []
    for kind, members in (("under {:g} px", heights.__lt__), (OVER, heights.__ge__)):
        found = [(limit, _finding(tally, kind.format(limit), members(limit), tally.kept)) for limit in HEIGHTS[1:-1]]
        best = max(found, key=lambda pair: pair[1].excess)
        result += [best] if _worth(tally, [best[1]], tally.kept) else []
    return result


def _attribute_findings(tally: Tally, among: np.ndarray) -> list[Finding]:
    """At most one finding per attribute, the one with the largest excess."""
    if tally.flags is None or not among.any():
        return []
    findings = []
    for family, names in LEVELS.items():
        level = tally.flags[:, FLAGS.index(family)]
        kinds = [_finding(tally, f"with {name}", level == value, among)
                 for value, name in enumerate(names) if value]
        findings.append(max(kinds, key=lambda finding: finding.excess))
    return _worth(tally, findings, among)


def _larger_faces(tally: Tally, limit: float) -> list[str]:
    """The worst attribute from `limit` pixels on: small faces are blurred too, and hide what else counts."""
    among = tally.kept & (tally.boxes[:, 3] >= limit)
    findings = _attribute_findings(tally, among)
    if not findings or findings[0].faces == np.count_nonzero(among):
        return []
    worst = findings[0]
    others = int(np.count_nonzero(among)) - worst.faces
    found = others - int(np.count_nonzero(tally.missed & among)) + worst.missed
    return [(f"Of the faces {OVER.format(limit)}, those {worst.kind} are missed most: "
            f"{percent(worst.faces - worst.missed, worst.faces)} found (of {worst.faces:,}), against "
            f"{percent(found, others)} of the others.")]


def _event_sentence(groups: list[Group]) -> list[str]:
    faces, missed = (sum(group[key] for group in groups) for key in ("faces", "missed"))
    excess = {group["name"]: group["missed"] - group["faces"] * missed / faces for group in groups}
    worst = sorted((group for group in groups if excess[group["name"]] > WORTH_SAYING * missed),
                   key=lambda group: -excess[group["name"]])[:EVENTS]
    if not worst:
        return []
    told = ", ".join(f"{group['name']} ({percent(group['faces'] - group['missed'], group['faces'])} found of "
                     f"{group['faces']:,})" for group in worst)
    return [f"Events with more misses than their share: {told}."]


def _shares(counts: dict[str, int], words: dict[str, str]) -> str:
    whole = sum(counts.values())
    ranked = sorted(((count, words[name]) for name, count in counts.items() if count), key=lambda pair: -pair[0])
    return ", ".join(f"{percent(count, whole)} {text}" for count, text in ranked)
