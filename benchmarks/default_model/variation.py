"""Random variations of a crop to the lungs: another hospital's style, another take, another way into a journal."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from benchmarks.default_model.crops import MARGIN, SIZE, WIDE, WIDE_MARGIN
from covid_cnn.images.augment import take_style

cv2.setNumThreads(1)  # the training has threads of its own


@dataclass(frozen=True)
class Variation:
    """How far a crop may be varied.

    Attributes
    ----------
    style : how often it takes the style of an image of another source, 0..1
    rotation : degrees
    zoom, aspect, shift : fractions of the size
    flip : how often left and right change places
    gamma : largest logarithm of the exponent
    contrast : fraction of the spread about the mean
    blur, noise, jpeg, erased : how often each happens
    """

    style: float = 0.8
    rotation: float = 10.0
    zoom: float = 0.12
    aspect: float = 0.10
    shift: float = 0.06
    flip: float = 0.5
    gamma: float = 0.45
    contrast: float = 0.3
    blur: float = 0.3
    noise: float = 0.3
    jpeg: float = 0.3
    erased: float = 0.4


def vary(
    wide: np.ndarray, lung: np.ndarray, other: Callable[[], np.ndarray], variation: Variation, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A random variation of one image.

    Parameters
    ----------
    wide : uint8 ``[WIDE, WIDE]``, the wider crop
    lung : uint8 ``[SIZE, SIZE]``, the probability of lung in the exact crop
    other : gives the wider crop of an image of another source
    rng : decides all

    Returns
    -------
    float32 ``[SIZE, SIZE]``, 0..1, what the network sees, and float32 ``[SIZE, SIZE]``, 0..1, where it has lung
    """
    pixels: np.ndarray = wide.astype(np.float32) / 255
    if rng.random() < variation.style:
        pixels = take_style(pixels, other().astype(np.float32) / 255, rng)
    matrix = _movement(variation, rng)
    pixels = cv2.warpAffine(
        pixels, _between(matrix, WIDE), (SIZE, SIZE), flags=_BACKWARDS, borderMode=cv2.BORDER_REPLICATE
    )
    moved = cv2.warpAffine(lung, _between(matrix, SIZE), (SIZE, SIZE), flags=_BACKWARDS)
    pixels = stretch(_tones(pixels, variation, rng))
    return _erased(pixels, variation, rng), moved.astype(np.float32) / 255


_BACKWARDS = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
_SPAN = {WIDE: (1 + 2 * MARGIN) / (1 + 2 * WIDE_MARGIN), SIZE: 1.0}  # share of a crop that the exact one takes


def _movement(variation: Variation, rng: np.random.Generator) -> np.ndarray:
    """A random movement ``[2, 3]`` of places in the exact crop, both -1..1 about its centre."""
    angle = math.radians(variation.rotation) * rng.uniform(-1, 1)
    zoom, aspect = 1 + variation.zoom * rng.uniform(-1, 1), 1 + variation.aspect * rng.uniform(-1, 1)
    mirror = -1 if rng.random() < variation.flip else 1
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    shift = 2 * variation.shift * rng.uniform(-1, 1, (2, 1))
    return np.hstack([rotation @ np.diag([mirror * zoom * aspect, zoom / aspect]), shift])


def _between(movement: np.ndarray, size: int) -> np.ndarray:
    """The movement as a matrix from pixels of the exact crop to those of a crop of ``size``."""
    scale = size / SIZE * _SPAN[size]
    linear = movement[:, :2] * scale
    centre = np.full((2, 1), (size - 1) / 2) + movement[:, 2:] * scale * SIZE / 2
    return np.hstack([linear, centre - linear @ np.full((2, 1), (SIZE - 1) / 2)])


def _tones(pixels: np.ndarray, variation: Variation, rng: np.random.Generator) -> np.ndarray:
    happens = rng.random(3) < (variation.blur, variation.noise, variation.jpeg)
    contrast = 1 + variation.contrast * rng.uniform(-1, 1)
    pixels = np.clip((pixels - pixels.mean()) * contrast + pixels.mean(), 0, 1)
    pixels = cv2.pow(pixels, math.exp(variation.gamma * rng.uniform(-1, 1)))
    if happens[0]:
        pixels = cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.3, 1.5))
    if happens[1]:
        pixels = pixels + rng.standard_normal(pixels.shape, np.float32) * np.float32(rng.uniform(0, 0.05))
    if happens[2]:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(20, 90))]
        written = cv2.imencode(".jpg", np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8), quality)[1]
        read = cv2.imdecode(written, cv2.IMREAD_GRAYSCALE)
        assert read is not None  # it was written right here
        pixels = read.astype(np.float32) / 255
    return pixels


def stretch(pixels: np.ndarray) -> np.ndarray:
    """What ``lung_layers.Tone`` does: a hundredth of the pixels black, a hundredth white, by a coarser image."""
    coarse = cv2.resize(pixels, (SIZE // 4, SIZE // 4), interpolation=cv2.INTER_AREA)
    black, white = np.quantile(coarse, (0.01, 0.99)).astype(np.float32)
    return np.clip((pixels - black) / max(white - black, np.float32(1e-3)), 0, 1)


def _erased(pixels: np.ndarray, variation: Variation, rng: np.random.Generator) -> np.ndarray:
    """With up to three rectangles of one grey (Zhong et al. 2020): no single place may decide."""
    if rng.random() < variation.erased:
        for _ in range(rng.integers(1, 4)):
            height, width = rng.integers(SIZE // 16, SIZE // 4, 2)
            top, left = rng.integers(0, SIZE - height), rng.integers(0, SIZE - width)
            pixels[top : top + height, left : left + width] = rng.random()
    return pixels
