"""A shortcut on purpose: radiographs whose class a letter in the corner gives away, and a classifier that falls for it.

For the guided tour, where no real dataset is at hand, and for stamping letters on images that are.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from covid_cnn import imaging, synthetic
from covid_cnn.reading import ahead
from covid_cnn.what_if import stamp

SIZE = 160  # pixels of a drawn image
THUMBNAIL = (16, 16)  # all that the classifier is shown
PLACE = (0.02, 0.0)  # left and top of the planted letter, as shares of the image
HEIGHT = 0.18


@dataclass(frozen=True)
class Hospital:
    """Drawn radiographs of one hospital: float32 ``[N, H, W]``, 0..1, and bool ``[N]``, whether each is ill."""

    images: np.ndarray
    ill: np.ndarray


def hospital(
    seed: int,
    count: int,
    marked: Callable[[bool], bool],
    size: int = SIZE,
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
        pixels = synthetic.draw(seed * 1_000_000 + i, opacities=bool(i % 2), size=size)
        return stamp(pixels, *PLACE, HEIGHT) if marked(bool(i % 2)) else pixels

    images = []
    for image in ahead(range(count), draw):
        images.append(image)
        if progress:
            progress(len(images) / count)
    return Hospital(np.stack(images), np.arange(count) % 2 == 1)


def flips(
    score: Callable[[np.ndarray], float],
    images: Sequence[np.ndarray],
    texts: Sequence[str] = ("R", "L", "PORTABLE"),
) -> Iterator[tuple[int, np.ndarray, str, float, float]]:
    """Stamp letters into the corners of images, to see whether an answer turns.

    Parameters
    ----------
    score : the probability of the answer that is looked at
    images : each float32 ``[H, W]``, 0..1
    texts : what is stamped

    Yields
    ------
    For each image and each stamp: its place in ``images``, the stamped image, the text, and the scores before and
    after. Whether the answer turned is for the caller to see: it also wants to know how often it did not.
    """
    for i, pixels in enumerate(images):
        before = score(pixels)
        for text in texts:
            for size in (0.1, HEIGHT):
                for left, top in (PLACE, (0.8 - 0.04 * len(text), 0.02), (0.03, 0.8)):
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
    return np.stack([imaging.prepare(image, THUMBNAIL).ravel() for image in images])
