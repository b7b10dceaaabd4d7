# SPDX-License-Identifier: Apache-2.0
"""Find the faces of films, and draw or hide them: frames in, frames and the original sound out.

    status = predict_video(detector, "party.mp4", Path("found/party"), every=2)
    status = predict_video(detector, "party.mp4", Path("hidden/party"), hide=Hide("blur"))
    status = predict_video(None, "party.mp4", Path("again/party"), hide=Hide("blur"), known=read_film("party.jsonl"))

`<stem>.mp4` is the film with its faces drawn or hidden, each frame at its own time; `<stem>.jsonl` has a line for each
frame that was searched, see `src.video.writer`.
"""
from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any, Callable

import cv2
import numpy as np
from tqdm import tqdm

from dependency.centernet.src.lib.detectors.faces import Faces
from dependency.centernet.src.lib.utils.draw import draw_faces
from dependency.centernet.src.lib.utils.hide import Hide
from dependency.errors import InputError
from dependency.files import plain_text
from src.common.log import LOGGER
from src.common.progress import progress_bar
from src.video.source import DEFAULT_RATE, Frame, Source
from src.video.tracker import Tracker
from src.video.writer import VideoWriter, write_video

# A video that ends this much before its declared end was cut off; less is rounding.
CUT_OFF_SECONDS = 0.5
# A face stays hidden for so many seconds after it was lost, and was hidden before it was found.
HOLD, BEFORE = 1.0, 0.4
# More frames a second than this are not believed of a file that says so.
FASTEST = 120.0
# Frames that wait to be written, so that faces found later are known in them: at most so many bytes.
WAITING = 1 << 29
# Two frames of which this many pixels correlate less belong to two scenes; one of a smaller deviation shows nothing.
SCENE_SIDE, SAME_SCENE, FLAT = 32, 0.5, 4.0

Found = Sequence[dict[str, Any]]
Known = Sequence[Found]
AddFaces = Callable[[Frame, Found], None]


def predict_video(detector: Any, path: str | Path, stem: Path, every: int = 1, hide: Hide | None = None,
                  known: Known | None = None, note: str = "") -> int:
    """Find faces in a film; write `<stem>.mp4` and `<stem>.jsonl`.

    KeyboardInterrupt finishes both files after the frame at hand before it is raised again.

    Args:
        detector: a `FaceDetector`; not used where the faces are `known`.
        path: a file, the address of a stream, or a camera's device.
        every: search every Nth frame; those between show the faces of the one before.
        hide: hide the faces, instead of drawing them.
        known: the faces of each frame; nothing is searched.
        note: what `src.video.writer.is_written` compares.

    Returns:
        exit status: 1 where the video is damaged or ends before its declared end; what could be read is written.

    Raises:
        InputError: not a video that PyAV can read, or PyAV is not installed; faces known of another number of frames.
        OSError: a result cannot be written; files that had the names before stay.
    """
    target = Path(f"{stem}.mp4")
    if target.resolve() == Path(path).resolve():
        raise InputError(f"--out {plain_text(stem.parent)}: {plain_text(target.name)} there is the video to look at; "
                         "choose another folder")
    with closing(Source(str(path))) as source, \
            write_video(stem, source.clock, source.rate, source.sound, source.pictures, note) as written, \
            progress_bar(source.frame_count, "frames", source.name) as bar:
        items = render(source, detector, every, hide, written.add_faces, known, source.rate)
        interrupt = _write(items, written, bar)
        if not written.frames:
            raise InputError(f"{source.name}: no frame of it can be read; expected a video file")
        is_short = source.is_damaged or source.end < source.declared_end - CUT_OFF_SECONDS
        if interrupt or is_short:
            written.stop()
    print(f"{source.name}: {written.frames} frames, {written.faces} faces -> {plain_text(target)}", flush=True)
    if interrupt:
        LOGGER.warning("%s: stopped after frame %d; what comes before is written", source.name, written.frames)
        raise interrupt
    if is_short:
        LOGGER.warning("%s: cut off or damaged: frame %d is the last that could be read, at %.1f s of %.1f s; what "
                       "comes before is written", source.name, written.frames, source.end, source.declared_end)
    return int(is_short)


