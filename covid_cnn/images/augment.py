"""Random variations of a training image. Stateless: the generator decides all, so an epoch can be made again."""

import functools
import math
import string
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from covid_cnn.images.ops import about_centre, blur, draw_text, warp

Images = Sequence[np.ndarray] | np.ndarray  # each float32 [H, W, 1], one after the other or as one array

# How an image takes the style of another: how much of its tones and of its broad light and shade, which are the waves
# of up to so many cycles an image, and how coarse it becomes.
TONES, SHADE, CYCLES, COARSE = (0.3, 1.0), (0.2, 0.9), (2, 13), (0.3, 0.9)


@dataclass(frozen=True)
class Augmentation:
    """How far an image may be varied; every range is symmetric about no change."""

    rotation: float = 0.0  # degrees
    shear: float = 0.0  # degrees
    zoom: float = 0.0  # fraction of the size
    shift: float = 0.0  # fraction of the size
    contrast: float = 0.0  # fraction of the spread about the mean
    gamma: float = 0.0  # exponent of ``pixels ** gamma``, as a fraction of 1
    flip: float = 0.0  # how often left and right change places, 0..1
    blur: float = 0.0  # largest standard deviation of a Gaussian blur, in hundredths of the width
    noise: float = 0.0  # largest standard deviation of Gaussian noise
    jpeg: int = 0  # lowest quality of a JPEG compression, 0 for none
    text: float = 0.0  # how often letters and digits are stamped on, 0..1
    invert: float = 0.0  # how often black and white change places, 0..1
    style: float = 0.0  # how often an image takes the style of a random other one, 0..1 (see ``take_style``)


AUGMENTATIONS = {
    "none": Augmentation(),
    # Always, as the second view of a network that does not tell left from right.
    "mirror": Augmentation(flip=1.0),
    # The notebook's own; its shear_range=0.2 meant a fifth of a degree.
    "notebook": Augmentation(shear=0.2, zoom=0.2, flip=0.5),
    # What differs between two takes of one patient. No mirroring: it would put the heart on the wrong side.
    "radiograph": Augmentation(rotation=7, zoom=0.1, shift=0.05, contrast=0.2, gamma=0.25),
    # What differs between two hospitals, and on the way from a film into a journal.
    "hospitals": Augmentation(
        rotation=7, zoom=0.1, shift=0.05, contrast=0.3, gamma=0.5, blur=0.5, noise=0.04, jpeg=15, text=0.3
    ),
    # The same patients as any other hospital of the training images might have taken them.
    "styles": Augmentation(
        rotation=7, zoom=0.1, shift=0.05, contrast=0.3, gamma=0.5, blur=0.5, noise=0.04, jpeg=15, style=0.8
    ),
}


def augment(image: np.ndarray, augmentation: Augmentation, rng: np.random.Generator, others: Images = ()) -> np.ndarray:
    """A random variation of one image, float32 ``[H, W, 1]`` 0..1, of the same shape, type and range.

    Pixels that come from outside the image repeat its border. ``others`` are the images whose style it may take;
    without any it keeps its own.
    """
    pixels = image[..., 0]
    if augmentation.style and len(others) and rng.random() < augmentation.style:
        pixels = take_style(pixels, others[int(rng.integers(len(others)))][..., 0], rng)
    pixels = warp(pixels, affine(image.shape[:2], augmentation, rng))
    return tones(pixels, augmentation, rng)[..., None]


def augment_batch(
    images: Sequence[np.ndarray],
    indices: np.ndarray,
    augmentation: Augmentation,
    seed: int,
    epoch: int,
    others: Images = (),
) -> np.ndarray:
    """The images ``[n, H, W, 1]`` augmented. Their variation hangs on seed, epoch and index in the dataset alone.

    ``others`` are all training images, whose style each may take.
    """
    generators = [np.random.default_rng((seed, epoch, index)) for index in indices]
    return np.stack([augment(image, augmentation, g, others) for image, g in zip(images, generators, strict=True)])


