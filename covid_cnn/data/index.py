"""An index of the images of a dataset: size, greys, thumbnail and perceptual hash of each, kept between sessions."""

import hashlib
import io
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import numpy as np
from msgspec import Struct, msgpack
from msgspec.structs import replace
from PIL import Image

from covid_cnn.common.errors import ImageError
from covid_cnn.common.jobs import Progress, unwatched
from covid_cnn.common.storage import Cache
from covid_cnn.data.dataset import Item
from covid_cnn.images.radiograph import Radiograph
from covid_cnn.images.reader import read_ahead

COMPARED_SIDE = 64  # pixels
ENOUGH = 512  # pixels of the shorter side, several times those of whatever is made of it
FREQUENCIES = 32  # of the fine hash, each way
FINE_BYTES = FREQUENCIES**2 // 8
# The share of a fine hash that may differ. In NIH ChestX-ray8, ieee8023/covid-chestxray-dataset and the notebook's
# dataset, 16 % at most differ between copies, and 30 % at least between two radiographs. Radiographs that the program
# draws are all of one plan: of 1600, no two differ in less than 13.9 %, and JPEG copies of 80 px and more in 11.7 % at
# most.
SAME, SAME_DRAWN = 0.23, 0.125


class PerceptualHash(Struct, frozen=True):
    """What an image is compared by: a perceptual hash, a digest of the pixels, a thumbnail."""

    size: tuple[int, int]  # width, height
    digest: str  # of its pixels
    fine: bytes  # a perceptual hash (Zauner 2010) of `FINE_BYTES`, which tells copies from radiographs that are alike
    # Uint8 ``[THUMBNAIL, THUMBNAIL]``, the image stretched to a square; empty where there was no room for it
    thumbnail: np.ndarray


def perceptual_hash(pixels: np.ndarray) -> PerceptualHash:
    """The fingerprint of a radiograph, float32 ``[height, width]``, 0..1."""
    return perceptual_hash_of(to_grey(pixels))


def to_grey(pixels: np.ndarray) -> Image.Image:
    """A radiograph, float32 ``[height, width]``, 0..1, as an 8-bit greyscale picture."""
    scaled = pixels * 255
    return Image.fromarray(np.rint(scaled, out=scaled).astype(np.uint8))  # half the time of one more array


def perceptual_hash_of(image: Image.Image) -> PerceptualHash:
    """The fingerprint of a radiograph that is an 8-bit greyscale picture already."""
    coarse = reduce(image)
    thumbnail = np.asarray(coarse.resize((COMPARED_SIDE, COMPARED_SIDE), Image.Resampling.BOX))
    digest = hashlib.sha256(f"{image.width} {image.height} ".encode() + image.tobytes()).hexdigest()
    return PerceptualHash(image.size, digest, fine_hash(thumbnail), thumbnail)


def reduce(image: Image.Image) -> Image.Image:
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


