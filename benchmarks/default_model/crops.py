"""What the network is shown of each image: the crop to the lungs, made once and kept.

Two crops of every image: the one that the network sees when it is asked, and a wider one that a training may move,
turn and zoom in without coming to its edge, at about the same pixels for each part of the lungs.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.default_model import lung_layers
from covid_cnn.common.errors import ImageError
from covid_cnn.images import ops
from covid_cnn.images.reader import read_ahead

INPUT = (384, 384)  # of the bundle
SIZE, WIDE = 224, 256  # pixels of what the network sees, and of the wider crop
MARGIN, WIDE_MARGIN = 0.12, 0.20  # shares of the lungs' box, added on every side
BATCH = 32


@dataclass(frozen=True)
class Crops:
    """The crops of N images.

    Attributes
    ----------
    exact : uint8 ``[N, SIZE, SIZE]``, as the network sees them
    wide : uint8 ``[N, WIDE, WIDE]``
    lung : uint8 ``[N, SIZE, SIZE]``, the probability of lung in the exact crop
    boxes : float32 ``[N, 4]``, top, bottom, left and right of the exact crop, 0..1
    """

    exact: np.ndarray
    wide: np.ndarray
    lung: np.ndarray
    boxes: np.ndarray

    def part(self, chosen: np.ndarray) -> "Crops":
        """Those of the chosen images, by index or mask."""
        return Crops(*(values[chosen] for values in vars(self).values()))


def load(files: Sequence[Path], cache: Path | None = None) -> Crops:
    """The crops of the images in ``files``; a folder ``cache`` keeps them."""
    key = hashlib.sha256("\n".join(map(str, files)).encode()).hexdigest()[:12]
    kept = cache / f"crops-{SIZE}-{MARGIN}-{key}.npz" if cache else None
    if kept and kept.is_file():
        with np.load(kept) as stored:
            return Crops(**stored)
    crops = _make(files)
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.savez(kept, **vars(crops))
    return crops


def _make(files: Sequence[Path]) -> Crops:
    segmenter, box = lung_layers.trained_segmenter(), lung_layers.Box(margin=MARGIN)
    parts: dict[str, list[np.ndarray]] = {"exact": [], "wide": [], "lung": [], "boxes": []}
    for images in _batches(files):
        mask = segmenter(images.reshape(-1, 128, 3, 128, 3, 1).mean(axis=(2, 4)), training=False)
        boxes = np.array(box(mask))
        wide = _stretched(np.array(lung_layers.Crop(WIDE, WIDE)(images, _wider(boxes))))
        exact = np.array(lung_layers.Tone()(lung_layers.Crop(SIZE, SIZE)(images, boxes)))
        lung = np.array(lung_layers.Crop(SIZE, SIZE)(mask, boxes))
        for name, values in (("exact", exact), ("wide", wide), ("lung", lung)):
            parts[name].append(np.rint(values[..., 0] * 255).astype(np.uint8))
        parts["boxes"].append(boxes)
    return Crops(**{name: np.concatenate(values) for name, values in parts.items()})


def _batches(files: Sequence[Path]):
    batch: list[np.ndarray] = []
    for image in read_ahead(files, lambda radiograph: ops.prepare(radiograph.pixels, INPUT)):
        if isinstance(image, ImageError):
            raise image
        batch.append(image)
        if len(batch) == BATCH:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)


def _wider(boxes: np.ndarray) -> np.ndarray:
    """The boxes with the wider margin; what is the whole image already grows beyond it, where its border repeats."""
    height, width = boxes[:, 1] - boxes[:, 0], boxes[:, 3] - boxes[:, 2]
    more = (WIDE_MARGIN - MARGIN) / (1 + 2 * MARGIN)
    growth = np.stack([-height, height, -width, width], axis=1)
    return (boxes + more * growth).astype(np.float32)


def _stretched(images: np.ndarray) -> np.ndarray:
    """Images ``[N, H, W, 1]`` between their darkest and lightest thousandth, as 0..1."""
    black, white = np.percentile(images, (0.1, 99.9), axis=(1, 2, 3), keepdims=True)
    return np.clip((images - black) / np.maximum(white - black, 1e-3), 0, 1)
