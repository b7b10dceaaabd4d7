# SPDX-License-Identifier: Apache-2.0
"""Files of labelling programs: Pascal VOC's xml, CVAT's xml "for images 1.1", LabelMe's json.

    labels = read_document(Path("a.xml"))       # one ImageLabels; of CVAT one for each image

Its content says which one a file is. Coordinates are taken as they stand, as the edges of the box: VOC's own files
count pixels from 1, those of most programs from 0, and nothing in them says which.
"""
from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from dependency.centernet.src.lib.datasets.dataset.annotation_problems import image_name
from dependency.centernet.src.lib.datasets.dataset.coco_names import read_numbers
from dependency.errors import InputError
from src.annotations.objects import ImageLabels, Shape, add_shapes

LINE = " line"      # no name of an attribute in a file


def is_document(path: Path) -> bool:
    """Check whether a file may be of one of these programs: xml or json, by its first character."""
    return _first_character(path) in (b"<", b"{", b"[")


def read_document(path: Path) -> list[ImageLabels]:
    """Read a file of one of these programs.

    Raises:
        InputError: it is none, or it is damaged.
    """
    if _first_character(path) in (b"{", b"["):
        return [_read_labelme(path)]
    root = _read_xml(path)
    if root.tag == "annotation":
        return [_read_voc(path, root)]
    if root.tag != "annotations":
        raise InputError(f"{path}: begins with <{root.tag}>; expected <annotation> (Pascal VOC) or <annotations> "
                         "(CVAT)")
    if root.find("track") is not None:
        raise InputError(f"{path}: holds the tracks of a video; export it from CVAT as \"CVAT for images 1.1\"")
    for nested in root.iterfind("image//image"):
        raise InputError(f"{path}:{nested.get(LINE)}: an <image> inside another one; the end of the other is missing")
    for stray in root.iterfind("*[@label]"):
        raise InputError(f"{path}:{stray.get(LINE)}: a <{stray.tag}> outside of any <image>")
    return [_read_cvat(path, image) for image in root.iter("image")]


