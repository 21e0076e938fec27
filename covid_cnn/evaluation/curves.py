"""ROC and precision-recall curves with their 95 % bands, whole patients resampled."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from covid_cnn.common.statistics import EDGES, count_positives, resample_patients

GRID = np.linspace(0, 1, 101)  # where the bands are told


@dataclass(frozen=True)
class Curve:
    """A curve over all thresholds, from the strictest to the laxest, and its band."""

    # float [T], 0..1: false positive rate and sensitivity (ROC), or recall and precision
    x: np.ndarray
    y: np.ndarray
    thresholds: np.ndarray  # float [T], `score >= threshold` being the positive answer
    # float [G], where the band is told, and its lower and upper edge there
    grid: np.ndarray
    low: np.ndarray
    high: np.ndarray


def roc_curve(
    labels: np.ndarray, scores: np.ndarray, patients: Sequence[str], seed: int = 0, repeats: int = 1000
) -> Curve | None:
    """Sensitivity against the false positive rate, from (0, 0), where nobody is called positive, to (1, 1).

    The band is pointwise: the 2.5th to the 97.5th percentile of the sensitivity at each false positive rate, over
    bootstrap samples of patients (vertical averaging, Fawcett 2006). None where all are positive or none is. Labels are
    bool [N], scores float [N], the higher the more positive; equal ones are called together.
    """

    def points(true: np.ndarray, false: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.append(0, false / false[-1]), np.append(0, true / true[-1])

    def height(true: np.ndarray, false: np.ndarray) -> np.ndarray:
        return np.interp(GRID, *points(true, false))

    return _curve(labels, scores, patients, seed, repeats, points, height)


def precision_recall_curve(
    labels: np.ndarray, scores: np.ndarray, patients: Sequence[str], seed: int = 0, repeats: int = 1000
) -> Curve | None:
    """Precision against recall (sensitivity), at the share of positives that these images have.

    The precision between two thresholds is that of the laxer one, as `metrics.average_precision` counts it. Band,
    parameters and result as for `roc_curve`.
    """

    def points(true: np.ndarray, false: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return true / true[-1], true / np.maximum(true + false, 1e-9)

    def height(true: np.ndarray, false: np.ndarray) -> np.ndarray:
        recall, precision = points(true, false)
        return precision[np.minimum(np.searchsorted(recall, GRID), len(recall) - 1)]  # strictest with this recall

    return _curve(labels, scores, patients, seed, repeats, points, height)


def _curve(
    labels: np.ndarray,
    scores: np.ndarray,
    patients: Sequence[str],
    seed: int,
    repeats: int,
    points: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    height: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> Curve | None:
    """The curve of true and false positives [T], and the percentiles of its height over the resamples of patients."""
    labels = np.asarray(labels, bool)
    if labels.all() or not labels.any():
        return None
    thresholds, count = count_positives(labels, scores)
    heights = [
        height(true, false)
        for weights in resample_patients(patients, seed, repeats)
        for true, false in zip(*count(weights), strict=True)
        if true[-1] and false[-1]
    ]
    low, high = np.percentile(heights, EDGES, axis=0)
    (true,), (false,) = count(np.ones((1, len(labels))))
    x, y = points(true, false)
    return Curve(x, y, np.append([np.inf] * (len(x) - len(thresholds)), thresholds), GRID, low, high)
