"""A dataset as a whole: what its classes look like on average, and how they differ where no disease is."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from covid_cnn import looks
from covid_cnn.datasets import Dataset
from covid_cnn.errors import ImageError

MEAN_SIZE = 160  # pixels
AT_ONCE = 64  # images
RED, BLUE = np.array((213, 94, 0)), np.array((0, 114, 178))  # Okabe and Ito's, which colour-blind eyes tell apart


def mean_images(
    dataset: Dataset, progress: Callable[[float, str], None] | None = None, size: int = MEAN_SIZE
) -> dict[str, np.ndarray]:
    """The mean of the images of each class, each image stretched to a square first, as a network is given it.

    What is sharp in a mean is at one place in most of its images, as letters and frames are: anatomy blurs.

    Parameters
    ----------
    dataset : images that cannot be read are left out, and so is a class of which none can.
    progress : called with the part done (0..1) and a line about it; what it raises stops the work.
    size : width and height in pixels.

    Returns
    -------
    By class, in the order of `dataset.classes`: float32 ``[size, size]``, 0..1. The difference of two lies in -1..1.
    """
    sums = {label: np.zeros((size, size)) for label in dataset.classes}
    counts = dict.fromkeys(dataset.classes, 0)
    for first in range(0, len(dataset.items), AT_ONCE):
        items = dataset.items[first : first + AT_ONCE]
        for item, small in zip(items, looks.thumbnails([item.path for item in items]), strict=True):
            if not isinstance(small, ImageError):
                sums[item.label] += _square(small, size)
                counts[item.label] += 1
        if progress:
            done = first + len(items)
            progress(done / len(dataset.items), f"Read {done} of {len(dataset.items)} images")
    return {label: (total / (255 * counts[label])).astype(np.float32) for label, total in sums.items() if counts[label]}


def difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Two mean images, float ``[H, W]``, as a picture of where they differ: uint8 ``[H, W, 3]``.

    White where they are equal, red where `one` is brighter and blue where `other` is, full where they differ most.
    """
    share = (one - other) / max(float(np.abs(one - other).max()), 1e-6)
    towards = np.where(share[..., None] > 0, RED, BLUE)
    return np.rint(255 + (towards - 255) * np.abs(share[..., None])).astype(np.uint8)


def _square(small: bytes, size: int) -> np.ndarray:
    with Image.open(io.BytesIO(small)) as picture:
        return np.asarray(picture.convert("L").resize((size, size), Image.Resampling.BILINEAR), np.float64)
