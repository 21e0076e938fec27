"""Whether two images show the same radiograph: pixel for pixel, or nearly, as another file of it does.

Radiographs of one view look alike, so that a close perceptual hash only suggests a copy, and a finer hash of sixteen
times as many bits must confirm it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

THUMBNAIL = 64  # pixels
ENOUGH = 512  # pixels of the shorter side, several times those of whatever is made of it
HASH_BITS = 8  # of 64 that may differ
FREQUENCIES = 32  # of the fine hash, each way
FINE_BYTES = FREQUENCIES**2 // 8
AT_ONCE = 10_000  # pairs that are compared together
# The share of a fine hash that may differ. In NIH ChestX-ray8, ieee8023/covid-chestxray-dataset and the notebook's
# dataset, 16 % at most differ between copies, and 30 % at least between two radiographs. Radiographs that the program
# draws are all of one plan: of 1600, no two differ in less than 13.9 %, and JPEG copies of 80 px and more in 11.7 % at
# most.
SAME, SAME_DRAWN = 0.23, 0.125


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What is kept of an image to compare it by.

    Attributes
    ----------
    size : width, height
    digest : of its pixels
    hash : perceptual (Zauner 2010), 64 bits
    fine : a perceptual hash of `FINE_BYTES`, which tells copies from radiographs that are alike
    thumbnail : uint8 ``[THUMBNAIL, THUMBNAIL]``, the image stretched to a square; empty where there was no room for it
    """

    size: tuple[int, int]
    digest: str
    hash: int
    fine: bytes
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
    return Fingerprint(image.size, digest, int(str(imagehash.phash(coarse)), 16), fine_hash(thumbnail), thumbnail)


def reduced(image: Image.Image) -> Image.Image:
    """A large picture by a whole factor smaller, from which a small one is made in a fraction of the time."""
    factor = min(image.size) // ENOUGH
    return image.reduce(factor) if factor > 1 else image


def fine_hash(thumbnail: np.ndarray) -> bytes:
    """The signs of the lowest cosine coefficients of a thumbnail (Zauner 2010), `FREQUENCIES` each way.

    The mean brightness, which is the first of them, counts as 0.
    """
    from scipy.fft import dctn

    signs = dctn(thumbnail.astype(np.float32))[:FREQUENCIES, :FREQUENCIES] > 0
    signs[0, 0] = False
    return np.packbits(signs).tobytes()


def apart(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The share of the bits that differ between fine hashes, uint8 ``[..., FINE_BYTES]`` each: float ``[...]``."""
    return np.bitwise_count(first ^ second).sum(axis=-1, dtype=np.int64) / (8 * FINE_BYTES)


def as_rows(hashes: Sequence[bytes]) -> np.ndarray:
    """Fine hashes as uint8 ``[N, FINE_BYTES]``."""
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(len(hashes), FINE_BYTES)


def copies(hashes: Sequence[bytes], known: np.ndarray, drawn: Sequence[bool]) -> np.ndarray:
    """Whether each of N images looks the same as one of M others.

    Parameters
    ----------
    hashes : N fine hashes.
    known : the M fine hashes, uint8 ``[M, FINE_BYTES]``.
    drawn : of each of the N, whether it or the others are drawn by the program.

    Returns
    -------
    bool ``[N]``
    """
    rows = as_rows(hashes)
    nearest = [apart(row, known).min(initial=1.0) for row in rows]
    return np.array(nearest) <= np.where(drawn, SAME_DRAWN, SAME)


def near_duplicates(fingerprints: Sequence[Fingerprint], drawn: Sequence[bool] | None = None) -> list[tuple[int, int]]:
    """The pairs of indices, the lower first, of images that look the same; identical ones are among them.

    Parameters
    ----------
    drawn : whether each image is known to be drawn by the program; by default none is. A pair with one of them is
        held to the stricter limit.
    """
    first, second = _close([one.hash for one in fingerprints])
    rows = as_rows([one.fine for one in fingerprints])
    strict = np.zeros(len(fingerprints), bool) if drawn is None else np.asarray(drawn, bool)
    digests = np.array([one.digest for one in fingerprints])
    found: list[tuple[int, int]] = []
    for start in range(0, len(first), AT_ONCE):
        i, j = first[start : start + AT_ONCE], second[start : start + AT_ONCE]
        same = apart(rows[i], rows[j]) <= np.where(strict[i] | strict[j], SAME_DRAWN, SAME)
        same |= digests[i] == digests[j]
        found += zip(i[same].tolist(), j[same].tolist(), strict=True)
    return sorted(found)


def _close(hashes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of indices, int ``[P]`` each, of hashes that differ in at most `HASH_BITS` bits."""
    bits = np.array(hashes, dtype=np.uint64)
    after = [i + 1 + np.flatnonzero(np.bitwise_count(bits[i + 1 :] ^ bits[i]) <= HASH_BITS) for i in range(len(bits))]
    first = np.repeat(np.arange(len(bits)), [len(close) for close in after])
    return first, np.concatenate([*after, np.empty(0, np.intp)]).astype(np.intp)
