"""What each part of the default model adds, by the leave-one-source-out score."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measure, tables
from benchmarks.leave_one_source_out import SOURCES, auroc_without, embeddings
from covid_cnn.data import dataset
from covid_cnn.data.dataset import Item


def main(data: str, cache: Path | None = None) -> None:
    """Leave parts of the default model out. DATA is of ``benchmarks.collections``; CACHE keeps the embeddings."""
    print(tables.markdown(report(data, cache)))


def report(data: str, cache: Path | None = None) -> dict[str, Any]:
    """The table: AUROC of each source left out, for one variant of the network a row."""
    items = list(dataset.open_dataset(data).items)
    rows = []
    for title, made in VARIANTS.items():
        views = made(items, cache)
        found = [auroc_without(source, items, views) for source in SOURCES]
        rows.append([title, str(views.shape[2]), *(cell for one in found for cell in tables.number(one))])
    return tables.finding(
        "What each part adds",
        "COVID-19 against other pneumonia on a source left out of training, as above, with the same ridge penalty. The "
        "intervals are wider than most of the differences: the rows say what was tried, not what is proved.",
        ["Variant", "Features", *(column for source in SOURCES for column in (source, "95 % interval"))],
        rows,
    )


def _parts(*parts: slice, views: int = 1) -> Callable[[list[Item], Path | None], np.ndarray]:
    """The default network with some of its four vectors: of the whole image, and of the three lung zones."""

    def made(items: list[Item], cache: Path | None) -> np.ndarray:
        every = embeddings(items, cache)[:, :views]
        vectors = every.reshape(*every.shape[:2], 4, -1)
        return np.concatenate([_joined(vectors[:, :, part]) for part in parts], axis=2)

    return made


def _joined(vectors: np.ndarray) -> np.ndarray:
    return vectors.reshape(*vectors.shape[:2], -1)


def _lungs_as_one(items: list[Item], cache: Path | None) -> np.ndarray:
    every = embeddings(items, cache)[:, :1]
    return every.reshape(*every.shape[:2], 4, -1)[:, :, 1:].mean(axis=2)


WHOLE, ZONES = slice(0, 1), slice(1, 4)
VARIANTS: dict[str, Callable[[list[Item], Path | None], np.ndarray]] = {
    "All of EfficientNet-Lite0, whole image": lambda items, cache: embeddings(
        items, cache, "efficientnet_lite0", "none", 1
    ),
    "Five of its seven stages (the 4th and 5th), whole image": _parts(WHOLE),
    "The same, lungs only": _lungs_as_one,
    "The same, lungs only, in three zones": _parts(ZONES),
    "Whole image and three zones": _parts(WHOLE, ZONES),
    "**The same, and mirrored: what ships**": _parts(WHOLE, ZONES, views=2),
    "With three strong variations (exposure, blur, noise, letters) instead of the mirror image": (
        lambda items, cache: embeddings(items, cache, augmentation="hospitals", views=4)
    ),
}


if __name__ == "__main__":
    measure.run(main)
