# SPDX-License-Identifier: Apache-2.0
"""Hide the faces of photographs.

    status = hide_photos(FaceDetector(**SEARCH), list_items(["photos/"]), Path("hidden"), Hide("blur"), PHOTO_SCORE)

`<stem>.jpg` has the pixels, upright, and the colour profile of the photograph, and nothing else of its file: no EXIF
with the camera's thumbnail, place and time, no XMP, no text, no further pictures. `<stem>.json` has the faces.
"""
from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dependency.centernet.src.lib.utils.hide import Hide
from dependency.centernet.src.lib.utils.image_file import read_profile
from dependency.errors import InputError
from dependency.files import atomic_write, plain_text
from src.common.draw import write_image
from src.common.log import LOGGER
from src.inference.prediction import FULL, Item, describe, detect_items, note
from src.video.tracker import CONTINUED

# Options of a `FaceDetector` that miss fewer faces than those for drawing, and find more that are none.
SEARCH = {"score_threshold": CONTINUED, "nms": "hard", "nms_iou": 0.4}
PHOTO_SCORE = 0.2       # a photograph has no frames before and after it that would confirm a weaker face


def hide_photos(detector: Any, items: Sequence[Item], out: Path, hide: Hide, score: float = 0.0) -> int:
    """Write each photograph with its faces hidden, and its JSON, into `out`; print a line for each.

    Args:
        detector: a `FaceDetector`, or `KnownFaces`.
        score: faces with a lower one stay visible.

    Returns:
        exit status: 1 where a photograph could not be read or written, else 0.

    Raises:
        OSError: the disk is full.
    """
    done = 0
    for item, image, faces in detect_items(detector, items):
        stem, faces = out / item.stem, faces.filter(score)
        try:
            with atomic_write(f"{stem}.json") as file:
                found = [{"score": round(score, 4), "box_xyxy": np.round(box.astype(float), 1).tolist()}
                         for box, score, _ in faces]
                json.dump({"image": plain_text(item.path), "height": image.shape[0], "width": image.shape[1],
                           "faces": found}, file, indent=1)
            write_image(Path(f"{stem}.jpg"), hide.apply(image, faces.boxes), note(item.path, str(hide)),
                        read_profile(item.path))
        except (InputError, OSError) as error:
            if isinstance(error, OSError) and error.errno in FULL:
                raise
            LOGGER.error("%s", error)
            continue
        print(f"{plain_text(item.path)}: {describe(faces)} hidden -> {plain_text(stem)}.jpg", flush=True)
        done += 1
    if done < len(items):
        LOGGER.error("%d of %d images failed; the lines above name them", len(items) - done, len(items))
    return 0 if done == len(items) else 1
