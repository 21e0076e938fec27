"""ROC and precision-recall curves with their 95 % bands, whole patients resampled."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

GRID = np.linspace(0, 1, 101)  # where the bands are told


@dataclass(frozen=True)
class Curve:
    """A curve over all thresholds, from the strictest to the laxest, and its band.

    Attributes
    ----------
    x, y : float [T], 0..1: false positive rate and sensitivity (ROC), or recall and precision.
    thresholds : float [T], `score >= threshold` being the positive answer.
    grid, low, high : float [G], where the band is told, and its lower and upper edge there.
    """

    x: np.ndarray
    y: np.ndarray
    thresholds: np.ndarray
    grid: np.ndarray
    low: np.ndarray
    high: np.ndarray


def roc_curve(
    labels: np.ndarray, scores: np.ndarray, patients: Sequence[str], seed: int = 0, repeats: int = 1000
) -> Curve | None:
    """Sensitivity against the false positive rate, from (0, 0), where nobody is called positive, to (1, 1).

    The band is pointwise: the 2.5th to the 97.5th percentile of the sensitivity at each false positive rate, over
    bootstrap samples of patients (vertical averaging, Fawcett 2006).

    Parameters
    ----------
    labels : bool [N].
    scores : float [N], the higher the more positive; equal ones are called together.
    patients : N names; equal names are one patient.

    Returns
    -------
    The curve; None where all are positive or none is.
    """

    def height(true: np.ndarray, false: np.ndarray) -> np.ndarray:
        x, y = np.append(0, false / false[-1]), np.append(0, true / true[-1])
        return np.interp(GRID, x, y)

    found = _counts(labels, scores)
    if found is None:
        return None
    true, false, thresholds = found
    low, high = _band(labels, scores, patients, seed, repeats, height)
    return Curve(
        x=np.append(0, false / false[-1]),
        y=np.append(0, true / true[-1]),
        thresholds=np.append(np.inf, thresholds),
        grid=GRID,
        low=low,
        high=high,
    )


def precision_recall_curve(
    labels: np.ndarray, scores: np.ndarray, patients: Sequence[str], seed: int = 0, repeats: int = 1000
) -> Curve | None:
    """Precision against recall (sensitivity), at the share of positives that these images have.

    The precision between two thresholds is that of the laxer one, as `metrics.average_precision` counts it. Band,
    parameters and result as for `roc_curve`.
    """

    def height(true: np.ndarray, false: np.ndarray) -> np.ndarray:
        reached = np.searchsorted(true / true[-1], GRID)  # the strictest threshold with this recall
        return (true / np.maximum(true + false, 1e-9))[np.minimum(reached, len(true) - 1)]

    found = _counts(labels, scores)
    if found is None:
        return None
    true, false, thresholds = found
    low, high = _band(labels, scores, patients, seed, repeats, height)
    return Curve(true / true[-1], true / (true + false), thresholds, GRID, low, high)


def _counts(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """True and false positives from each distinct score on, and these scores, the highest first."""
    labels, scores = np.asarray(labels, bool), np.asarray(scores, float)
    if labels.all() or not labels.any():
        return None
    order, ends = _order(scores)
    return np.cumsum(labels[order])[ends], np.cumsum(~labels[order])[ends], scores[order][ends]


def _order(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The images by falling score, and the places where runs of equal scores end."""
    order = np.argsort(-scores, kind="stable")
    return order, np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))


def _band(
    labels: np.ndarray,
    scores: np.ndarray,
    patients: Sequence[str],
    seed: int,
    repeats: int,
    height: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """The percentiles of a curve's height over the resamples that hold both classes."""
    heights = [height(true, false) for true, false in _resamples(labels, scores, patients, seed, repeats)]
    low, high = np.percentile(heights, [2.5, 97.5], axis=0)
    return low, high


def _resamples(
    labels: np.ndarray, scores: np.ndarray, patients: Sequence[str], seed: int, repeats: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """True and false positives of each resample of the patients.

    Each image is weighed by how often its patient was drawn, so that the images need sorting only once.
    """
    labels = np.asarray(labels, bool)
    order, ends = _order(np.asarray(scores, float))
    _, owner = np.unique(list(patients), return_inverse=True)
    owner, positive = owner[order], labels[order]
    count = owner.max() + 1
    generator = np.random.default_rng(seed)
    for _ in range(repeats):
        weight = np.bincount(generator.integers(count, size=count), minlength=count)[owner]
        true, false = np.cumsum(weight * positive)[ends], np.cumsum(weight * ~positive)[ends]
        if true[-1] and false[-1]:
            yield true, false