def _write(items: Iterable[Any], written: VideoWriter, bar: tqdm) -> BaseException | None:
    """Write frames and packets of sound; returns what interrupted it."""
    try:
        for item in items:
            if isinstance(item, Frame):
                written.add_frame(item)
                bar.update()
            else:
                written.add_sound(item)
    except KeyboardInterrupt as interrupt:
        return interrupt
    return None


def render(items: Iterable[Any], detector: Any, every: int, hide: Hide | None, add_faces: AddFaces,
           known: Known | None = None, rate: Fraction = DEFAULT_RATE) -> Iterator[Any]:
    """Draw or hide the faces of frames; other items are passed on.

    To be hidden, faces are followed: a frame comes out when the second after it is searched.

    Args:
        add_faces: called with each frame that was searched and its faces, as JSON has them.
        rate: frames a second, about.
        The others are those of `predict_video`.
    """
    if hide is None:
        return _drawn(items, detector, every, add_faces)
    found = _followed(items, detector, every, rate) if known is None else _known(items, known)
    return _hidden(found, hide, add_faces)


def _drawn(items: Iterable[Any], detector: Any, every: int, add_faces: AddFaces) -> Iterator[Any]:
    """Yield the items, faces drawn on frames."""
    faces = Faces.from_rows(np.empty(0))
    for item in items:
        if isinstance(item, Frame):
            if item.number % every == 0:
                faces = detector.detect(item.pixels)
                add_faces(item, faces.to_dict()["faces"])
            item = item._replace(pixels=draw_faces(item.pixels, faces))
        yield item


def _hidden(items: Iterable[Any], hide: Hide, add_faces: AddFaces) -> Iterator[Any]:
    """Yield (frame, its faces) as a frame with hidden faces, and other items as they are."""
    for item in items:
        if isinstance(item, tuple):
            frame, faces = item
            add_faces(frame, faces)
            item = frame._replace(pixels=hide.apply(frame.pixels, np.array([face["box_xyxy"] for face in faces])))
        yield item


def _known(items: Iterable[Any], known: Known) -> Iterator[Any]:
    """Yield (frame, its faces) for frames, other items as they are."""
    count = 0
    for item in items:
        if isinstance(item, Frame):
            count += 1
            item = item, known[item.number] if count <= len(known) else []
        yield item
    if count != len(known):
        raise InputError(f"--faces has lines for {len(known)} frames, the film has {count}: of another film, or one "
                         "that was stopped; search the film again")


def _followed(items: Iterable[Any], detector: Any, every: int, rate: Fraction) -> Iterator[Any]:
    """Search frames, which wait until those after them are searched; yields (frame, its faces), other items at once."""
    hold, before = (max(every, round(seconds * min(float(rate), FASTEST))) for seconds in (HOLD, BEFORE))
    tracker, waiting, former, stopped = Tracker(hold, before, hold), deque[Frame](), None, None
    try:
        for item in items:
            if not isinstance(item, Frame):
                yield item
                continue
            if item.number % every == 0:
                faces, small = detector.detect(item.pixels), _small(item.pixels)
                tracker.add(item.number, faces.boxes, faces.scores, former is not None and _is_cut(former, small))
                former = small
            waiting.append(item)
            while len(waiting) > min(hold, WAITING // item.pixels.nbytes):
                yield waiting[0], tracker.faces(waiting.popleft().number)
    except KeyboardInterrupt as interrupt:
        stopped = interrupt
    yield from ((frame, tracker.faces(frame.number)) for frame in waiting)
    if stopped:
        raise stopped


def _small(pixels: np.ndarray) -> np.ndarray:
    """Shrink a frame to a few grey pixels less their mean: float32 [SCENE_SIDE, SCENE_SIDE]."""
    small = cv2.resize(pixels, (SCENE_SIDE, SCENE_SIDE), interpolation=cv2.INTER_AREA).astype(np.float32).mean(axis=2)
    return small - small.mean()


def _is_cut(former: np.ndarray, small: np.ndarray) -> bool:
    """Check whether two `_small` frames in a row belong to two scenes; where one shows next to nothing, they do not."""
    deviations = float(former.std()), float(small.std())
    return min(deviations) > FLAT and float((former * small).mean()) < SAME_SCENE * deviations[0] * deviations[1]
