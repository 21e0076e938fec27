"""Confidence intervals and the AUROC: what a figure measured on some patients says about others.

It knows arrays and names of patients. scipy is imported where it is used, since it takes longer to load than a
prediction takes.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import compress
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct, structs

from covid_cnn.common.words import count

NOT_KNOWN = "not known"
EDGES = (2.5, 97.5)  # percentiles of a 95 % interval
BLOCK = 500_000  # weights that are held at a time
FEW = 10  # patients of a class, below which an interval says little
LARGEST = 10**15  # beyond all that is counted or measured here
Z = 1.959963984540054  # the normal quantile of a two-sided 95 % interval
Count = Annotated[int, Meta(ge=0, lt=LARGEST)]
Metric = Callable[[np.ndarray], np.ndarray]  # of how often each image counts, [R, N], the R values


def percent(share: float, digits: int = 0) -> str:
    """A share of 0 to 1 as people read it: "48 %"."""
    return f"{100 * share:.{digits}f} %"


class Interval(Struct, frozen=True, rename={"lower": "low", "upper": "high"}):
    """A metric's value and its 95 % confidence interval, found on `n` cases.

    An interval without width tells that no resample differed, as where there is no error: that the sample is easy or
    small, and not that the value is certain. It counts as not known: its `lower` and `upper` are None, null in JSON.
    """

    value: Annotated[float, Meta(gt=-LARGEST, lt=LARGEST)]
    lower: Annotated[float, Meta(gt=-LARGEST)] | None
    upper: Annotated[float, Meta(lt=LARGEST)] | None
    n: Count

    def __post_init__(self) -> None:
        low, high = self.low, self.high
        if (self.lower is None) != (self.upper is None) or not low <= self.value <= high:
            raise ValueError(f"{self.value} does not lie from {self.lower} to {self.upper}.")
        known = low < high
        for name, number in (("value", self.value), ("lower", low), ("upper", high)):
            structs.force_setattr(self, name, float(number) if known or name == "value" else None)

    @property
    def low(self) -> float:
        """The lower bound, or the value where none is known."""
        return self.value if self.lower is None else self.lower

    @property
    def high(self) -> float:
        """The upper bound, or the value where none is known."""
        return self.value if self.upper is None else self.upper

    @property
    def known(self) -> bool:
        """Whether it has a width."""
        return self.lower is not None

    @property
    def bounds(self) -> str:
        """The bounds in words."""
        return f"{self.low:.3f} to {self.high:.3f}" if self.known else NOT_KNOWN

    def __str__(self) -> str:
        return f"{self.value:.3f} (95 % CI {self.bounds}, n = {self.n})"


def wilson(successes: int, n: int) -> Interval:
    """A proportion with its score interval (Wilson 1927), which stays inside 0..1 and is honest at 0 and at 1.

    Raises ValueError where n is not positive, or successes is not in 0..n.
    """
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"{successes} of {n} is not a proportion.")
    return _score_interval(successes / n, n, int(n))


def _score_interval(share: float, worth: float, n: int) -> Interval:
    """Wilson's interval of a share of n images that are worth so many independent ones."""
    centre = (share + Z**2 / (2 * worth)) / (1 + Z**2 / worth)
    half = Z / (1 + Z**2 / worth) * math.sqrt(share * (1 - share) / worth + Z**2 / (4 * worth**2))
    return Interval(share, max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share)), n)


