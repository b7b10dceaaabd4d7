# SPDX-License-Identifier: Apache-2.0
"""Summarises an analysis in a few sentences: which kind of face is missed, why, and what the false alarms are.

    for sentence in summarise(outcomes, groups, reasons, kinds): print(sentence)

Kinds of faces are ranked by their excess of misses: how many more are missed than at the rate of all faces.
"""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from dependency.evaluate.report.failures import MEANINGS
from dependency.evaluate.report.flags import FLAGS, LEVELS
from dependency.evaluate.report.groups import HEIGHTS, Group
from dependency.evaluate.report.outcomes import Outcomes

MAX_ATTRIBUTES = MAX_EVENTS = 3     # sentences on attributes, events in their sentence
MIN_EXCESS = 0.02                   # of all misses: a kind with less is not worth a sentence


class Finding(NamedTuple):
    """A kind of face ("under 16 px", "with heavy blur"), how many count, are missed, and the excess of misses."""
    kind: str
    faces: int
    missed: int
    excess: float

    @property
    def recall(self) -> str:
        """The share that is found, such as "61.2 %"."""
        return percent(self.faces - self.missed, self.faces)


class SizeFinding(NamedTuple):
    """A finding on the faces below, or from, a height limit in pixels."""
    limit: float
    finding: Finding


def summarise(outcomes: Outcomes, groups: dict[str, list[Group]], reasons: dict[str, int],
              kinds: dict[str, int]) -> list[str]:
    """Return sentences, the most important first.

    Args:
        outcomes: faces and rows at the operating point.
        groups: from `group_faces`.
        reasons: from `list_misses`; kinds: from `list_false_alarms`.
    """
    point = outcomes.point
    missed = point["faces"] - point["found"]
    score = "Without any detection" if point["score"] is None else f"At its best F1 (score {point['score']:.3f})"
    sentences = [(f"{score}, {percent(point['found'], point['faces'])} of the {point['faces']:,} faces are found, with "
                  f"{point['false_alarms_per_image']:.2f} false alarms an image.")]
    if missed:
        small = _size_finding(outcomes, "under {:g} px", np.less)
        large = _size_finding(outcomes, "of {:g} px and over", np.greater_equal)
        findings = [size.finding for size in (small, large) if size]
        findings += _attribute_findings(outcomes, outcomes.counted)[:MAX_ATTRIBUTES]
        findings.sort(key=lambda finding: -finding.excess)
        overlap = " (the groups overlap)" if len(findings) > 1 else ""
        sentences += [f"Faces {finding.kind}: {finding.missed:,} of {finding.faces:,} missed, "
                      f"{percent(finding.missed, missed)} of all misses{'' if index else overlap}."
                      for index, finding in enumerate(findings)]
        if small:
            sentences += _larger_faces(outcomes, small.limit)
        sentences.append(f"Why the {missed:,} faces are missed: {_shares(reasons)}.")
        sentences += _event_sentence(groups["event"])
    if sum(kinds.values()):
        sentences.append(f"The {sum(kinds.values()):,} false alarms: {_shares(kinds)}.")
    return sentences


def percent(part: float, whole: float) -> str:
    """Format "61.2 %"."""
    return f"{100 * part / whole:.1f} %"


def _finding(outcomes: Outcomes, kind: str, members: np.ndarray, among: np.ndarray) -> Finding:
    """Return the finding on the faces `members` [F] bool, against the rate of misses of all faces `among` [F] bool."""
    missed = outcomes.missed & among
    faces, faces_missed = int(np.count_nonzero(among & members)), int(np.count_nonzero(missed & members))
    rate = int(np.count_nonzero(missed)) / int(np.count_nonzero(among))
    return Finding(kind, faces, faces_missed, faces_missed - faces * rate)


def _is_large(outcomes: Outcomes, finding: Finding, among: np.ndarray) -> bool:
    return finding.excess > MIN_EXCESS * int(np.count_nonzero(outcomes.missed & among))


def _size_finding(outcomes: Outcomes, kind: str, compare: np.ufunc) -> SizeFinding | None:
    """Return the finding on faces below or above the height limit with the largest excess, if that is large."""
    heights = outcomes.boxes[:, 3]
    limit, finding = max(((limit, _finding(outcomes, kind.format(limit), compare(heights, limit), outcomes.counted))
                          for limit in HEIGHTS[1:-1]), key=lambda pair: pair[1].excess)
    return SizeFinding(limit, finding) if _is_large(outcomes, finding, outcomes.counted) else None


def _attribute_findings(outcomes: Outcomes, among: np.ndarray) -> list[Finding]:
    """Return at most one finding per attribute, its value with the largest excess, sorted by excess."""
    if outcomes.flags is None or not among.any():
        return []
    findings = []
    for family, names in LEVELS.items():
        level = outcomes.flags[:, FLAGS.index(family)]
        kinds = [_finding(outcomes, f"with {name}", level == value, among)
                 for value, name in enumerate(names) if value]
        findings.append(max(kinds, key=lambda finding: finding.excess))
    return sorted((finding for finding in findings if _is_large(outcomes, finding, among)),
                  key=lambda finding: -finding.excess)


def _larger_faces(outcomes: Outcomes, limit: float) -> list[str]:
    """Name the worst attribute from `limit` pixels on: small faces are blurred too, and hide what else counts."""
    among = outcomes.counted & (outcomes.boxes[:, 3] >= limit)
    findings = _attribute_findings(outcomes, among)
    if not findings or findings[0].faces == np.count_nonzero(among):
        return []
    worst = findings[0]
    others = int(np.count_nonzero(among)) - worst.faces
    others_found = others - int(np.count_nonzero(outcomes.missed & among)) + worst.missed
    return [(f"Of the faces of {limit:g} px and over, those {worst.kind} are missed most: {worst.recall} found "
             f"(of {worst.faces:,}), against {percent(others_found, others)} of the others.")]


def _event_sentence(groups: list[Group]) -> list[str]:
    faces, missed = (sum(group[key] for group in groups) for key in ("faces", "missed"))
    excess = {group["name"]: group["missed"] - group["faces"] * missed / faces for group in groups}
    worst = sorted((group for group in groups if excess[group["name"]] > MIN_EXCESS * missed),
                   key=lambda group: -excess[group["name"]])[:MAX_EVENTS]
    if not worst:
        return []
    events = ", ".join(f"{group['name']} ({percent(group['faces'] - group['missed'], group['faces'])} found of "
                       f"{group['faces']:,})" for group in worst)
    return [f"Events with more misses than their share: {events}."]


def _shares(counts: dict[str, int]) -> str:
    ranked = sorted(((count, name) for name, count in counts.items() if count), key=lambda pair: -pair[0])
    return "; ".join(f"{count:,} {name} ({MEANINGS[name]})" for count, name in ranked)
