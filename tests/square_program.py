# SPDX-License-Identifier: Apache-2.0
"""test.py as a program, with the detector of small_wider in place of a network: python tests/square_program.py OPTIONS

The detector's error grows with the distance of the checkpoint's epoch from 2. A checkpoint file that holds "damaged"
cannot be loaded, one that holds "nan" diverges. FAULT=kill:RANK:N ends process RANK by SIGKILL at its image N (from 1);
FAULT=slow:SECONDS makes every image take that long.
"""
import importlib.util
import os
import signal
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from dependency.centernet.src.lib.detectors.base_detector import NonFiniteMaps
from dependency.errors import InputError
from src.cli.program import run
from src.evaluation import predict
from tests.small_wider import SquareDetector


class Detector(SquareDetector):
    """`images` counts those of the whole process."""
    images = 0

    def __init__(self, path):
        self.content = path.read_bytes()
        if self.content == b"damaged":
            raise InputError(f"{path}: damaged")
        super().__init__(shift=abs(int(path.name.split("-")[1].split("_")[0]) - 2) * 9)

    def run(self, image):
        Detector.images += 1
        kind, *values = os.environ.get("FAULT", "none").split(":")
        if kind == "kill" and [os.environ["DEVICE_ID"], str(Detector.images)] == values:
            print("a last line", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "slow":
            time.sleep(float(values[0]))
        if self.content == b"nan":
            raise NonFiniteMaps("NaN")
        return super().run(image)


def make_loader(cfg, names):
    return Detector


def main():
    specification = importlib.util.spec_from_file_location("test_script", ROOT / "test.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    predict.detector_loader = make_loader
    return run(module.main)


if __name__ == "__main__":
    sys.exit(main())
