"""Whether probabilities mean what they say: calibration, temperature, decision thresholds, conformal sets."""

import math
from collections.abc import Sequence
from itertools import compress
from typing import Literal

import numpy as np

from covid_cnn.common.statistics import Metric, bootstrap, clustered_proportion, mean_of, wilson
from covid_cnn.models.info import Calibrated, Calibration, Coverage, ReliabilityBin


def calibration_error_of(labels: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> Metric:
    """The mean gap, 0..1, between confidence and accuracy over equal bins of confidence (Guo et al. 2017), as a metric.

    Labels are int [N], probabilities float [N, K], of which the largest of a row is its confidence.
    """
    confidence = probabilities.max(axis=1)
    gaps = np.zeros((len(labels), bins))
    gaps[np.arange(len(labels)), bins_of(confidence, bins)] = (probabilities.argmax(axis=1) == labels) - confidence
    # |accuracy - confidence| of a bin times its share of the images is |sum of the differences| over all images.
    return lambda weights: np.abs(weights @ gaps).sum(axis=1) / weights.sum(axis=1)


def reliability(labels: np.ndarray, probabilities: np.ndarray, bins: int = 10) -> list[ReliabilityBin]:
    """How often the most probable class is right, against how probable it was (DeGroot and Fienberg 1983).

    The images fall by their confidence into so many equal parts of 0..1. There is one bin for each part that holds an
    image, in order; its confidence is their mean. Arguments as for `calibration_error_of`.
    """
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    bin_of = bins_of(confidence, bins)
    return [
        ReliabilityBin(float(confidence[inside].mean()), wilson(int(correct[inside].sum()), n := int(inside.sum())), n)
        for inside in (bin_of == i for i in np.unique(bin_of))
    ]


def assess_calibration(
    labels: np.ndarray,
    log_probabilities: np.ndarray,
    temperature: float,
    patients: Sequence[str],
    split: Literal["val", "test"] = "val",
) -> Calibration:
    """What a temperature does to the calibration: the `calibration` of `model.json`, for the card and its diagram.

    The log-probabilities, float [N, K], are those before the division by the temperature; logits do as well. On the
    split that the temperature was fitted on, the error after it looks smaller than it is.
    """
    from scipy.special import softmax

    def measure(logits: np.ndarray) -> Calibrated:
        probabilities = softmax(logits, axis=1)
        error = bootstrap(calibration_error_of(labels, probabilities), patients)
        assert error  # it is defined on any set
        return Calibrated(error, reliability(labels, probabilities))

    labels, log_probabilities = np.asarray(labels), np.asarray(log_probabilities, float)
    after = measure(log_probabilities / temperature)
    return Calibration(temperature, len(labels), split, measure(log_probabilities), after)


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature T for which softmax(logits / T) is best calibrated, by its likelihood (Guo et al. 2017).

    Where a small validation set is classified without error, the likelihood grows for ever as T goes to 0, and the fit
    would answer with certainties. So the targets are not 0 and 1 but the posterior means under a uniform prior, as in
    Platt (1999): (n_c + 1) / (n_c + K) for the true class c of n_c images, the rest shared by the others. Logits are
    float [N, K], or log-probabilities, which softmax takes alike; labels are int [N].
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    logits, labels = np.asarray(logits, float), np.asarray(labels)
    k = logits.shape[1]
    counts = np.bincount(labels, minlength=k)
    targets = np.repeat(1 / (counts[labels] + k), k).reshape(-1, k)
    targets[np.arange(len(labels)), labels] = (counts[labels] + 1) / (counts[labels] + k)

    def loss(log_temperature: float) -> float:
        return -(targets * log_softmax(logits / math.exp(log_temperature), axis=1)).sum(axis=1).mean()

    return math.exp(minimize_scalar(loss, bounds=(math.log(0.05), math.log(20)), method="bounded").x)


def choose_threshold(labels: np.ndarray, scores: np.ndarray) -> float:
    """The threshold with the best balanced accuracy, `score >= threshold` being the positive answer (Youden 1950).

    The candidates are 0.5 and the midpoints between neighbouring scores; of equally good ones the nearest to 0.5 wins,
    so that classes which 0.5 separates keep 0.5. With one class alone nothing can be chosen, and it is 0.5. Labels are
    bool or 0/1 [N], scores float [N], 0..1.
    """
    labels, scores = np.asarray(labels, bool), np.asarray(scores, float)
    positives, negatives = np.sort(scores[labels]), np.sort(scores[~labels])
    distinct = np.unique(scores)
    candidates = np.append((distinct[1:] + distinct[:-1]) / 2, 0.5)
    true_positives = len(positives) - np.searchsorted(positives, candidates)
    true_negatives = np.searchsorted(negatives, candidates)
    # Balanced accuracy times 2 x positives x negatives: whole numbers, so that ties are exact.
    merit = true_positives * len(negatives) + true_negatives * len(positives)
    best = candidates[merit == merit.max()] if len(positives) and len(negatives) else np.array([0.5])
    return float(best[np.abs(best - 0.5).argmin()])


def choose_threshold_at_specificity(labels: np.ndarray, scores: np.ndarray, specificity: float = 0.95) -> float:
    """The smallest threshold at which enough negatives stay below it, `score >= threshold` being the positive answer.

    Smallest, so that of all thresholds with this specificity it misses the fewest positives. Every value from the
    highest negative that must stay below up to the next score gives the same answers here; of those it is the
    midpoint, so that a rounding error changes no answer. Negatives of one score stand or fall together, so that ties
    can only raise the specificity. Where a negative that must stay below has the score 1, the threshold lies above 1,
    and nothing is positive. Without a negative nothing can be chosen, and it is 0.5. Arguments as for
    `choose_threshold`; raises ValueError where the specificity is not above 0 and at most 1.
    """
    if not 0 < specificity <= 1:
        raise ValueError(f"A specificity of {specificity} cannot be asked for.")
    labels, scores = np.asarray(labels, bool), np.asarray(scores, float)
    negatives = np.sort(scores[~labels])
    if not len(negatives):
        return 0.5
    # Less a hair, for 0.95 x 20 is a little more than 19 in floating point.
    highest = negatives[math.ceil(specificity * len(negatives) - 1e-9) - 1]
    above = np.append(scores[scores > highest], 1.0 if highest < 1 else 2.0)
    return float((highest + above.min()) / 2)


def conformal_thresholds(labels: np.ndarray, probabilities: np.ndarray, level: float = 0.9) -> np.ndarray:
    """The probability from which on each class belongs into a prediction set: class-conditional split conformal.

    Of the images of each class, at least the share `level` will have that class in their set, on average over
    calibration sets, whatever the classifier is worth and whatever the classes' shares: if the new images and those
    here are exchangeable, so not at another hospital, and less surely where patients have several images (Vovk 2012,
    there called Mondrian; Angelopoulos and Bates 2021). Of n images of a class, the threshold is the m-th smallest
    probability given to it, m being the whole part of (n + 1) (1 - level): of n + 1 exchangeable images, that many at
    most are left out.

    Labels are int [N], of images that neither the weights nor the choice of the network have seen; probabilities float
    [N, K], calibrated. Returns float64 [K]; 0, which takes every image in, for a class with too few images (fewer than
    9 for 0.9). Raises ValueError where the level is not above 0 and below 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"A level of {level} cannot be asked for.")
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, float)
    thresholds = np.zeros(probabilities.shape[1])
    for k in range(len(thresholds)):
        given = np.sort(probabilities[labels == k, k])
        # More by a hair, for 10 x (1 - 0.9) is a little less than 1 in floating point.
        left_out = min(math.floor((len(given) + 1) * (1 - level) + 1e-9), len(given))
        if left_out:
            thresholds[k] = given[left_out - 1]
    return thresholds


def measure_coverage(
    labels: np.ndarray, sets: np.ndarray, level: float, patients: Sequence[str] | None = None
) -> Coverage:
    """How often the true class is in the prediction set, bool [N, K] of `prediction_sets`, and how much the sets say.

    The ``level`` is what was promised. Without ``patients``, whom the intervals are over, each image is one of its own.
    """
    labels = np.asarray(labels)
    covered = sets[np.arange(len(labels)), labels]
    sizes = sets.sum(axis=1)
    names = [str(i) for i in range(len(labels))] if patients is None else patients
    by_class = [
        clustered_proportion(covered[labels == k], list(compress(names, labels == k))) for k in range(sets.shape[1])
    ]
    mean_size = bootstrap(mean_of(sizes), names)
    single = clustered_proportion(sizes == 1, names)
    return Coverage(level, clustered_proportion(covered, names), by_class, mean_size, single)


def bins_of(confidence: np.ndarray, bins: int) -> np.ndarray:
    """The equal part of 0..1, by its number, that each confidence falls into; each part has its upper end."""
    return np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