def _first_character(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(64).lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n")[:1]


def _read_xml(path: Path) -> Element:
    """Read an xml file; each element gets its line as the attribute `LINE`.

    A document type is refused, and with it entities, which can fill the memory or name other files.
    """
    builder = TreeBuilder()
    parser = expat.ParserCreate()

    def begin(tag: str, attributes: dict[str, str]) -> None:
        builder.start(tag, {**attributes, LINE: str(parser.CurrentLineNumber)})

    def refuse(*_: Any) -> None:
        raise InputError(f"{path}:{parser.CurrentLineNumber}: has a <!DOCTYPE>, which is not read; remove it")

    parser.StartElementHandler, parser.EndElementHandler = begin, builder.end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = builder.data, refuse
    try:
        with path.open("rb") as file:
            parser.ParseFile(file)
        return builder.close()
    except InputError:
        raise
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise InputError(f"{path}: not an xml file ({error})") from error


def _read_voc(path: Path, root: Element) -> ImageLabels:
    labels = ImageLabels(str(path), _base_name(_text(root, "filename")))
    labels.width, labels.height = (_pixels(_text(root, f"size/{side}")) for side in ("width", "height"))
    shapes = []
    for item in root.iter("object"):
        line, name = int(item.get(LINE, 0)), _text(item, "name")
        corners = [_number(_text(item, f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax")]
        difficult = _text(item, "difficult") or "0"
        fault = "" if name and None not in corners else "expected a name, and a bndbox of xmin, ymin, xmax, ymax"
        fault = fault or ("" if difficult in ("0", "1") else f"difficult is {difficult!r}; expected 0 or 1")
        shapes.append(Shape(line, "box", name, [corners[:2], corners[2:]], ignore=difficult == "1", fault=fault))
    add_shapes(labels, shapes)
    return labels


def _read_cvat(path: Path, image: Element) -> ImageLabels:
    line = int(image.get(LINE, 0))
    labels = ImageLabels(str(path), image_name(image.get("name", ""), f"{path}:{line}"), line=line)
    labels.width, labels.height = (_pixels(image.get(side, "")) for side in ("width", "height"))
    shapes = []
    for item in image:
        if item.tag == "skeleton":
            shapes += [_cvat_shape(point, item.get("group_id")) for point in item if point.tag == "points"]
        elif item.tag != "tag":
            shapes.append(_cvat_shape(item))
    add_shapes(labels, [shape for shape in shapes if shape is not None])
    return labels


def _cvat_shape(item: Element, group: str | None = None) -> Shape | None:
    """Read a shape; None for a point that is marked as not in the picture."""
    if item.get("outside") == "1":
        return None
    line, label = int(item.get(LINE, 0)), item.get("label", "")
    group = group or item.get("group_id")
    if item.tag == "box":
        corners = [_number(item.get(side, "")) for side in ("xtl", "ytl", "xbr", "ybr")]
        turned = _number(item.get("rotation", "0"))
        fault = "expected xtl, ytl, xbr, ybr" if None in corners else f"rotation {turned}: expected 0" if turned else ""
        return Shape(line, "box", label, [corners[:2], corners[2:]], group, fault=fault)
    points = [[_number(number) for number in pair.split(",")] for pair in item.get("points", "").split(";")]
    good = item.tag == "points" and all(len(point) == 2 and None not in point for point in points)
    return Shape(line, "points", label, points, group, occluded=item.get("occluded") == "1",
                 fault="" if good else f"a {item.tag} of {item.get('points', '')[:40]!r}; expected a box")


def _read_labelme(path: Path) -> ImageLabels:
    try:
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a json file ({error})") from error
    if not isinstance(data, dict) or not isinstance(data.get("shapes"), list):
        raise InputError(f"{path}: no LabelMe json: it has no list of shapes; a COCO file of all images is named by "
                         "`labels:`")
    labels = ImageLabels(str(path), _base_name(str(data.get("imagePath") or "")))
    labels.width, labels.height = (_pixels(str(data.get(f"image{side}") or "")) for side in ("Width", "Height"))
    add_shapes(labels, [_labelme_shape(number, item) for number, item in enumerate(data["shapes"], 1)])
    return labels


def _labelme_shape(number: int, item: Any) -> Shape:
    item = item if isinstance(item, dict) else {}
    kind, label = item.get("shape_type") or "polygon", item.get("label")
    group = item.get("group_id")
    fault, points = "", []
    try:
        if not isinstance(label, str) or not isinstance(item.get("points"), list):
            raise InputError("lacks label or points")
        points = [read_numbers(point, "a point", 2) for point in item["points"]]
        if kind == "rectangle" and _is_rectangle(points):
            points = [[min(side) for side in zip(*points)], [max(side) for side in zip(*points)]]
        elif kind != "point" or len(points) != 1:
            raise InputError(f"a {kind} of {len(points)} points; expected a rectangle")
    except InputError as error:
        fault = f"shape {number}: {error}"
    kind = "points" if kind == "point" else "box"
    flags = item.get("flags")
    return Shape(0, kind, str(label), points, None if group is None else str(group),
                 occluded=isinstance(flags, dict) and flags.get("occluded") is True,
                 ignore=item.get("difficult") is True, fault=fault)


def _is_rectangle(points: Sequence[Sequence[float]]) -> bool:
    """Check whether points are two opposite corners, or the four corners, of an upright rectangle."""
    return len(points) == 2 or len(points) == 4 and all(len(set(side)) == 2 for side in zip(*points)) and len(
        set(map(tuple, points))) == 4


def _text(element: Element, name: str) -> str:
    return (element.findtext(name) or "").strip()


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _pixels(text: str) -> int:
    """Read a height or width; 0 where the file states none."""
    value = _number(text)
    return int(value) if value is not None and 0 < value < 1e9 and value % 1 == 0 else 0


def _base_name(text: str) -> str:
    """Take the name of a path of whichever system: folders are those of the labeller's computer."""
    return PureWindowsPath(text.strip()).name
