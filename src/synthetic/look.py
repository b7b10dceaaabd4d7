# SPDX-License-Identifier: Apache-2.0
"""What a drawn person looks like: proportions, colours, expression and what the person wears, all drawn by
chance.

`sample_look(rng)`. Lengths are in head units: half the height from crown to chin is 1; x to the image's
right, y down. Colours are BGR in 0..1."""
from dataclasses import dataclass

import numpy as np

from src.synthetic.canvas import Rng, colour

# From very dark to very pale skin, sRGB; a tone is a point on this curve with a little jitter.
SKIN_RGB = np.array([[58, 36, 27], [92, 57, 40], [132, 84, 58], [171, 116, 82], [201, 148, 112],
                     [225, 178, 146], [243, 207, 182]], np.float32) / 255
HAIR_RGB = np.array([[18, 15, 14], [34, 25, 20], [58, 38, 26], [96, 62, 36], [150, 108, 62], [206, 172, 112],
                     [128, 52, 26], [150, 148, 146], [214, 212, 208]], np.float32) / 255
HAIR_SHARE = np.array([0.28, 0.22, 0.16, 0.1, 0.06, 0.05, 0.03, 0.06, 0.04])
IRIS_RGB = np.array([[46, 28, 18], [70, 44, 26], [96, 92, 50], [80, 110, 140]], np.float32) / 255


@dataclass(frozen=True)
class Expression:
    """smile -0.5..1, opening of the mouth 0..1, closing of the lids 0..1, raised brows -1..1."""
    smile: float
    mouth_open: float
    blink: float
    brow: float

    @property
    def exaggerated(self) -> bool:
        """The `expression` flag of WIDER: clearly not at rest."""
        return self.mouth_open > 0.6


@dataclass(frozen=True)
class Look:
    """Proportions and colours of one head."""
    width: float
    jaw: float
    eye_x: float
    eye_y: float
    eye_w: float
    nose_y: float
    nose_w: float
    nose_out: float
    mouth_y: float
    mouth_w: float
    lip: float
    brow_thick: float
    age: float
    skin: np.ndarray
    lips: np.ndarray
    hair: np.ndarray
    iris: np.ndarray
    expression: Expression


@dataclass(frozen=True)
class Wear:
    """hair: bald, buzz, short, fringe, long; hat: none, cap, beanie, helmet, brim, scarf; glasses: none,
    clear, dark.
    """
    hair: str
    hat: str
    glasses: str
    mask: bool
    beard: float
    colours: np.ndarray  # [3, 3]: hat, mask, frame


def _skin(rng: Rng) -> np.ndarray:
    at = rng.uniform(0, len(SKIN_RGB) - 1)
    low = min(int(at), len(SKIN_RGB) - 2)
    tone = SKIN_RGB[low] + (at - low) * (SKIN_RGB[low + 1] - SKIN_RGB[low])
    return np.clip(tone * (1 + rng.normal(0, 0.03, 3)), 0.03, 0.98)[::-1].astype(np.float32)


def sample_expression(rng: Rng) -> Expression:
    """Draw an expression at random: mostly neutral or smiling; one in eight with the mouth wide open."""
    wide = rng.random() < 0.12
    opening = rng.uniform(0.6, 1.0) if wide else max(0.0, rng.normal(0.02, 0.18))
    return Expression(smile=float(np.clip(rng.normal(0.3, 0.4), -0.4, 1)),
                      mouth_open=float(min(opening, 1.0)),
                      blink=float(rng.uniform(0.7, 1) if rng.random() < 0.08 else rng.uniform(0, 0.3)),
                      brow=float(np.clip(rng.normal(0, 0.4), -1, 1)))


def sample_look(rng: Rng) -> Look:
    """Choose the shape and colours of one person's head at random."""
    skin = _skin(rng)
    hair = HAIR_RGB[rng.choice(len(HAIR_RGB), p=HAIR_SHARE)]
    lips = skin * rng.uniform(0.62, 0.85) * np.array([0.85, 0.75, 1.12], np.float32)
    return Look(
        width=rng.uniform(0.68, 0.77), jaw=rng.uniform(0.72, 0.92), eye_x=rng.uniform(0.27, 0.325),
        eye_y=rng.uniform(0.0, 0.06), eye_w=rng.uniform(0.12, 0.15), nose_y=rng.uniform(0.34, 0.42),
        nose_w=rng.uniform(0.085, 0.14), nose_out=rng.uniform(0.15, 0.25), mouth_y=rng.uniform(0.61, 0.67),
        mouth_w=rng.uniform(0.2, 0.27), lip=rng.uniform(0.035, 0.07), brow_thick=rng.uniform(0.02, 0.05),
        age=float(rng.random() ** 1.5), skin=skin, lips=np.clip(lips, 0.02, 0.95).astype(np.float32),
        hair=np.clip(hair[::-1] * rng.uniform(0.8, 1.2), 0, 1).astype(np.float32),
        iris=IRIS_RGB[rng.integers(len(IRIS_RGB))][::-1].copy(), expression=sample_expression(rng))


def sample_wear(rng: Rng, hats: float = 0.15, helmets: float = 0.1, masks: float = 0.04) -> Wear:
    """Choose at random what a person wears.

    Args:
        rng: the generator.
        hats: chance of something on the head.
        helmets: chance that this something is a helmet.
        masks: chance of a surgical mask.
    """
    hair = str(rng.choice(["bald", "buzz", "short", "fringe", "long"], p=[0.08, 0.12, 0.38, 0.15, 0.27]))
    hat = "none"
    if rng.random() < hats:
        hat = "helmet" if rng.random() < helmets else str(rng.choice(["cap", "beanie", "brim", "scarf"]))
    glasses = str(rng.choice(["none", "clear", "dark"], p=[0.78, 0.15, 0.07]))
    bearded = hair != "long" and rng.random() < 0.3
    mask_colour = np.array([[0.85, 0.78, 0.62], [0.9, 0.9, 0.9], [0.12, 0.12, 0.13]])[rng.integers(3)]
    frame = colour(rng, 0.03, 0.25, 0.3)
    return Wear(hair=hair, hat=hat, glasses=glasses, mask=bool(rng.random() < masks),
                beard=float(rng.uniform(0.3, 1)) if bearded else 0.0,
                colours=np.stack([colour(rng, 0.1, 0.8, 0.8), mask_colour, frame]).astype(np.float32))