def resample_patients(patients: Sequence[str], seed: int = 0, repeats: int = 1000) -> Iterator[np.ndarray]:
    """Draw bootstrap samples of the patients, and yield how often each image counts in each: float [R, N].

    There are `repeats` rows in all. Images of one patient resemble each other, so that resampling images would give too
    narrow an interval (Field and Welsh 2007).
    """
    _, owner = np.unique(list(patients), return_inverse=True)
    count = owner.max() + 1
    generator = np.random.default_rng(seed)
    at_once = max(1, min(repeats, BLOCK // len(owner)))
    for first in range(0, repeats, at_once):
        drawn = (generator.integers(count, size=count) for _ in range(min(at_once, repeats - first)))
        yield np.stack([np.bincount(one, minlength=count)[owner] for one in drawn]).astype(float)


def bootstrap(metric: Metric, patients: Sequence[str], seed: int = 0, repeats: int = 1000) -> Interval | None:
    """A metric with its 95 % interval by the percentile bootstrap (Efron 1979) over patients.

    A metric without a single error gets an interval without width, because no resample holds an error either: it is
    not known then (see `Interval`). `auroc_interval` knows what to do about it. Resamples on which the metric is
    undefined, as those with one class, are skipped. None where it is undefined on the whole set.

    Parameters
    ----------
    metric : takes how often each image counts, float [R, N], and gives R values, NaN where it is undefined.
    patients : N names; equal names are one patient.
    """
    whole = measure_once(metric, len(patients))
    if math.isnan(whole):
        return None
    low, high = np.nanpercentile(
        [v for block in resample_patients(patients, seed, repeats) for v in metric(block)], EDGES
    )
    # Repeated cases make a calibration error look larger, so that all resamples may lie above the value itself.
    return Interval(whole, float(min(low, whole)), float(max(high, whole)), len(patients))


def measure_once(metric: Metric, n: int) -> float:
    """The plain value of a metric, each of its n images counted once."""
    return float(metric(np.ones((1, n)))[0])


def mean_of(values: np.ndarray) -> Metric:
    """The mean of N values, as a metric that `bootstrap` takes."""
    return lambda weights: weights @ values / weights.sum(axis=1)


def auroc_interval(labels: np.ndarray, scores: np.ndarray, patients: Sequence[str]) -> Interval | None:
    """The AUROC with its `bootstrap` interval over patients, or `perfect_auroc`'s where it is 0 or 1.

    None where all are positive or none is. Labels are bool [N], scores float [N], the higher the more positive.
    """
    estimate = bootstrap(auroc_of(labels, scores), patients)
    if estimate is None or estimate.known or 0 < estimate.value < 1:
        return estimate
    positive, n = np.asarray(labels, bool), len(labels)
    low = perfect_auroc(*(len(set(compress(patients, side))) for side in (positive, ~positive)))
    return Interval(1.0, low, 1.0, n) if estimate.value == 1 else Interval(0.0, 0.0, 1 - low, n)


def perfect_auroc(positives: int, negatives: int) -> float:
    """The lower 95 % bound of an AUROC of 1 (Newcombe 2006, method 5), for which the bootstrap gives no width.

    It is the t with 1 - t = z sqrt(V), V = t (1 - t) (1 + r (1 - t) / (2 - t) + r t / (1 + t)) / (m n): the variance
    of Hanley and McNeil (1982) at t itself, with r = (m + n) / 2 - 1 in place of m - 1 and of n - 1. The m positives
    and n negatives are those that are independent: the patients.
    """
    from scipy.optimize import brentq

    r = (positives + negatives) / 2 - 1

    def excess(t: float) -> float:
        variance = t * (1 - t) * (1 + r * (1 - t) / (2 - t) + r * t / (1 + t)) / (positives * negatives)
        return (1 - t) - Z * math.sqrt(variance)

    # Divided by sqrt(1 - t), which is 0 at 1 too, so that the other root is the only one.
    return float(brentq(lambda t: excess(t) / math.sqrt(1 - t), 1e-12, 1 - 1e-12))


def clustered_proportion(right: np.ndarray, patients: Sequence[str]) -> Interval | None:
    """A proportion with Wilson's interval for as many independent images as these are worth (Rao and Scott 1992).

    Images of one patient are alike. With p the share, k patients of m_i images, x_i of them right, and n images, the
    share has the variance V = k / (k - 1) sum (x_i - p m_i)^2 / n^2, and the images are worth n_e = p (1 - p) / V
    independent ones, n at most; n where each patient has one image. Where all are right or none is, V is 0 and tells
    nothing: then they are worth as many as there are patients. None where there is no image.
    """
    right = np.asarray(right, float)
    n = len(right)
    if n == 0:
        return None
    _, owner = np.unique(list(patients), return_inverse=True)
    images, hits = np.bincount(owner), np.bincount(owner, weights=right)
    k, p = len(images), float(right.mean())
    variance = ((hits - p * images) ** 2).sum() * k / (k - 1) / n**2 if 1 < k < n else 0.0
    worth = min(p * (1 - p) / variance, n) if variance > 0 else k
    return _score_interval(p, worth, n)


def warn_of_few_patients(counts: Mapping[str, tuple[int, int]]) -> list[str]:
    """A warning for each class that has too few patients for a reliable figure."""
    return [
        f"{name}: {images} images of only {count(patients, 'patient')}, as far as names and metadata tell them apart "
        "(all figures of one paper count as one): too few to tell much of."
        for name, (images, patients) in counts.items()
        if 0 < patients < FEW
    ]


Counts = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def count_positives(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, Counts]:
    """Count true and false positives at every threshold: the base of ROC and precision-recall curves and their areas.

    Labels are bool [N], scores float [N], the higher the more positive; equal ones are called together. Returns the T
    distinct scores, the highest first, and a function that takes how often each image counts, float [R, N], and gives
    the true and the false positives from each score on, two float [R, T].
    """
    labels, scores = np.asarray(labels, bool), np.asarray(scores, float)
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    positive = labels[order]

    def count(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        true = np.cumsum(weights[:, order] * positive, axis=1)[:, ends]
        return true, np.cumsum(weights[:, order], axis=1)[:, ends] - true

    return scores[order][ends], count


def auroc_of(labels: np.ndarray, scores: np.ndarray) -> Metric:
    """The probability that a positive scores above a negative, as a metric; NaN where all are positive or none is.

    It is the area under the ROC curve by the trapezoid rule: ties count half. Parameters as for `count_positives`.
    """
    _, count = count_positives(labels, scores)

    def measure(weights: np.ndarray) -> np.ndarray:
        true, false = count(weights)
        new = np.diff(true, prepend=0, axis=1)
        above = (new * (2 * (false[:, -1:] - false) + np.diff(false, prepend=0, axis=1))).sum(axis=1)
        with np.errstate(invalid="ignore"):
            return above / (2 * true[:, -1] * false[:, -1])

    return measure


def auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """The probability that a positive scores above a negative; ties count half, NaN where there is only one kind."""
    return measure_once(auroc_of(labels, scores), len(scores))
