"""Whether two images show the same radiograph: pixel for pixel, or nearly, as another file of it does.

Radiographs of one view look alike, so that a close perceptual hash only suggests a copy, and the fine structure of
the thumbnails (what a blur takes away) must confirm it.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

THUMBNAIL = 64  # pixels
ENOUGH = 512  # pixels of the shorter side, several times those of whatever is made of it
# Pairs with a close hash in NIH ChestX-ray8 and ieee8023/covid-chestxray-dataset correlate above 0.8 when one is a
# copy of the other, and below 0.63 when they are two radiographs.
HASH_BITS = 8
BLUR = 2
CORRELATION = 0.75


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What is kept of an image to compare it by.

    Attributes
    ----------
    size : width, height
    digest : of its pixels
    hash : perceptual (Zauner 2010), 64 bits
    thumbnail : uint8 ``[THUMBNAIL, THUMBNAIL]``, the image stretched to a square; empty where there was no room for it
    """

    size: tuple[int, int]
    digest: str
    hash: int
    thumbnail: np.ndarray


def fingerprint(pixels: np.ndarray) -> Fingerprint:
    """The fingerprint of a radiograph, float32 ``[height, width]``, 0..1."""
    return fingerprint_of(grey(pixels))


def grey(pixels: np.ndarray) -> Image.Image:
    """A radiograph, float32 ``[height, width]``, 0..1, as an 8-bit greyscale picture."""
    scaled = pixels * 255
    return Image.fromarray(np.rint(scaled, out=scaled).astype(np.uint8))  # half the time of one more array


def fingerprint_of(image: Image.Image) -> Fingerprint:
    """The fingerprint of a radiograph that is an 8-bit greyscale picture already."""
    import imagehash

    coarse = reduced(image)
    thumbnail = np.asarray(coarse.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX))
    digest = hashlib.sha256(f"{image.width} {image.height} ".encode() + image.tobytes()).hexdigest()
    return Fingerprint(image.size, digest, int(str(imagehash.phash(coarse)), 16), thumbnail)


def reduced(image: Image.Image) -> Image.Image:
    """A large picture by a whole factor smaller, from which a small one is made in a fraction of the time."""
    factor = min(image.size) // ENOUGH
    return image.reduce(factor) if factor > 1 else image


def details(thumbnails: np.ndarray) -> np.ndarray:
    """The fine structure of N thumbnails, ``[N, THUMBNAIL, THUMBNAIL]``: float32 ``[N, THUMBNAIL ** 2]``, each row of
    mean 0 and norm 1."""
    pixels = thumbnails.astype(np.float32)
    rows = (pixels - gaussian_filter(pixels, (0, BLUR, BLUR))).reshape(len(pixels), -1)
    rows -= rows.mean(axis=1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)


def near_duplicates(
    fingerprints: Sequence[Fingerprint], thumbnails: Callable[[Sequence[int]], np.ndarray] | None = None
) -> list[tuple[int, int]]:
    """The pairs of indices, the lower first, of images that look the same; identical ones are among them.

    Parameters
    ----------
    thumbnails : the thumbnails of some indices, where the fingerprints hold none; it is asked for those alone whose
        hash is close to another's.
    """
    thumbnails = thumbnails or (lambda some: np.stack([fingerprints[i].thumbnail for i in some]))
    first, second = _close([one.hash for one in fingerprints])
    links = csr_array((np.ones(len(first), bool), (first, second)), shape=(len(fingerprints),) * 2)
    _, group_of = connected_components(links, directed=False)
    found = []
    order = np.argsort(group_of[first], kind="stable")
    # One group after another, so that no more details are held than those of the largest.
    for pairs in np.split(order, np.flatnonzero(np.diff(group_of[first[order]])) + 1) if len(order) else []:
        members, places = np.unique([first[pairs], second[pairs]], return_inverse=True)
        fine = details(thumbnails(members.tolist()))
        for i, j, a, b in zip(first[pairs], second[pairs], *places.reshape(2, -1), strict=True):
            if fingerprints[i].digest == fingerprints[j].digest or fine[a] @ fine[b] >= CORRELATION:
                found.append((int(i), int(j)))
    return sorted(found)


def _close(hashes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of indices, int ``[P]`` each, of hashes that differ in at most `HASH_BITS` bits."""
    bits = np.array(hashes, dtype=np.uint64)
    after = [i + 1 + np.flatnonzero(np.bitwise_count(bits[i + 1 :] ^ bits[i]) <= HASH_BITS) for i in range(len(bits))]
    first = np.repeat(np.arange(len(bits)), [len(close) for close in after])
    return first, np.concatenate([*after, np.empty(0, np.intp)]).astype(np.intp)
