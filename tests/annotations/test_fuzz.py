# SPDX-License-Identifier: Apache-2.0
"""Annotation files with a few lines damaged: refused by one error, or each other face stays with its own image.

Every face has a box of its own, so that its image is known. A line is deleted, doubled, cut, glued to the next, split,
or gets other characters. Checked against the lines that are as before: none of their faces is at another image, and
each is there, or a problem or a warning says that faces are left out.
"""
import json

import numpy as np
import pytest
from PIL import Image

from dependency.errors import InputError
from src.annotations.read_write import read_annotations
from src.common.log import LOGGER
from tests.annotations.test_read_write import write_mat

NAMES = ["a/first.jpg", "a/second one.png", "b/third.jpeg", "b/fourth.JPG", "c/d/fifth.jpg", "sixth.jpg"]
COUNTS = [2, 0, 1, 3, 2, 1]
CHARACTERS = ["#", "/", "\\", ".", ",", "x", "-", "7", "\ufeff", "\t", " ", "\n", "\0", "é", '"', "{", "}", "]"]
FORMATS = ["label", "label_v2", "bbx_gt", "fddb", "coco", "cvat", "voc", "labelme", "yolo"]
# A folder with a file for each image.
FOLDERS = ["voc", "labelme", "yolo"]
WIDTH, HEIGHT = 1024, 768


def box(image, face):
    """x, y, width, height of a face: no other has them."""
    return [301 + 40 * image, 203 + 30 * face, 20 + image, 25 + face]


def stem(name):
    """FDDB's name of an image."""
    return name.rsplit(".", 1)[0].replace(" ", "_")


class Line:
    """A line of the file; `face` (image, face) is known by the reader if the line is `intact`."""

    def __init__(self, text, image=-1, face=-1, intact=True, header=False):
        self.text, self.image, self.face, self.intact, self.header = text, image, face, intact, header


def lines_of(fmt):
    points = "320 210 0.0 325 210 1.0 322 215 0.0 320 220 0.0 325 220 0.0"
    lines = []
    for image, (name, count) in enumerate(zip(NAMES, COUNTS)):
        header = {"label": f"# {name}", "label_v2": f"# {name} 1024 768", "bbx_gt": name, "fddb": stem(name)}[fmt]
        lines.append(Line(header, image, header=True))
        if fmt in ("bbx_gt", "fddb"):
            lines.append(Line(str(count), image))
        for face in range(count):
            x, y, width, height = box(image, face)
            text = {"label": f"{x} {y} {width} {height}" + f" {points} 0.5" * (face % 2),
                    "label_v2": f"{x} {y} {x + width} {y + height}" + f" {points}" * (face % 2),
                    "bbx_gt": f"{x} {y} {width} {height} 0 0 0 0 0 0",
                    "fddb": f"{height / 2} {width / 2} 1.5707963267948966 {x + width / 2} {y + height / 2} 1"}[fmt]
            lines.append(Line(text, image, face))
    return lines


def coco_lines():
    """The same as json, one entry a line."""
    lines = [Line('{"categories": [{"id": 1, "name": "face"}],'), Line('"images": [')]
    for image, name in enumerate(NAMES):
        entry = json.dumps({"id": image + 1, "file_name": name, "height": 768, "width": 1024})
        lines.append(Line(entry + "," * (image < len(NAMES) - 1), image, header=True))
    lines += [Line("],"), Line('"annotations": [')]
    faces = [(image, face) for image, count in enumerate(COUNTS) for face in range(count)]
    for index, (image, face) in enumerate(faces):
        entry = json.dumps({"id": index + 1, "image_id": image + 1, "category_id": 1, "bbox": box(image, face)})
        lines.append(Line(entry + "," * (index < len(faces) - 1), image, face))
    return [*lines, Line("]}")]


