"""One look at each image of a dataset: what browsing, overview and audit need of it, read once and kept.

An image is decoded once in its life: what is kept is found again by the digest of the file's content.
"""

import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from covid_cnn import likeness
from covid_cnn.errors import ImageError
from covid_cnn.imaging import Radiograph
from covid_cnn.likeness import Fingerprint
from covid_cnn.reading import read_ahead
from covid_cnn.store import Store

KIND, SMALL = "look 3", "thumbnail 2"  # what is kept; another number once a version keeps something else
SMALL_SIDE = 160  # pixels, longest side of a thumbnail
_NOTHING = np.empty((0, 0), np.uint8)
AT_ONCE = 64  # images after which what was found is kept, so that a stop loses no more


@dataclass(frozen=True, slots=True)
class Look:
    """What is kept of an image.

    Attributes
    ----------
    file : SHA-256 of the file's content.
    print : what to compare it by; holds its size.
    format : of the file, such as "JPEG".
    brightness, contrast : mean and standard deviation of its pixels, 0..1.
    synthetic : whether the program drew it.
    warnings : what reading it warned of, one sentence each.
    """

    file: str
    print: Fingerprint
    format: str
    brightness: float
    contrast: float
    synthetic: bool
    warnings: tuple[str, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.print.size


def of(
    files: Sequence[Path],
    progress: Callable[[float, str], None] | None = None,
    store: Store | None = None,
    thumbnails: bool = True,
) -> list[Look | ImageError]:
    """A look at each image file, in order; for one that cannot be read, its error.

    Parameters
    ----------
    files : image files.
    progress : called with the part done (0..1) and a line about it; what it raises stops the work, and what was
        found until then is kept.
    store : where looks are kept; the program's own by default.
    thumbnails : whether the fingerprints hold theirs. They are most of a look, and thousands of them are held.
    """
    store = store or Store()
    looks: list[Look | ImageError] = []
    for first in range(0, len(files), AT_ONCE):
        for look in _look_at(files[first : first + AT_ONCE], store):
            looks.append(look if thumbnails or isinstance(look, ImageError) else _without_thumbnail(look))
            if progress:
                progress(len(looks) / len(files), f"Read {len(looks)} of {len(files)} images")
    return looks


def thumbnails(files: Sequence[Path], store: Store | None = None) -> list[bytes | ImageError]:
    """A small JPEG of each image file, at most `SMALL_SIDE` px a side, in its own proportions; or why there is none."""
    store = store or Store()
    looks = list(_look_at(files, store))
    kept = store.get(SMALL, [look.file for look in looks if isinstance(look, Look)])
    lost = [file for file, look in zip(files, looks, strict=True) if isinstance(look, Look) and look.file not in kept]
    made = dict(
        zip(lost, read_ahead(lost, lambda radiograph: _thumbnail(likeness.grey(radiograph.pixels))), strict=True)
    )
    return [
        look if isinstance(look, ImageError) else made[file] if file in made else kept[look.file]
        for file, look in zip(files, looks, strict=True)
    ]


def _look_at(files: Sequence[Path], store: Store) -> Iterator[Look | ImageError]:
    """A look at each file, from the store or else at the image itself, and then kept."""
    digests = store.file_digests(files)
    kept = store.get(KIND, list(digests.values()))
    unknown = [file for file in files if digests.get(file) not in kept]
    fresh = read_ahead(unknown, _look)
    found: dict[str, tuple[Look, bytes]] = {}
    try:
        for file in files:
            digest = digests.get(file, "")
            if digest in kept:
                yield _decoded(digest, kept[digest])
                continue
            result = next(fresh)
            if isinstance(result, ImageError):
                yield result
            else:
                look, small = replace(result[0], file=digest), result[1]
                found[digest] = look, small
                yield look
    finally:
        found.pop("", None)  # vanished between hashing and reading
        store.put(SMALL, {digest: small for digest, (_, small) in found.items()})
        store.put(KIND, {digest: _encoded(look) for digest, (look, _) in found.items()})


def _without_thumbnail(look: Look) -> Look:
    return replace(look, print=replace(look.print, thumbnail=_NOTHING))


def _look(radiograph: Radiograph) -> tuple[Look, bytes]:
    grey = likeness.grey(radiograph.pixels)
    counts = np.array(grey.histogram())
    values = np.arange(len(counts)) / 255
    brightness = float(np.average(values, weights=counts))
    look = Look(
        file="",
        print=likeness.fingerprint_of(grey),
        format=radiograph.origin.split(",")[0],
        brightness=round(brightness, 6),
        contrast=round(float(np.sqrt(np.average((values - brightness) ** 2, weights=counts))), 6),
        synthetic=radiograph.synthetic,
        warnings=radiograph.warnings,
    )
    return look, _thumbnail(grey)


def _thumbnail(image: Image.Image) -> bytes:
    coarse = likeness.reduced(image)
    scale = SMALL_SIDE / max(coarse.size)
    small = coarse.resize([max(1, round(scale * side)) for side in coarse.size], Image.Resampling.BILINEAR)
    file = io.BytesIO()
    small.save(file, "JPEG", quality=88)
    return file.getvalue()


def _encoded(look: Look) -> bytes:
    told = asdict(replace(look, print=replace(look.print, thumbnail=None)))  # type: ignore[arg-type]
    told["print"]["fine"] = look.print.fine.hex()
    return json.dumps(told).encode() + b"\n" + look.print.thumbnail.tobytes()


def _decoded(digest: str, blob: bytes) -> Look:
    words, _, small = blob.partition(b"\n")
    told = json.loads(words)
    side = likeness.THUMBNAIL
    facts = told.pop("print") | {"thumbnail": np.frombuffer(small, np.uint8).reshape(side, side)}
    facts |= {"size": tuple(facts["size"]), "fine": bytes.fromhex(facts["fine"])}
    return Look(**told | {"file": digest, "print": Fingerprint(**facts), "warnings": tuple(told["warnings"])})
