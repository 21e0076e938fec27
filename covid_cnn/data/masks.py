"""Tells masks, drawn to show where something is, from the radiographs that they lie beside."""

import functools
import io
import re
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from covid_cnn.data.tree import File, Tree

_MASKS = re.compile(r"masks?(?![a-z])", re.IGNORECASE)  # in the name of a folder or file
_PERHAPS = re.compile(
    r"(?<![a-z])(segs?|segmentations?|ground[ _-]?truths?|gts?|annotations?|labels?|contours?|rois?)(?![a-z])",
    re.IGNORECASE,
)
_ADDED = re.compile(r"(?<=.)[ _.-]")  # where what was added to a name may begin
_SMALLER = 0.4  # of the size of a radiograph's file: what a mask, which compresses well, has at most
_SAMPLE = 3  # images of a folder that tell what the others are
_TWO_GREYS = 0.99  # share of the pixels of a mask that have one of its two greys; the others are blurred edges
_MOST_BYTES = 8 * 2**20  # of a file that is looked into


def find_masks(tree: Tree, images: Collection[PurePosixPath]) -> set[PurePosixPath]:
    """Those of the images that are masks.

    Told by the word in the name of their folder, or in their own where it is otherwise that of an image beside them;
    and by having two greys alone, which is looked for where a folder is called by another word for it, where images
    have the names of those in a folder beside theirs, and where a file is far smaller than most.
    """
    masks = {place for place in images if any(map(_MASKS.search, place.parts[:-1]))}
    stems = {place.stem.casefold() for place in images}
    masks |= {place for place in images if (mark := _MASKS.search(place.stem)) and _unmarked(place.stem, mark) in stems}
    rest = [place for place in images if place not in masks]
    if not rest or len(rest) < len(images):
        return masks
    sizes = sorted(tree.files[place].size for place in rest)
    small = _SMALLER * sizes[3 * len(sizes) // 4]
    masks |= {place for place in rest if tree.files[place].size < small and _has_two_greys(tree, place)}
    suspects = [place for place in _suspects(rest) if place not in masks]
    for folder in {place.parent for place in suspects}:
        own = sorted(place for place in suspects if place.parent == folder)
        sample = own[:: max(1, len(own) // _SAMPLE)][:_SAMPLE]
        if sum(_has_two_greys(tree, place) for place in sample) * 2 > len(sample):
            masks |= {place for place in own if _has_two_greys(tree, place)}
    return masks


def _unmarked(stem: str, mark: re.Match[str]) -> str:
    return (stem[: mark.start()].rstrip(" _-.") + stem[mark.end() :].lstrip(" _-.")).casefold()


def _suspects(images: list[PurePosixPath]) -> list[PurePosixPath]:
    """Images that may be masks by their names.

    Those in folders that are called as those of masks are; whose names images in a folder beside theirs have; and whose
    names are those of an image beside them with something added, such as 1_m.jpg beside 1.jpg.
    """
    folders: dict[tuple[PurePosixPath, str], set[str]] = defaultdict(set)
    for place in images:
        folders[place.parent.parent, place.stem.casefold()].add(place.parent.name)
    stems = {place.with_suffix("") for place in images}
    return [
        place
        for place in images
        if any(map(_PERHAPS.search, place.parts[:-1]))
        or (place.parent.name and len(folders[place.parent.parent, place.stem.casefold()]) > 1)
        or any(place.parent / place.stem[: end.start()] in stems for end in _ADDED.finditer(place.stem))
    ]


def _has_two_greys(tree: Tree, place: PurePosixPath) -> bool:
    file = tree.files[place]
    root = getattr(tree, "root", None)
    if file.size > _MOST_BYTES:
        return False
    if root is not None:  # looked at once in the life of the program: datasets are opened again and again
        return _looked_up(str(root / place), file)
    return _two_greys(b"".join(tree.pieces(place)))


@functools.lru_cache(maxsize=100_000)
def _looked_up(path: str, file: File) -> bool:
    try:
        return _two_greys(Path(path).read_bytes())
    except OSError:
        return False


def _two_greys(data: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "BMP", "TIFF", "WEBP")) as picture:
            if picture.width * picture.height > 20_000_000:
                return False
            counts = np.array(picture.convert("L").histogram())
    except Exception:  # damaged, or none at all: whoever reads it tells
        return False
    there = np.flatnonzero(counts)
    if len(there) < 2:
        return False
    width = max(1, (there[-1] - there[0]) // 8)  # JPEG blurs the edges
    dark, bright = counts[: there[0] + width].sum(), counts[there[-1] - width + 1 :].sum()
    return bool(dark + bright >= _TWO_GREYS * counts.sum() and min(dark, bright) > 0)
