"""A second opinion on a heatmap: what happens to the answer when parts of the image are really taken away.

Nothing here looks into a network; it is asked again and again about changed images. The calls share the machine's
cores, an interpreter each (``Bundle.predict(..., crowd=True)``), for most graphs take one image a call and cannot be
resized to more; it was never slower by much than one interpreter on all cores, and up to twice as fast.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from covid_cnn.common.jobs import map_ahead
from covid_cnn.images import ops
from covid_cnn.models.bundle import Bundle

T = TypeVar("T")
Progress = Callable[[float], object]
CELLS, PATCH = 12, 3  # of the occlusion map: cells a side, and how many a side are covered at once
GRID, HOTTEST = 96, 0.1  # where heatmaps are compared: pixels a side, and the share of them
AGREE = 0.3  # of the hottest tenth that two maps must share: three times what chance gives


def occlusion(model: Bundle, pixels: np.ndarray, progress: Progress | None = None) -> np.ndarray:
    """How much the probability of each class falls when a grey patch hides a place (Zeiler and Fergus 2014).

    A patch of the image's mean grey, 3 x 3 of 12 x 12 cells, slides over the image cell by cell. The value of a cell c
    is the mean over the patches Q that hide it::

        map_k(c) = mean over Q containing c of  p_k(image) - p_k(image with Q hidden)

    From float32 ``[H, W]``, 0..1, to float32 ``[12, 12, K]``, -1..1: above 0 what speaks for a class, below 0 what
    speaks against it. ``progress`` is called with the part done, 0..1; what it raises ends the work.
    """
    image = ops.prepare(pixels, model.input_size)[..., 0]
    grey = image.mean()
    edges = [np.rint(np.linspace(0, side, CELLS + 1)).astype(int) for side in image.shape]
    places = [(row, column) for row in range(CELLS - PATCH + 1) for column in range(CELLS - PATCH + 1)]

    def hide(place: tuple[int, int]) -> np.ndarray:
        hidden = image.copy()
        (top, bottom), (left, right) = ((edge[i], edge[i + PATCH]) for edge, i in zip(edges, place, strict=True))
        hidden[top:bottom, left:right] = grey
        return hidden

    whole = model.predict(image, explained=False).probabilities
    total = np.zeros((CELLS, CELLS, len(whole)), np.float32)
    count = np.zeros((CELLS, CELLS, 1), np.float32)
    for (row, column), answer in zip(places, predict_cases(model, hide, places, progress), strict=True):
        total[row : row + PATCH, column : column + PATCH] += whole - answer
        count[row : row + PATCH, column : column + PATCH] += 1
    return total / count


def heat_of(drops: np.ndarray) -> np.ndarray:
    """Make a heatmap of an occlusion map ``[h, w]``: what speaks for the class, 0..1, the maximum 1."""
    positive = np.maximum(drops, 0)
    return positive / positive.max() if positive.any() else positive


def hottest_overlap(heatmap: np.ndarray, other: np.ndarray) -> float:
    """How much two heatmaps ``[h, w]`` overlap: the share, 0..1, of the hottest tenth of one that the other has too.

    By chance it is a tenth. Both maps are looked at on one grid of ``GRID`` pixels a side.
    """
    ranks = [rank_pixels(ops.upsample(each, (GRID, GRID))) for each in (heatmap, other)]
    first, second = (rank < HOTTEST * rank.size for rank in ranks)
    return float((first & second).sum() / first.sum())


def maps_agree(heatmap: np.ndarray, other: np.ndarray) -> bool:
    """Whether two heatmaps ``[h, w]`` of one answer mark the same place, clearly more than by chance (``AGREE``)."""
    return bool(heatmap.any() and other.any()) and hottest_overlap(heatmap, other) >= AGREE


def rank_pixels(heatmap: np.ndarray) -> np.ndarray:
    """Number the pixels of a heatmap ``[H, W]`` from the hottest (0) to the coldest; equal ones in random order.

    By chance and not row by row, or what lies at the top of the image would count as hotter than the rest.
    """
    flat = heatmap.ravel()
    order = np.lexsort((np.random.default_rng(0).permutation(flat.size), -flat))
    ranks = np.empty(flat.size, int)
    ranks[order] = np.arange(flat.size)
    return ranks.reshape(heatmap.shape)


def predict_cases(
    model: Bundle, make: Callable[[T], np.ndarray], cases: Sequence[T], progress: Progress | None
) -> Iterator[np.ndarray]:
    """Ask the model about the image that ``make`` makes of each case, on all cores: probabilities ``[K]``, in order."""
    answers = map_ahead(cases, lambda case: model.predict(make(case), True, explained=False).probabilities)
    with contextlib.closing(answers):
        for done, answer in enumerate(answers, 1):
            yield answer
            if progress:
                progress(done / len(cases))
