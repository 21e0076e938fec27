"""Whether two images show the same radiograph: pixel for pixel, or nearly, as another file of it does.

Radiographs of one view look alike, so that a close perceptual hash only suggests a copy, and the fine structure of
the thumbnails (what a blur takes away) must confirm it.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

THUMBNAIL = 64  # pixels
# Pairs with a close hash in NIH ChestX-ray8 and ieee8023/covid-chestxray-dataset correlate above 0.8 when one is a
# copy of the other, and below 0.63 when they are two radiographs.
HASH_BITS = 8
BLUR = 2
CORRELATION = 0.75


@dataclass(frozen=True)
class Fingerprint:
    """What is kept of an image to compare it by.

    Attributes
    ----------
    size : width, height
    digest : of its pixels
    hash : perceptual (Zauner 2010), 64 bits
    thumbnail : uint8 ``[THUMBNAIL, THUMBNAIL]``, the image stretched to a square
    """

    size: tuple[int, int]
    digest: str
    hash: int
    thumbnail: np.ndarray

    @property
    def detail(self) -> np.ndarray:
        """The fine structure of the thumbnail: float32 ``[THUMBNAIL ** 2]``, mean 0, norm 1."""
        thumbnail = self.thumbnail.astype(np.float32)
        detail = (thumbnail - gaussian_filter(thumbnail, BLUR)).ravel()
        detail -= detail.mean()
        return detail / max(float(np.linalg.norm(detail)), 1e-6)


def fingerprint(pixels: np.ndarray) -> Fingerprint:
    """The fingerprint of a radiograph, float32 ``[height, width]``, 0..1."""
    import imagehash

    height, width = pixels.shape
    image = Image.fromarray(np.rint(pixels * 255).astype(np.uint8))
    thumbnail = np.asarray(image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX))
    digest = hashlib.sha256(f"{width} {height} ".encode() + image.tobytes()).hexdigest()
    return Fingerprint((width, height), digest, int(str(imagehash.phash(image)), 16), thumbnail)


def near_duplicates(fingerprints: Sequence[Fingerprint]) -> Iterator[tuple[int, int]]:
    """The pairs of indices, the lower first, of images that look the same; identical ones are among them."""
    hashes = np.array([one.hash for one in fingerprints], dtype=np.uint64)
    for i, one in enumerate(fingerprints):
        close = np.flatnonzero(np.bitwise_count(hashes[i + 1 :] ^ hashes[i]) <= HASH_BITS)
        detail = one.detail if close.size else None
        for j in (i + 1 + close).tolist():
            if one.digest == fingerprints[j].digest or detail @ fingerprints[j].detail >= CORRELATION:
                yield i, j
