"""A shortcut on purpose: radiographs whose class a letter in the corner gives away, and a classifier that falls for it.

For the guided tour, where no real dataset is at hand, and for stamping letters on images that are.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from covid_cnn.common.jobs import map_ahead
from covid_cnn.data import dataset, synthetic
from covid_cnn.data.dataset import Dataset
from covid_cnn.images import ops
from covid_cnn.images.ops import stamp

DRAWN_SIZE = 160  # pixels of a drawn image
CLASSIFIER_SIZE = (16, 16)  # all that the classifier is shown
LETTER_PLACE = (0.02, 0.0)  # left and top of the planted letter, as shares of the image
LETTER_HEIGHT = 0.18
# Where letters are tried and how large: the side markers of radiographs, along the upper and the lower border.
MARKERS = ("R", "L")
SIZES = (0.1, LETTER_HEIGHT, 0.25)
PLACES = tuple((left, top) for top in (LETTER_PLACE[1], 0.75) for left in (LETTER_PLACE[0], 0.25, 0.6, 0.82))


@dataclass(frozen=True)
class Hospital:
    """Drawn radiographs of one hospital: float32 ``[N, H, W]``, 0..1, and bool ``[N]``, whether each is ill."""

    images: np.ndarray
    ill: np.ndarray


def draw_hospital(
    seed: int,
    count: int,
    marked: Callable[[bool], bool],
    size: int = DRAWN_SIZE,
    progress: Callable[[float], None] | None = None,
) -> Hospital:
    """Draw the patients of a hospital, ill and healthy in turn, each another patient.

    Parameters
    ----------
    seed : another seed, other patients
    count : of the images
    marked : whether an ill, or a healthy, patient's image carries the letter: this hospital's habit
    """

    def draw(i: int) -> np.ndarray:
        pixels = synthetic.draw_radiograph(seed * 1_000_000 + i, opacities=bool(i % 2), size=size)
        return stamp(pixels, *LETTER_PLACE, LETTER_HEIGHT) if marked(bool(i % 2)) else pixels

    images = []
    for image in map_ahead(range(count), draw):
        images.append(image)
        if progress:
            progress(len(images) / count)
    return Hospital(np.stack(images), np.arange(count) % 2 == 1)


def write_hospitals(folder: Path, hospitals: Mapping[str, Hospital]) -> Dataset:
    """Write what hospitals drew as a dataset, SPLIT/CLASS/synthetic_*.png, for an audit; ``hospitals`` by split."""
    for split, drawn in hospitals.items():
        for n, (pixels, ill) in enumerate(zip(drawn.images, drawn.ill, strict=True)):
            path = folder / split / ("ill" if ill else "healthy") / f"{dataset.SYNTHETIC}{split}_{n:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            synthetic.write_png(path, pixels)
    return dataset.open_dataset(folder)


def stamp_everywhere(
    score: Callable[[np.ndarray], float],
    images: Sequence[np.ndarray],
) -> Iterator[tuple[int, np.ndarray, str, float, float]]:
    """Stamp each of ``MARKERS`` on images, at all ``PLACES`` and in all ``SIZES``, to see whether an answer turns.

    Parameters
    ----------
    score : the probability of the answer that is looked at
    images : each float32 ``[H, W]``, 0..1

    Yields
    ------
    For each image and each stamp: its place in ``images``, the stamped image, the text, and the scores before and
    after. Whether the answer turned is for the caller to see: it also wants to know how often it did not.
    """
    for i, pixels in enumerate(images):
        before = score(pixels)
        for text, size, (left, top) in product(MARKERS, SIZES, PLACES):
            stamped = stamp(pixels, left, top, size, text)
            yield i, stamped, text, before, score(stamped)


class ThumbnailClassifier:
    """A random forest (Breiman 2001) on a 16 x 16 thumbnail, in which no lung finding can be seen.

    Parameters
    ----------
    learned : the hospital whose images it learns from
    """

    def __init__(self, learned: Hospital) -> None:
        from sklearn.ensemble import RandomForestClassifier

        self._model = RandomForestClassifier(50, random_state=0).fit(_thumbnails(learned.images), learned.ill)

    def predict(self, images: np.ndarray) -> np.ndarray:
        """The probability that each of the images, float32 ``[N, H, W]``, is ill: float64 ``[N]``."""
        return self._model.predict_proba(_thumbnails(images))[:, 1]


def _thumbnails(images: np.ndarray) -> np.ndarray:
    return np.stack([ops.prepare(image, CLASSIFIER_SIZE).ravel() for image in images])
