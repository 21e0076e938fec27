"""Random variations of a training image. Stateless: the generator decides all, so an epoch can be made again."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image


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
    flip : mirror left and right, half of the time
    """

    rotation: float = 0.0
    shear: float = 0.0
    zoom: float = 0.0
    shift: float = 0.0
    contrast: float = 0.0
    gamma: float = 0.0
    flip: bool = False


AUGMENTATIONS = {
    "none": Augmentation(),
    # The notebook's own; its shear_range=0.2 meant a fifth of a degree.
    "notebook": Augmentation(shear=0.2, zoom=0.2, flip=True),
    # What differs between two takes of one patient. No mirroring: it would put the heart on the wrong side.
    "radiograph": Augmentation(rotation=7, zoom=0.1, shift=0.05, contrast=0.2, gamma=0.25),
}


def augment(image: np.ndarray, augmentation: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """A random variation of one image, float32 ``[H, W, 1]`` 0..1, of the same shape, type and range.

    Pixels that come from outside the image repeat its border.
    """
    pixels = _transform(image[..., 0], augmentation, rng)
    contrast = 1 + augmentation.contrast * rng.uniform(-1, 1)
    gamma = 1 + augmentation.gamma * rng.uniform(-1, 1)
    mean = pixels.mean()
    pixels = np.clip((pixels - mean) * contrast + mean, 0, 1) ** np.float32(gamma)
    return pixels.astype(np.float32)[..., None]


def _transform(pixels: np.ndarray, augmentation: Augmentation, rng: np.random.Generator) -> np.ndarray:
    height, width = pixels.shape
    angle = math.radians(augmentation.rotation * rng.uniform(-1, 1))
    shear = math.tan(math.radians(augmentation.shear * rng.uniform(-1, 1)))
    scale_x, scale_y = 1 + augmentation.zoom * rng.uniform(-1, 1, 2)
    shift_x, shift_y = augmentation.shift * rng.uniform(-1, 1, 2) * (width, height)
    if augmentation.flip and rng.random() < 0.5:
        scale_x = -scale_x
    # Pillow asks where each output pixel comes from: rotate, shear and scale about the centre, then shift.
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    matrix = rotation @ np.array([[1, shear], [0, 1]]) @ np.diag([scale_x, scale_y])
    centre = np.array([width / 2, height / 2])
    # The border is repeated by padding first, so that no black frame tells an augmented image.
    pad = max(height, width) // 2
    padded = Image.fromarray(np.pad(pixels, pad, mode="edge"))
    offset = centre + (shift_x, shift_y) - matrix @ centre + pad
    data = (matrix[0, 0], matrix[0, 1], offset[0], matrix[1, 0], matrix[1, 1], offset[1])
    moved = padded.transform((width, height), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
    return np.asarray(moved, np.float32)