def hash_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The share of the bits that differ between fine hashes, uint8 ``[..., FINE_BYTES]`` each: float ``[...]``."""
    return np.bitwise_count((first ^ second).view(np.uint64)).sum(axis=-1, dtype=np.int64) / (8 * FINE_BYTES)


def stack_hashes(hashes: Sequence[bytes]) -> np.ndarray:
    """Fine hashes as uint8 ``[N, FINE_BYTES]``."""
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(len(hashes), FINE_BYTES)


def find_copies(hashes: Sequence[bytes], known: np.ndarray, drawn: Sequence[bool]) -> np.ndarray:
    """Whether each of N images looks the same as one of M others, by their fine hashes: bool ``[N]``.

    The others are ``known``, uint8 ``[M, FINE_BYTES]``; ``drawn`` says of each of the N whether it or the others are
    drawn by the program.
    """
    rows = stack_hashes(hashes)
    nearest = [hash_distance(row, known).min(initial=1.0) for row in rows]
    return np.array(nearest) <= np.where(drawn, SAME_DRAWN, SAME)


def find_near_duplicates(
    fingerprints: Sequence[PerceptualHash], drawn: Sequence[bool] | None = None
) -> list[tuple[int, int]]:
    """The pairs of indices, the lower first, of images that look the same; identical ones are among them.

    ``drawn`` says which are known to be drawn by the program, by default none: a pair with one of them is held to the
    stricter limit.
    """
    rows = stack_hashes([one.fine for one in fingerprints])
    strict = np.zeros(len(fingerprints), bool) if drawn is None else np.asarray(drawn, bool)
    pairs: list[tuple[int, int]] = []
    for i, row in enumerate(rows):
        limits = np.where(strict[i + 1 :] | strict[i], SAME_DRAWN, SAME)
        alike = np.flatnonzero(hash_distance(rows[i + 1 :], row) <= limits)
        pairs += [(i, i + 1 + int(j)) for j in alike]
    return pairs


KIND, THUMBNAIL_LONGEST = "record 2", "thumbnail 2"  # what is kept; another number once a version keeps something else
GALLERY_SIDE = 160  # pixels, longest side of a thumbnail
_NOTHING = np.empty((0, 0), np.uint8)


class ImageRecord(Struct, frozen=True):
    """What is kept of an image."""

    file: str  # SHA-256 of the file's content
    fingerprint: PerceptualHash  # what to compare it by; holds its size
    format: str  # of the file, such as "JPEG"
    # Mean and standard deviation of its pixels, 0..1
    brightness: float
    contrast: float
    synthetic: bool  # whether the program drew it
    warnings: tuple[str, ...] = ()  # what reading it warned of, one sentence each

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.fingerprint.size


def index_images(
    files: Sequence[Path],
    progress: Progress = unwatched,
    thumbnails: bool = True,
) -> list[ImageRecord | ImageError]:
    """Measure each image file, in order, or take what is kept of it; an image that cannot be read gives its error.

    What was found is kept where ``progress`` stops the work. Without ``thumbnails`` the records hold none: they are
    most of a record's memory, which counts with thousands.
    """
    records: list[ImageRecord | ImageError] = []
    for kept in _kept_of(files, KIND):
        record = kept if isinstance(kept, ImageError) else _DECODER.decode(kept)
        if not thumbnails and isinstance(record, ImageRecord):
            record = replace(record, fingerprint=replace(record.fingerprint, thumbnail=_NOTHING))
        records.append(record)
        progress(len(records) / len(files), f"Read {len(records)} of {len(files)} images")
    return records


def index_items(
    items: Sequence[Item], progress: Progress = unwatched, thumbnails: bool = False
) -> list[tuple[Item, ImageRecord]]:
    """The items whose images can be read, each with its record; otherwise as `index_images`."""
    records = index_images([item.path for item in items], progress, thumbnails)
    return [(item, record) for item, record in zip(items, records, strict=True) if isinstance(record, ImageRecord)]


def load_thumbnails(files: Sequence[Path]) -> list[bytes | ImageError]:
    """A small JPEG of each image file, at most `GALLERY_SIDE` px a side, in proportion; or why there is none."""
    return list(_kept_of(files, THUMBNAIL_LONGEST))


def make_thumbnail(pixels: np.ndarray) -> bytes:
    """A small JPEG of a radiograph, float32 ``[H, W]`` 0..1, at most `GALLERY_SIDE` px a side."""
    return _thumbnail_of(to_grey(pixels))


def _kept_of(files: Sequence[Path], kind: str) -> Iterator[bytes | ImageError]:
    """What is kept of each file, its record or its thumbnail; where that is lacking, both are made at one reading."""
    store, other = Cache(), THUMBNAIL_LONGEST if kind == KIND else KIND

    def measure(lacking: list[Path], digests: dict[Path, str]) -> Generator[bytes | ImageError, None, None]:
        beside: dict[str, bytes] = {}
        try:
            for file, result in zip(lacking, read_ahead(lacking, _record), strict=True):
                if isinstance(result, ImageError):
                    yield result
                    continue
                record, small = result
                digest = digests.get(file, "")
                both = {KIND: _ENCODER.encode(replace(record, file=digest)), THUMBNAIL_LONGEST: small}
                if digest:
                    beside[digest] = both[other]
                yield both[kind]
        finally:
            store.put(other, beside)

    return store.complete(kind, files, measure)


def _record(radiograph: Radiograph) -> tuple[ImageRecord, bytes]:
    grey = to_grey(radiograph.pixels)
    counts = np.array(grey.histogram())
    values = np.arange(len(counts)) / 255
    brightness = float(np.average(values, weights=counts))
    record = ImageRecord(
        file="",
        fingerprint=perceptual_hash_of(grey),
        format=radiograph.origin.split(",")[0],
        brightness=round(brightness, 6),
        contrast=round(float(np.sqrt(np.average((values - brightness) ** 2, weights=counts))), 6),
        synthetic=radiograph.synthetic,
        warnings=radiograph.warnings,
    )
    return record, _thumbnail_of(grey)


def _thumbnail_of(image: Image.Image) -> bytes:
    coarse = reduce(image)
    scale = GALLERY_SIDE / max(coarse.size)
    small = coarse.resize([max(1, round(scale * side)) for side in coarse.size], Image.Resampling.BILINEAR)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=88)
    return file.getvalue()


def _pixels(kind: type, content: bytes) -> np.ndarray:
    """A thumbnail from what is kept of it."""
    return np.frombuffer(content, np.uint8).reshape(COMPARED_SIDE, COMPARED_SIDE)


_ENCODER = msgpack.Encoder(enc_hook=np.ndarray.tobytes)
_DECODER = msgpack.Decoder(ImageRecord, dec_hook=_pixels)