def markup_lines(fmt):
    """The files of labelling programs, one element a line."""
    lines = [Line("<annotations>")] * (fmt == "cvat")
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height></size>"
    for image, (name, count) in enumerate(zip(NAMES, COUNTS)):
        begin, face_text, end = {
            "cvat": (f'<image name="{name}" width="{WIDTH}" height="{HEIGHT}">', cvat_face, "</image>"),
            "voc": (f"<annotation><filename>{name.split('/')[-1]}</filename>{size}", voc_face, "</annotation>"),
            "labelme": (f'{{"imagePath": "..\\\\{image}.jpg", "shapes": [', labelme_face, "]}"),
            "yolo": ("", yolo_face, "")}[fmt]
        lines += [Line(begin, image, header=True)] * bool(begin)
        lines += [Line(face_text(*corners(image, face)) + "," * (fmt == "labelme" and face < count - 1), image, face)
                  for face in range(count)]
        lines += [Line(end, image)] * bool(end)
    return lines + [Line("</annotations>")] * (fmt == "cvat")


def cvat_face(x1, y1, x2, y2):
    return f'<box label="face" xtl="{x1}" ytl="{y1}" xbr="{x2}" ybr="{y2}"></box>'


def voc_face(x1, y1, x2, y2):
    return (f"<object><name>face</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax>"
            "</bndbox></object>")


def labelme_face(x1, y1, x2, y2):
    return json.dumps({"label": "face", "shape_type": "rectangle", "points": [[x2, y1], [x1, y2]]})


def yolo_face(x1, y1, x2, y2):
    return f"0 {(x1 + x2) / 2 / WIDTH} {(y1 + y2) / 2 / HEIGHT} {(x2 - x1) / WIDTH} {(y2 - y1) / HEIGHT}"


def write_folder(folder, lines):
    """Write the lines of each image into a file of its name."""
    for image, name in enumerate(NAMES):
        path = (folder / name).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes("".join(f"{line.text}\n" for line in lines if line.image == image).encode())


def damage(lines, fmt, rng, index):
    """Damage one line; the lines that are no longer as before are not intact."""
    line = lines[index]
    line.intact = False
    text = line.text
    place = int(rng.integers(len(text) + 1))
    kind = rng.integers(8)
    if kind == 0 and not (line.header and fmt.startswith("label")):     # without its # line a face has no other sign
        del lines[index]
    elif kind == 1:
        lines.insert(index, Line(text, line.image, line.face, False, line.header))
    elif kind == 2:
        line.text = text[:place]
    elif kind == 3 and index + 1 < len(lines):
        line.text += lines.pop(index + 1).text
    elif kind == 4:
        line.text = text[:place] + str(rng.choice(CHARACTERS)) + text[place + 1:]
    elif kind == 5:
        line.text = text[:place] + str(rng.choice(CHARACTERS)) + text[place:]
    elif kind == 6:
        line.text = text[:place] + text[place + int(rng.integers(1, 4)):]
    else:
        line.text = "".join(rng.choice(CHARACTERS, int(rng.integers(1, 9))))
    if line.header and fmt.startswith("label") and not line.text.strip("\ufeff\t\n "):
        line.text = "#"     # a blank line is no line, so this would be a deleted one


def check(path, fmt, intact, names, marked, image_dir=None):
    """Read the file; "refused", "whole" or "counted": some face of `intact` {box: image} is left out, and told."""
    marked.clear()
    try:
        records = read_annotations(path, fmt, image_dir, on_problem="collect", fit=False)
    except InputError as error:
        assert path.name in str(error)
        return "refused"
    found = {tuple(np.rint(face).astype(int).tolist()): record.path for record in records for face in record.boxes}
    for face, image in intact.items():
        assert found.get(face, image) == image or found[face] not in names, (face, found[face])
    if all(face in found for face in intact):
        return "whole"
    assert records.problems or marked, "faces are lost, and nothing tells it"
    return "counted"


def corners(image, face):
    x, y, width, height = box(image, face)
    return x, y, x + width, y + height


