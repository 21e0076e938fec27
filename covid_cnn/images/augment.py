"""Random variations of a training image. Stateless: the generator decides all, so an epoch can be made again."""

import io
import math
import string
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from covid_cnn.images.ops import Affine, about_centre, blur, draw_text, from_bytes, to_bytes, warp


@dataclass(frozen=True)
class Augmentation:
    """How far an image may be varied; every range is symmetric about no change.

    Attributes
    ----------
    rotation : degrees
    shear : degrees
    zoom : fraction of the size
    shift : fraction of the size
    contrast : fraction of the spread about the mean
    gamma : exponent of ``pixels ** gamma``, as a fraction of 1
    flip : how often left and right change places, 0..1
    blur : largest standard deviation of a Gaussian blur, in hundredths of the width
    noise : largest standard deviation of Gaussian noise
    jpeg : lowest quality of a JPEG compression, 0 for none
    text : how often letters and digits are stamped on, 0..1
    invert : how often black and white change places, 0..1
    """

    rotation: float = 0.0
    shear: float = 0.0
    zoom: float = 0.0
    shift: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    flip: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    jpeg: int = 0
    text: float = 0.0
    invert: float = 0.0


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
}


def augment(image: np.ndarray, augmentation: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """A random variation of one image, float32 ``[H, W, 1]`` 0..1, of the same shape, type and range.

    Pixels that come from outside the image repeat its border.
    """
    pixels = warp(image[..., 0], affine(image.shape[:2], augmentation, rng))
    return tones(pixels, augmentation, rng)[..., None]


def augment_batch(
    images: Sequence[np.ndarray], indices: np.ndarray, augmentation: Augmentation, seed: int, epoch: int
) -> np.ndarray:
    """The images ``[n, H, W, 1]`` augmented. Their variation hangs on seed, epoch and index in the dataset alone."""
    generators = [np.random.default_rng((seed, epoch, index)) for index in indices]
    return np.stack([augment(image, augmentation, g) for image, g in zip(images, generators, strict=True)])


def affine(shape: tuple[int, ...], augmentation: Augmentation, rng: np.random.Generator) -> Affine:
    """A random movement of an image of ``shape`` (height, width): rotate, shear and scale about its centre, shift."""
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
    file = io.BytesIO()
    to_bytes(pixels).save(file, "JPEG", quality=quality)
    return from_bytes(Image.open(file))
