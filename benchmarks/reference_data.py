# SPDX-License-Identifier: Apache-2.0
"""Training samples as the published MindSpore programs make them: what benchmarks/data.py compares with.

    sample = RetinaFaceReference(records, Path("train/images"), 840)
    image, loc, conf, landm = sample(0)

Our own writing of the published steps, loops and full-size intermediate images included, each in one method: decode,
crop, colour, targets. Images are float32 [3, S, S] minus the mean; targets are dense. Randomness comes from NumPy's
and Python's global generators, as it does there.
"""
import random
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from dependency.centernet.src.lib.datasets.dataset.coco_hp import Record
from dependency.centernet.src.lib.utils.gaussian import gaussian_radius
from src.retinaface.anchors import VARIANCE, prior_box

INTERPOLATIONS = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_AREA, cv2.INTER_NEAREST, cv2.INTER_LANCZOS4)
# CenterFace
FACE_SIDES = (16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 128, 256, 512)
LARGEST_AREA = 12000 ** 2
MOST_FACES, STRIDE, POINTS = 64, 4, 5
CENTRE_MEAN = np.array([0.40789654, 0.44719302, 0.47026115], np.float32)
CENTRE_STD = np.array([0.28863828, 0.27408164, 0.27809835], np.float32)
EIGENVALUES = np.array([0.2141788, 0.01817699, 0.00341571], np.float32)
EIGENVECTORS = np.array([[-0.58752847, -0.69563484, 0.41340352], [-0.5832747, 0.00994535, -0.81221408],
                         [-0.56089297, 0.71832671, 0.41158938]], np.float32)
# RetinaFace
MEAN = (104, 117, 123)
TRIALS, CROPS = 250, 2