def affine(shape: tuple[int, ...], augmentation: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """A random movement for `warp` of an image of ``shape``: rotate, shear and scale about its centre, shift."""
    height, width = shape
    angle = math.radians(augmentation.rotation * rng.uniform(-1, 1))
    shear = math.tan(math.radians(augmentation.shear * rng.uniform(-1, 1)))
    scale_x, scale_y = 1 + augmentation.zoom * rng.uniform(-1, 1, 2)
    shift_x, shift_y = augmentation.shift * rng.uniform(-1, 1, 2) * (width, height)
    if augmentation.flip and rng.random() < augmentation.flip:
        scale_x = -scale_x
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    matrix = rotation @ np.array([[1, shear], [0, 1]]) @ np.diag([scale_x, scale_y])
    return about_centre(shape, matrix, (shift_x, shift_y))


def tones(pixels: np.ndarray, augmentation: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """``pixels``, float32 ``[H, W]`` 0..1, as another machine or journal might show them; same shape and range."""
    contrast = 1 + augmentation.contrast * rng.uniform(-1, 1)
    gamma = 1 + augmentation.gamma * rng.uniform(-1, 1)
    mean = pixels.mean()
    pixels = np.clip((pixels - mean) * contrast + mean, 0, 1) ** np.float32(gamma)
    if augmentation.invert and rng.random() < augmentation.invert:
        pixels = 1 - pixels
    if augmentation.text and rng.random() < augmentation.text:
        pixels = _stamp(pixels, rng)
    if augmentation.blur:
        sigma = augmentation.blur / 100 * pixels.shape[1] * rng.uniform()
        pixels = blur(pixels, sigma)
    if augmentation.jpeg:
        pixels = _compress(pixels, int(rng.integers(augmentation.jpeg, 96)))
    if augmentation.noise:
        spread = augmentation.noise * rng.uniform()
        pixels = np.clip(pixels + rng.normal(0, spread, pixels.shape), 0, 1)
    return pixels.astype(np.float32)


def take_style(pixels: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An image as the hospital of another image might have made it: the same patient, other tones, shade and sharpness.

    Each with an even chance, but at least one: the tones move towards the other image's histogram; the amplitudes of
    the broadest waves, which hold light and shade but no shapes, are mixed with the other image's (Fourier domain
    adaptation, Yang and Soatto 2020); the image is made coarser, as a thumbnail on a web page is.

    Both are float32 ``[H, W]``, 0..1; the other may be of another size.
    """
    chosen = rng.random(3) < 0.5
    chosen[rng.integers(3)] |= not chosen.any()
    if chosen[0]:
        pixels = match_tones(pixels, other, rng.uniform(*TONES))
    if chosen[1]:
        pixels = match_shade(pixels, other, rng.uniform(*SHADE), int(rng.integers(CYCLES[0], CYCLES[1] + 1)))
    if chosen[2]:
        pixels = coarsen(pixels, rng.uniform(*COARSE))
    return np.clip(pixels, 0, 1).astype(np.float32)


def match_tones(pixels: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    """``pixels`` ``[H, W]``, 0..1, with their tones moved by ``share``, 0..1, towards the histogram of ``other``."""
    levels = np.linspace(0, 1, 33)
    mine, theirs = (np.quantile(image[::4, ::4], levels) for image in (pixels, other))
    mine += np.arange(len(levels)) * 1e-6  # distinct, as the interpolation needs them
    return pixels + share * (np.interp(pixels, mine, theirs) - pixels)


def match_shade(pixels: np.ndarray, other: np.ndarray, share: float, cycles: int) -> np.ndarray:
    """``pixels`` ``[H, W]``, 0..1, with the amplitudes of up to ``cycles`` waves mixed by ``share`` with ``other``'s.

    The phases, which hold where things are, stay. Only the few waves that change are worked out, as matrix products.
    """
    cycles = min(cycles, (min(*pixels.shape, *other.shape) - 1) // 2)  # more are not in so few pixels
    mine, theirs = (_waves(image, cycles) for image in (pixels, other))
    amplitude = np.abs(mine)
    changed = mine * (share * (np.abs(theirs) - amplitude) / np.maximum(amplitude, 1e-6))
    rows, columns = (_wave(length, cycles) for length in pixels.shape)
    return pixels + (np.conj(rows.T) @ changed @ np.conj(columns)).real


def _waves(pixels: np.ndarray, cycles: int) -> np.ndarray:
    """The Fourier coefficients ``[2 cycles + 1, 2 cycles + 1]`` of the broadest waves, a mean over the pixels."""
    rows, columns = (_wave(length, cycles) for length in pixels.shape)
    return rows @ pixels @ columns.T / pixels.size


@functools.cache
def _wave(length: int, cycles: int) -> np.ndarray:
    """The waves of up to so many cycles over a line of pixels, complex64 ``[2 cycles + 1, length]``."""
    frequencies = np.arange(-cycles, cycles + 1)[:, None]
    return np.exp(-2j * np.pi * frequencies * np.arange(length)[None] / length).astype(np.complex64)


def coarsen(pixels: np.ndarray, factor: float) -> np.ndarray:
    """``pixels`` ``[H, W]`` made smaller by ``factor``, 0..1, and large again."""
    import cv2

    small = [max(1, round(side * factor)) for side in pixels.shape[::-1]]
    coarse = cv2.resize(pixels.astype(np.float32), small, interpolation=cv2.INTER_AREA)
    return cv2.resize(coarse, pixels.shape[::-1], interpolation=cv2.INTER_LINEAR)


def _stamp(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Up to three words of letters and digits, as markers and annotations are, anywhere and in any grey."""
    height, width = pixels.shape
    for _ in range(rng.integers(1, 4)):
        word = "".join(rng.choice(list(string.ascii_uppercase + string.digits), rng.integers(1, 9)))
        place = (rng.uniform(0, 0.9) * width, rng.uniform(0, 0.95) * height)
        grey = int(rng.integers(256)) / 255
        pixels = draw_text(pixels, word, place, max(6.0, rng.uniform(0.03, 0.1) * height), grey)
    return pixels


def _compress(pixels: np.ndarray, quality: int) -> np.ndarray:
    import cv2

    grey = np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    _, content = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(content, cv2.IMREAD_GRAYSCALE), np.float32) / 255
