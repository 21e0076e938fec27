"""Compare two classifiers, or one at two hospitals: differences with 95 % intervals and p-values.

McNemar's and DeLong's tests take the images for independent. Where patients have several, the bootstrapped intervals,
which resample patients, are the ones to trust.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from msgspec import structs

from covid_cnn.common.statistics import NOT_KNOWN, Interval, Z, bootstrap, mean_of, perfect_auroc, wilson


@dataclass(frozen=True)
class Difference:
    """A difference, first minus second, with its 95 % interval and its p-value."""

    interval: Interval
    p: float
    method: str

    def __str__(self) -> str:
        likely = f"p = {self.p:.3f}" if self.p >= 0.001 else "p < 0.001"
        i = self.interval
        bounds = f"{i.low:+.3f} to {i.high:+.3f}" if i.known else NOT_KNOWN
        return f"{i.value:+.3f} (95 % CI {bounds}, {likely}, n = {i.n})"


def paired_share(first: np.ndarray, second: np.ndarray, patients: Sequence[str]) -> Difference:
    """The difference in accuracy of two classifiers on the same images.

    The p-value is McNemar's (1947) exact one: where only one of the two is right, each is so with probability 1/2.
    The interval is bootstrapped over patients. Where each is right on the same images as the other, no resample tells
    them apart, and it is the score interval of Tango (1998): +- z^2 / (n + z^2) for n patients.

    First and second are bool [N], whether each is right. Raises ValueError where there is no image.
    """
    from scipy.stats import binomtest

    first, second = np.asarray(first, bool), np.asarray(second, bool)
    if not len(first):
        raise ValueError("There is no image to compare on.")
    interval = bootstrap(mean_of(first.astype(float) - second), patients)
    assert interval  # a mean is defined on any set
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    apart = only_first + only_second
    if not apart:
        half = Z**2 / (len(set(patients)) + Z**2)
        return Difference(Interval(0.0, -half, half, len(first)), 1.0, "McNemar, exact; Tango's interval")
    p = float(binomtest(only_first, apart).pvalue)
    return Difference(interval, p, "McNemar, exact; interval bootstrapped over patients")


def paired_auroc(labels: np.ndarray, first: np.ndarray, second: np.ndarray) -> Difference | None:
    """The difference of two AUROCs on the same images (DeLong et al. 1988, computed as in Sun and Xu 2014).

    With V the structural components of both over the m positives and the n negatives, the covariance of the AUROCs is
    S = cov(V10) / m + cov(V01) / n, and the difference has the variance S11 + S22 - 2 S12. None where there are fewer
    than two positives or two negatives. Labels are bool [N], the scores float [N], the higher the more positive.
    """
    estimate = _delong(labels, np.stack([first, second]))
    if estimate is None:
        return None
    aurocs, covariance = estimate
    return _auroc_difference(aurocs, covariance, (labels, labels), len(labels), "DeLong, paired")


def unpaired_auroc(
    first_labels: np.ndarray, first: np.ndarray, second_labels: np.ndarray, second: np.ndarray
) -> Difference | None:
    """The difference of the AUROCs on two sets of images without a common patient; variances by DeLong, added.

    None where a set has fewer than two positives or two negatives.
    """
    one, other = _delong(first_labels, np.asarray(first)[None]), _delong(second_labels, np.asarray(second)[None])
    if one is None or other is None:
        return None
    aurocs, covariance = np.concatenate([one[0], other[0]]), np.diag([one[1][0, 0], other[1][0, 0]])
    n = len(first_labels) + len(second_labels)
    return _auroc_difference(aurocs, covariance, (first_labels, second_labels), n, "DeLong, unpaired")


def unpaired_share(first: tuple[int, int], second: tuple[int, int]) -> Difference:
    """The difference of two proportions of independent sets, each as (successes, n).

    The interval is Newcombe's (1998, method 10) from two Wilson intervals, the p-value Fisher's exact one. Raises
    ValueError where one is no proportion.
    """
    from scipy.stats import fisher_exact

    interval = _apart(wilson(*first), wilson(*second))
    p = fisher_exact([[first[0], first[1] - first[0]], [second[0], second[1] - second[0]]]).pvalue
    return Difference(interval, float(p), "Newcombe's interval, Fisher's exact test")


def _apart(a: Interval, b: Interval) -> Interval:
    """The interval of a difference, from the intervals of its two terms (Newcombe 1998; Zou and Donner 2008)."""
    difference = a.value - b.value
    low = difference - math.hypot(a.value - a.low, b.high - b.value)
    high = difference + math.hypot(a.high - a.value, b.value - b.low)
    return Interval(difference, max(low, -1.0), min(high, 1.0), a.n + b.n)


def _auroc_difference(
    aurocs: np.ndarray, covariance: np.ndarray, sides: Sequence[np.ndarray], n: int, method: str
) -> Difference:
    """The difference of two AUROCs by the normal distribution.

    Where one is 0 or 1 its variance by DeLong vanishes, and the interval follows from those of the two alone, of which
    that of the one is `perfect_auroc`'s.
    """
    from scipy.stats import norm

    difference = float(aurocs[0] - aurocs[1])
    error = math.sqrt(max(float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]), 0.0))
    # Scores that order all images alike differ by nothing, with certainty.
    p = float(2 * norm.sf(abs(difference) / error)) if error > 1e-12 else float(abs(difference) < 1e-12)
    if not {0, 1} & set(aurocs):
        interval = Interval(difference, max(difference - Z * error, -1.0), min(difference + Z * error, 1.0), n)
        return Difference(interval, p, method)
    alone = []
    for value, variance, labels in zip(aurocs.tolist(), np.diag(covariance), sides, strict=True):
        positives = int(np.sum(labels))
        at_bound = value in (0, 1)
        width = 1 - perfect_auroc(positives, len(labels) - positives) if at_bound else Z * math.sqrt(max(variance, 0))
        alone.append(Interval(value, max(0.0, value - width), min(1.0, value + width), len(labels)))
    interval = structs.replace(_apart(*alone), n=n)
    return Difference(interval, p, f"{method}; interval of Zou and Donner from Newcombe's")


def _delong(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The AUROCs [R] of R classifiers from their scores [R, N], and their covariance [R, R]."""
    from scipy.stats import rankdata

    labels = np.asarray(labels, bool)
    m, n = int(labels.sum()), int((~labels).sum())
    if m < 2 or n < 2:
        return None
    ranks = rankdata(scores, axis=1)
    of_positives = (ranks[:, labels] - rankdata(scores[:, labels], axis=1)) / n
    of_negatives = 1 - (ranks[:, ~labels] - rankdata(scores[:, ~labels], axis=1)) / m
    covariance = np.atleast_2d(np.cov(of_positives)) / m + np.atleast_2d(np.cov(of_negatives)) / n
    return of_positives.mean(axis=1), covariance