def run(path, fmt, count, marked):
    """Read `count` damaged files; how they ended."""
    image_dir = path.with_name("images")
    for name in NAMES if fmt in FOLDERS else []:
        (image_dir / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (WIDTH, HEIGHT)).save(image_dir / name)
    path = path.with_suffix("") if fmt in FOLDERS else path
    rng = np.random.default_rng(FORMATS.index(fmt))
    names = [f"{stem(name)}.jpg" for name in NAMES] if fmt == "fddb" else NAMES
    ends = []
    for _ in range(count):
        markup = fmt in FOLDERS or fmt == "cvat"
        lines = coco_lines() if fmt == "coco" else markup_lines(fmt) if markup else lines_of(fmt)
        # Damages next to each other may make a good file of other content: one image's count, the next one's name.
        first, second = sorted(rng.integers(len(lines), size=2).tolist())
        for index in [second, first] if second - first > 3 else [first]:
            damage(lines, fmt, rng, index)
        if fmt in FOLDERS:
            write_folder(path, lines)
        else:
            path.write_bytes("".join(f"{line.text}\n" for line in lines).encode("utf-8"))
        intact = {corners(line.image, line.face): names[line.image]
                  for line in lines if line.intact and line.face >= 0}
        ends.append(check(path, fmt, intact, names, marked, image_dir if fmt in FOLDERS else None))
    return {end: ends.count(end) for end in ("refused", "whole", "counted")}


@pytest.fixture
def marked():
    """The log lines since the last `clear`."""
    lines = []
    def keep(record):
        lines.append(record)
        return False
    LOGGER.addFilter(keep)
    yield lines
    LOGGER.removeFilter(keep)


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("count", [150, pytest.param(10_000, marks=pytest.mark.soak)])
def test_damaged_lines(tmp_path, fmt, count, marked):
    ends = run(tmp_path / "damaged.txt", fmt, count, marked)
    print(fmt, ends)
    assert ends["refused"] and ends["whole"] and sum(ends.values()) == count


def mat_content(rng):
    """Lists of a .mat with one of their entries lost, doubled, exchanged or of another shape; the intact faces."""
    names = [["first", "second"], ["third", "fourth", "fifth"]]
    boxes = [[np.array([box(image, face) for face in range(COUNTS[image])], float).reshape(-1, 4)
              for image in event] for event in ([0, 1], [2, 3, 4])]
    intact = {corners(image, face): f"{'ef'[event]}/{names[event][index]}.jpg"
              for event, images in enumerate(([0, 1], [2, 3, 4])) for index, image in enumerate(images)
              for face in range(COUNTS[image])}
    content = {"event_list": ["e", "f"], "file_list": names, "face_bbx_list": boxes,
               "invalid_label_list": [[np.zeros((len(each), 1)) for each in event] for event in boxes]}
    chosen = content[str(rng.choice(list(content)))]
    cells = chosen if chosen is content["event_list"] else chosen[int(rng.integers(2))]
    index, kind = int(rng.integers(len(cells))), int(rng.integers(5))
    if kind == 0:
        del cells[index]
    elif kind == 1:
        cells.insert(index, cells[index])
    elif kind == 2:
        cells[index] = np.ones((int(rng.integers(3)), int(rng.integers(1, 6))))
    elif kind == 3:
        cells[index] = "x\\y" if isinstance(cells[index], str) else "y"
    elif isinstance(cells[index], np.ndarray) and cells[index].size:
        cells[index].flat[int(rng.integers(cells[index].size))] = rng.choice([np.nan, -1, 0.5, 1e300])
    kept = {tuple(np.rint([x, y, x + width, y + height]).tolist())
            for event in boxes for each in event if isinstance(each, np.ndarray) and each.shape[1:] == (4,)
            for x, y, width, height in each}
    return content, {face: image for face, image in intact.items() if face in kept}


@pytest.mark.parametrize("count", [100, pytest.param(10_000, marks=pytest.mark.soak)])
def test_damaged_lists_of_a_mat(tmp_path, count, marked):
    rng = np.random.default_rng(6)
    ends = []
    for _ in range(count):
        content, intact = mat_content(rng)
        try:
            path = write_mat(tmp_path / "damaged.mat", **content)
        except (ValueError, TypeError):
            continue
        ends.append(check(path, "mat", intact, set(intact.values()), marked))
    print("mat", {end: ends.count(end) for end in set(ends)})
    assert "refused" in ends and "whole" in ends