class CenterFaceReference:
    """The samples of CenterFace."""

    def __init__(self, records: Sequence[Record], image_dir: Path, size: int):
        self.records, self.image_dir, self.size = records, image_dir, size

    def __call__(self, index: int) -> tuple:
        """Make one sample: image, and eight dense maps of the targets."""
        record = self.records[index]
        image = self.decode(record)
        image, faces, points, seen = self.crop(image, record)
        return (self.colour(image), *self.targets(faces, points, seen))

    def decode(self, record: Record) -> np.ndarray:
        """Decode the whole image, BGR."""
        return cv2.imread(str(self.image_dir / record.path))

    def crop(self, image: np.ndarray, record: Record) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Resize the whole image by data-anchor sampling, mirror it, and warp a random square of it to the input."""
        order = np.arange(len(record.boxes))
        if len(order) > MOST_FACES:
            order = np.random.choice(order, MOST_FACES)
        boxes, points, seen = record.boxes[order], record.landmarks[order], record.visibility[order]
        left, top, right, bottom = boxes[np.random.randint(len(boxes))]
        side = np.sqrt((right - left + 1) * (bottom - top + 1))
        nearest = int(np.argmin(np.abs(np.array(FACE_SIDES) - side)))
        ratio = random.choice(FACE_SIDES[:min(nearest + 1, 11)]) / side * 2 ** random.uniform(-1, 1)
        height, width = image.shape[:2]
        ratio = min(ratio, np.sqrt(LARGEST_AREA / (height * width)))
        width, height = max(1, int(width * ratio)), max(1, int(height * ratio))
        image = cv2.resize(image, (width, height), interpolation=random.choice(INTERPOLATIONS))
        boxes, points = boxes * ratio, points * ratio
        square = max(height, width) * np.random.choice(np.arange(0.6, 1.0, 0.05))
        centre = [np.random.uniform(border, extent - border) for extent, border in
                  ((width, self._border(width)), (height, self._border(height)))]
        if np.random.random() < 0.5:
            image = image[:, ::-1, :]
            centre[0] = width - centre[0] - 1
            boxes = np.stack([width - boxes[:, 2] - 1, boxes[:, 1], width - boxes[:, 0] - 1, boxes[:, 3]], axis=1)
            points = points[:, [1, 0, 2, 4, 3]] * (-1, 1) + (width - 1, 0)
            seen = seen[:, [1, 0, 2, 4, 3]]
        warped = cv2.warpAffine(image, self._affine(centre, square, self.size), (self.size, self.size),
                                flags=cv2.INTER_LINEAR)
        matrix = self._affine(centre, square, self.size // STRIDE)
        corners = [[self._moved(corner, matrix) for corner in box.reshape(2, 2)] for box in boxes]
        faces = np.array(corners).reshape(-1, 4)
        cells = np.array([[self._moved(point, matrix) for point in face] for face in points])
        return warped, faces, cells, seen

    def colour(self, image: np.ndarray) -> np.ndarray:
        """Change brightness, contrast and saturation in random order, add lighting, normalise; all in float."""
        image = image.astype(np.float32) / 255
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        mean = grey.mean()
        changes = [self._brightness, self._contrast, self._saturation]
        random.shuffle(changes)
        for change in changes:
            change(image, grey, mean, 1 + np.random.uniform(-0.4, 0.4))
        image += np.dot(EIGENVECTORS, EIGENVALUES * np.random.normal(scale=0.1, size=3))
        return np.ascontiguousarray(((image - CENTRE_MEAN) / CENTRE_STD).transpose(2, 0, 1))

    def targets(self, faces: np.ndarray, points: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, ...]:
        """Fill the dense maps, face by face and point by point."""
        grid = self.size // STRIDE
        heatmap, index = np.zeros((1, grid, grid), np.float32), np.zeros((grid, grid), np.float32)
        size, weight, offset = (np.zeros((grid, grid, 2), np.float32) for _ in range(3))
        point_mask, landmarks = (np.zeros((grid, grid, 2 * POINTS), np.float32) for _ in range(2))
        mask = np.zeros(MOST_FACES, np.uint8)
        for number, face in enumerate(faces):
            face = np.clip(face, 0, grid - 1)
            width, height = face[2] - face[0], face[3] - face[1]
            if width <= 0 or height <= 0:
                continue
            centre = np.array([(face[0] + face[2]) / 2, (face[1] + face[3]) / 2], np.float32)
            x, y = centre.astype(np.int32)
            self._gaussian(heatmap[0], x, y, max(0, int(gaussian_radius(np.ceil(height), np.ceil(width)))))
            index[y, x], mask[number] = 1, 1
            size[y, x] = np.log(width / 4), np.log(height / 4)
            offset[y, x] = centre - (x, y)
            area = width * height
            weight[y, x] = next(value for limit, value in ((4, 0.1), (10, 15), (20, 10), (40, 5), (np.inf, 1))
                                if area <= limit)
            for point in range(POINTS):
                px, py = points[number, point]
                if seen[number, point] > 0 and 0 <= px < grid and 0 <= py < grid:
                    landmarks[y, x, 2 * point:2 * point + 2] = (px - x) / width, (py - y) / height
                    point_mask[y, x, 2 * point:2 * point + 2] = 1
            if area <= 8:
                point_mask[y, x] = 0
        return heatmap, mask, index, size, weight, offset, point_mask, landmarks

    @staticmethod
    def _border(extent: int) -> float:
        border = extent * np.random.choice([0.1, 0.2, 0.25])
        while extent - border <= border:
            border /= 2
        return border

    @staticmethod
    def _affine(centre: Sequence[float], square: float, size: int) -> np.ndarray:
        """Compute the matrix that brings a square of the image to [size, size], from three pairs of points."""
        x, y = centre
        source = np.float32([(x, y), (x, y - square / 2), (x - square / 2, y - square / 2)])
        target = np.float32([(size / 2, size / 2), (size / 2, 0), (0, 0)])
        return cv2.getAffineTransform(source, target)

    @staticmethod
    def _moved(point: np.ndarray, matrix: np.ndarray) -> np.ndarray:
        return np.dot(matrix, np.array([point[0], point[1], 1.0], np.float32))[:2]

    @staticmethod
    def _brightness(image: np.ndarray, grey: np.ndarray, mean: float, factor: float) -> None:
        image *= factor

    @staticmethod
    def _contrast(image: np.ndarray, grey: np.ndarray, mean: float, factor: float) -> None:
        image *= factor
        image += mean * (1 - factor)

    @staticmethod
    def _saturation(image: np.ndarray, grey: np.ndarray, mean: float, factor: float) -> None:
        image *= factor
        image += grey[:, :, None] * (1 - factor)

    @staticmethod
    def _gaussian(heatmap: np.ndarray, x: int, y: int, radius: int) -> None:
        rows, columns = np.ogrid[-radius:radius + 1, -radius:radius + 1]
        sigma = (2 * radius + 1) / 6
        peak = np.exp(-(columns * columns + rows * rows) / (2 * sigma * sigma))
        peak[peak < np.finfo(peak.dtype).eps * peak.max()] = 0
        height, width = heatmap.shape
        left, right = min(x, radius), min(width - x, radius + 1)
        top, bottom = min(y, radius), min(height - y, radius + 1)
        part = heatmap[y - top:y + bottom, x - left:x + right]
        np.maximum(part, peak[radius - top:radius + bottom, radius - left:radius + right], out=part)


class RetinaFaceReference:
    """The samples of RetinaFace; colours as the PyTorch program, the MindSpore ones define this and never call it."""

    def __init__(self, records: Sequence[Record], image_dir: Path, size: int):
        self.records, self.image_dir, self.size = records, image_dir, size
        self.priors = prior_box((size, size)).copy()

    def __call__(self, index: int) -> tuple:
        """Make one sample: image, and loc, conf and landm of every anchor."""
        record = self.records[index]
        image = self.decode(record)
        image, square, mirrored = self.crop(image, record)
        return (self.resample(self.colour(image), square, mirrored), *self.targets(record, square, mirrored))

    def decode(self, record: Record) -> np.ndarray:
        """Decode the whole image, BGR."""
        return cv2.imread(str(self.image_dir / record.path))

    def crop(self, image: np.ndarray, record: Record) -> tuple[np.ndarray, tuple[int, int, int], bool]:
        """Try random squares until two hold a whole face, and take one of these."""
        height, width = image.shape[:2]
        found = []
        for _ in range(TRIALS):
            scale = random.uniform(0.3, 1.0) if random.random() < 0.8 else 1.0
            side = int(scale * min(height, width))
            left, top = random.randint(0, width - side), random.randint(0, height - side)
            square = np.array([left, top, left + side, top + side])
            low, high = np.maximum(record.boxes[:, :2], square[:2]), np.minimum(record.boxes[:, 2:], square[2:])
            shared = np.prod(high - low, axis=1) * (low < high).all(axis=1)
            areas = np.prod(record.boxes[:, 2:] - record.boxes[:, :2], axis=1)
            if (shared / np.maximum(areas, 1) >= 1).any():
                found.append((left, top, side))
            if len(found) == CROPS:
                break
        mirrored = random.random() < 0.5
        if not found:
            return image, (0, 0, max(height, width)), mirrored
        left, top, side = random.choice(found)
        return image[top:top + side, left:left + side], (left, top, side), mirrored

    def colour(self, image: np.ndarray) -> np.ndarray:
        """Distort brightness, contrast, saturation and hue, each with probability 1/2, by float arithmetic."""
        image = image.copy()
        contrast_last = bool(random.randrange(2))
        if random.randrange(2):
            self._scaled(image, 1, random.uniform(-32, 32))
        if not contrast_last and random.randrange(2):
            self._scaled(image, random.uniform(0.5, 1.5), 0)
        image = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
        if random.randrange(2):
            self._scaled(image[:, :, 1], random.uniform(0.5, 1.5), 0)
        if random.randrange(2):
            image[:, :, 0] = (image[:, :, 0].astype(int) + random.randint(-18, 18)) % 180
        image = cv2.cvtColor(image, cv2.COLOR_HSV2BGR)
        if contrast_last and random.randrange(2):
            self._scaled(image, random.uniform(0.5, 1.5), 0)
        return image

    @staticmethod
    def _scaled(image: np.ndarray, gain: float, shift: float) -> None:
        values = image.astype(float) * gain + shift
        values[values < 0] = 0
        values[values > 255] = 255
        image[:] = values

    def resample(self, image: np.ndarray, square: tuple[int, int, int], mirrored: bool) -> np.ndarray:
        """Fill up to a square, resize by a random interpolation, mirror, subtract the mean, channels first."""
        height, width = image.shape[:2]
        if height != width:
            filled = np.empty((square[2], square[2], 3), image.dtype)
            filled[:] = MEAN
            filled[:height, :width] = image
            image = filled
        image = cv2.resize(image, (self.size, self.size), interpolation=random.choice(INTERPOLATIONS))
        if mirrored:
            image = image[:, ::-1]
        image = image.astype(np.float32)
        image -= np.array(MEAN, np.float32)
        return np.ascontiguousarray(image.transpose(2, 0, 1))

    def targets(self, record: Record, square: tuple[int, int, int],
                mirrored: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Match the faces in the square with all anchors."""
        left, top, side = square
        boxes, points = record.boxes.copy(), record.landmarks.copy()
        labels = np.where((record.visibility > 0).all(axis=1), 1.0, -1.0)
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        kept = ((centres > (left, top)) & (centres < (left + side, top + side))).all(axis=1)
        scale = self.size / side
        boxes = (np.clip(boxes[kept], (left, top) * 2, (left + side, top + side) * 2) - (left, top) * 2) * scale
        points, labels = (points[kept] - (left, top)) * scale, labels[kept]
        if mirrored:
            boxes[:, [0, 2]] = self.size - boxes[:, [2, 0]]
            points = points[:, [1, 0, 2, 4, 3]] * (-1, 1) + (self.size, 0)
        large = ((boxes[:, 2:] - boxes[:, :2]) > 1).all(axis=1)
        return self._match(boxes[large] / self.size, labels[large], points[large].reshape(-1, 10) / self.size)

    def _match(self, boxes: np.ndarray, labels: np.ndarray,
               points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Match by the whole matrix of overlaps, sorted along both axes; encode every anchor."""
        count = len(self.priors)
        empty = np.zeros((count, 4), np.float32), np.zeros(count, np.int32), np.zeros((count, 10), np.float32)
        if len(boxes) == 0:
            return empty
        priors = np.concatenate([self.priors[:, :2] - self.priors[:, 2:] / 2,
                                 self.priors[:, :2] + self.priors[:, 2:] / 2], axis=1)
        low = np.maximum(boxes[:, None, :2], priors[None, :, :2])
        high = np.minimum(boxes[:, None, 2:], priors[None, :, 2:])
        shared = np.prod(np.clip(high - low, 0, None), axis=2)
        areas = [np.prod(each[:, 2:] - each[:, :2], axis=1) for each in (boxes, priors)]
        overlaps = shared / (areas[0][:, None] + areas[1][None] - shared)
        best_prior = overlaps.argsort(axis=1)[:, -1]
        valid = overlaps[np.arange(len(boxes)), best_prior] >= 0.2
        if not valid.any():
            return empty
        owner = overlaps.argsort(axis=0)[-1]
        reached = overlaps[owner, np.arange(count)]
        reached[best_prior[valid]] = 2
        for face, prior in enumerate(best_prior):
            owner[prior] = face
        conf = labels[owner].astype(np.int32)
        conf[reached < 0.35] = 0
        matched, found = boxes[owner], points[owner].reshape(count, POINTS, 2)
        offsets = ((matched[:, :2] + matched[:, 2:]) / 2 - self.priors[:, :2]) / (VARIANCE[0] * self.priors[:, 2:])
        sizes = np.log(np.maximum((matched[:, 2:] - matched[:, :2]) / self.priors[:, 2:], 1e-12)) / VARIANCE[1]
        landm = (found - self.priors[:, None, :2]) / (VARIANCE[0] * self.priors[:, None, 2:])
        return (np.concatenate([offsets, sizes], axis=1).astype(np.float32), conf,
                landm.reshape(count, 10).astype(np.float32))
