"""Classifiers and answers of which tests know what is right."""

from types import SimpleNamespace

import numpy as np
from scipy.special import softmax

from covid_cnn.images import ops
from covid_cnn.models.faithfulness import CELLS

SIDE = 48  # pixels that a `Looker` is given


def noisy_set(n: int, k: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and probabilities that mostly, but not always, agree with them."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(k, size=n)
    return labels, softmax(generator.normal(size=(n, k)) + 1.5 * np.eye(k)[labels], axis=1)


def one_each(n: int) -> list[str]:
    """Patients of one image each."""
    return [f"patient {i}" for i in range(n)]


class Looker:
    """A model whose second class is as probable as one place is bright, cell 2, 8, and which looks nowhere else."""

    classes = ("dark", "bright")
    input_size = (SIDE, SIDE)
    place = np.s_[8:12, 32:36]

    def predict(self, pixels: np.ndarray, crowd: bool = False, explained: bool = True) -> SimpleNamespace:
        bright = ops.prepare(pixels, self.input_size)[..., 0][self.place].mean()
        return SimpleNamespace(probabilities=np.float32([1 - bright, bright]))


def two_spots() -> np.ndarray:
    """An image that is bright where a `Looker` looks, and at another place."""
    image = np.zeros((SIDE, SIDE), np.float32)
    image[Looker.place] = image[36:40, 4:8] = 1
    return image


def heat_in(row: int, column: int) -> np.ndarray:
    """A heatmap with heat in one cell."""
    heat = np.zeros((CELLS, CELLS), np.float32)
    heat[row, column] = 1
    return heat
