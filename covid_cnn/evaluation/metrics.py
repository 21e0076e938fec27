"""How good is a classifier: its metrics, each with a 95 % interval, as one report.

It knows arrays of labels and probabilities, and neither images nor models. A metric that a test set cannot tell
(specificity where nobody is healthy) is None, never NaN.
"""

import math
from collections.abc import Callable, Sequence
from itertools import compress

import numpy as np
from msgspec import UNSET, structs

from covid_cnn.common.errors import BundleError, DatasetError
from covid_cnn.common.statistics import (
    Interval,
    Metric,
    Z,
    auroc_interval,
    auroc_of,
    bootstrap,
    clustered_proportion,
    count_positives,
    mean_of,
    warn_of_few_patients,
)
from covid_cnn.evaluation.calibration import calibration_error_of
from covid_cnn.models.info import Added, Report


def evaluate_classifier(
    labels: np.ndarray,
    predicted: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    positive: str | None,
    patients: Sequence[str],
) -> Report:
    """Everything that a test set tells about a classifier.

    Proportions (accuracy, sensitivity, specificity, predictive values) carry the intervals of `clustered_proportion`,
    which are Wilson's where each patient has one image; the other metrics are bootstrapped over patients. Predictive
    values hold at the share of positives in this test set and nowhere else.

    With more than two classes and a positive one the report holds both readings: all classes apart, and the positive
    class against the rest, in which an image of one other class that is taken for another counts as right.

    `mcc` is Matthews' (1975), of more than two classes Gorodkin's (2004); `brier` (Brier 1950) is halved for two
    classes, as is usual there. With two classes and a positive one `auroc` is of that; else it is the macro average of
    each class against the rest, and `auroc_by_class` holds the single ones. `lr_positive` is sensitivity / (1 -
    specificity), `lr_negative` is (1 - sensitivity) / specificity.

    Parameters
    ----------
    labels, predicted : int [N], the true and the answered class (which a threshold decides), as indices into `classes`.
    probabilities : float [N, K]; raises BundleError where one is no number.
    positive : the one of the K classes that is looked for; None where there is no such class.
    patients : N names; raises DatasetError where there are none, and ValueError where lengths do not fit together.
    """
    labels, predicted, probabilities = np.asarray(labels), np.asarray(predicted), np.asarray(probabilities, float)
    n, k = len(labels), len(classes)
    if n == 0:
        raise DatasetError("There is no image to evaluate: choose a split that holds some.")
    if predicted.shape != (n,) or probabilities.shape != (n, k) or len(patients) != n:
        raise ValueError("Labels, predictions, probabilities and patients must be of one length.")
    if positive is not None and positive not in classes:
        raise ValueError(f"{positive!r} is not one of the classes.")
    if not np.isfinite(probabilities).all():
        raise BundleError(
            "The model's probabilities are not numbers: it diverged; train it again at a lower learning rate."
        )

    confusion = _confusions(labels, predicted, k)(np.ones((1, n)))[0].astype(int)
    right, yes = predicted == labels, -1 if positive is None else list(classes).index(positive)
    ill, called = labels == yes, predicted == yes

    def share(good: np.ndarray, of: np.ndarray) -> Interval | None:
        return clustered_proportion(good[of], list(compress(patients, of)))

    def resampled(metric: Metric) -> Interval | None:
        return bootstrap(metric, patients)

    def likelihood_ratio(answer: bool) -> Interval | None:
        # Where no negative got the answer, the ratio has no value; a resample without one counts half a negative.
        given = called == answer
        return resampled(_likelihood_ratio_of(ill, given)) if (~ill & given).any() else None

    aurocs = {name: auroc_interval(labels == i, probabilities[:, i], patients) for i, name in enumerate(classes)}
    accuracy = share(right, np.ones(n, bool))
    assert accuracy  # there is an image
    report = Report(
        n=n,
        n_patients=len(set(patients)),
        patients_by_class={name: len(set(compress(patients, labels == i))) for i, name in enumerate(classes)},
        classes=list(classes),
        positive=None,
        confusion=confusion.tolist(),
        accuracy=accuracy,
        balanced_accuracy=_balanced_interval(labels, predicted, k, patients),
        sensitivity_by_class={name: share(right, labels == i) for i, name in enumerate(classes)},
        mcc=resampled(matthews_of(labels, predicted, k)),
        brier=resampled(mean_of(_squares(labels, probabilities))),
        ece=resampled(calibration_error_of(labels, probabilities)),
    )
    if positive is None or k > 2:
        report = structs.replace(report, auroc=resampled(_macro_auroc_of(labels, probabilities)), auroc_by_class=aurocs)
    if positive is None:
        return report
    # Without a positive or without a negative the predictive values are 0 or 1 whatever the classifier does.
    both = ill.any() and not ill.all()
    return structs.replace(
        report,
        positive=positive,
        **{"auroc" if k == 2 else "auroc_positive": aurocs[positive]},
        sensitivity=share(called, ill),
        specificity=share(~called, ~ill),
        ppv=share(ill, called) if both else None,
        npv=share(~ill, ~called) if both else None,
        lr_positive=likelihood_ratio(True),
        lr_negative=likelihood_ratio(False),
        f1=resampled(_f1_of(ill, called)),
        average_precision=resampled(average_precision_of(ill, probabilities[:, yes])),
    )


def metric_rows(report: Report) -> list[tuple[str, Interval | None]]:
    """The metrics of a report by display name, in the order in which a reader wants them."""
    positive, sets = report.positive, report.prediction_sets
    table: list[tuple[str, Added]] = [("Accuracy", report.accuracy), ("Balanced accuracy", report.balanced_accuracy)]
    if positive is not None:
        two = len(report.classes) == 2
        table = [
            (f"Sensitivity ({positive})", report.sensitivity),
            ("Specificity", report.specificity),
            (
                "AUROC" if two else f"AUROC ({positive} against the rest)",
                report.auroc if two else report.auroc_positive,
            ),
            *table,
            ("Positive predictive value", report.ppv),
            ("Negative predictive value", report.npv),
            ("Likelihood ratio of a positive answer", report.lr_positive),
            ("Likelihood ratio of a negative answer", report.lr_negative),
            ("F1 score", report.f1),
            ("Average precision", report.average_precision),
        ]
    table.append(("Matthews correlation", report.mcc))
    if report.auroc_by_class:
        others = [name for name in report.classes if name != positive]
        table += [("AUROC (macro, one against the rest)", report.auroc)]
        table += [(f"Sensitivity, {name}", report.sensitivity_by_class[name]) for name in others]
        table += [(f"AUROC, {name}", report.auroc_by_class[name]) for name in others]
    table += [("Brier score", report.brier), ("Expected calibration error", report.ece)]
    if sets:
        table += [(f"Coverage of the {100 * sets.level:g} % prediction sets", sets.coverage)]
        table += [(f"Coverage, {name}", one) for name, one in zip(report.classes, sets.coverage_by_class, strict=True)]
        table += [("Classes in a set, on average", sets.mean_size), ("Sets of one class", sets.single)]
    return [(title, one) for title, one in table if one is not UNSET]  # files of an earlier version lack some


def cells(report: Report) -> list[tuple[str, ...]]:
    """The `metric_rows` as text, the head first."""
    rows = [
        (title, f"{one.value:.3f}", one.bounds, str(one.n)) if one else (title, "undefined", "", "")
        for title, one in metric_rows(report)
    ]
    return [("Metric", "Value", "95 % interval", "n"), *rows]


def count_patients(report: Report) -> str:
    """How many images and patients there were, by class where that is known, in words."""
    by_class = ", ".join(f"{count} {name}" for name, count in report.patients_by_class.items())
    return f"{report.n} images of {report.n_patients} patients{f' ({by_class})' if by_class else ''}."


def cautions(report: Report) -> list[str]:
    """A sentence for each class that a report has too few patients of."""
    images = dict(zip(report.classes, map(sum, report.confusion), strict=True))
    return warn_of_few_patients({name: (images[name], count) for name, count in report.patients_by_class.items()})


def summarize(report: Report) -> str:
    """A report as text: how many patients, the table of all metrics, and warnings of few patients."""
    return "\n\n".join([count_patients(report), format_table(cells(report)), *cautions(report)])


def format_table(rows: Sequence[Sequence[object]]) -> str:
    """A table, its head first, in Markdown that also reads well in a terminal."""
    cells = [[str(cell) for cell in line] for line in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in cells)


def average_precision_of(labels: np.ndarray, scores: np.ndarray) -> Metric:
    """The area under the precision-recall steps: the mean precision over the recall gained at each threshold.

    NaN where all are positive or none is. Labels and scores as for `statistics.count_positives`.
    """
    _, count = count_positives(labels, scores)

    def measure(weights: np.ndarray) -> np.ndarray:
        true, false = count(weights)
        precision = true / np.maximum(true + false, 1e-9)
        area = (np.diff(true, prepend=0, axis=1) * precision).sum(axis=1)
        return _where(true[:, -1] * false[:, -1] > 0, area, true[:, -1])

    return measure


def matthews_of(labels: np.ndarray, predicted: np.ndarray, k: int) -> Metric:
    """The correlation, -1..1, of truth and answer (Matthews 1975), of k > 2 classes as in Gorodkin (2004).

    It is 0 where the answer is always the same, NaN where the truth is. Both are int [N], 0..k - 1.
    """
    count = _confusions(labels, predicted, k)

    def measure(weights: np.ndarray) -> np.ndarray:
        confusion, n = count(weights), weights.sum(axis=1)
        truth, answer = confusion.sum(axis=2), confusion.sum(axis=1)
        spread_truth, spread_answer = (n**2 - (one**2).sum(axis=1) for one in (truth, answer))
        covariance = np.trace(confusion, axis1=1, axis2=2) * n - (truth * answer).sum(axis=1)
        spread = np.sqrt(spread_truth * spread_answer)
        return np.where(spread_truth > 0, np.nan_to_num(_where(spread > 0, covariance, spread)), np.nan)

    return measure


def predictive_values(
    hits: int, positives: int, rejections: int, negatives: int, prevalence: float
) -> tuple[Interval | None, Interval | None]:
    """What a positive and a negative answer are worth where `prevalence` of the people are positive (Bayes).

    PPV = sens p / (sens p + (1 - spec)(1 - p)); NPV = spec (1 - p) / (spec (1 - p) + (1 - sens) p). The intervals take
    the prevalence for known, and are the logit intervals of Mercaldo et al. (2007): logit PPV has the variance
    (1 - sens) / (sens positives) + spec / ((1 - spec) negatives). Where a count is 0, half a case is added to each. A
    value is None where nobody gets that answer. Raises ValueError where there is no positive or no negative, or the
    prevalence is not above 0 and below 1.
    """
    if not (0 <= hits <= positives and 0 <= rejections <= negatives and positives and negatives and 0 < prevalence < 1):
        raise ValueError("Predictive values need positives, negatives, and a prevalence above 0 and below 1.")
    odds = prevalence / (1 - prevalence)

    def value(right: int, of_right: int, wrong: int, of_wrong: int, odds: float) -> Interval | None:
        if not right and not wrong:
            return None
        plain = odds * right / of_right
        plain /= plain + wrong / of_wrong
        half = 0.0 if 0 < right < of_right and 0 < wrong < of_wrong else 0.5
        a, b = (right + half) / (of_right + 2 * half), (wrong + half) / (of_wrong + 2 * half)
        error = math.sqrt((1 - a) / (a * of_right) + (1 - b) / (b * of_wrong))
        low, high = (1 / (1 + math.exp(-math.log(odds * a / b) - side * Z * error)) for side in (-1, 1))
        return Interval(plain, min(low, plain), max(high, plain), positives + negatives)

    return (
        value(hits, positives, negatives - rejections, negatives, odds),
        value(rejections, negatives, positives - hits, positives, 1 / odds),
    )


def _confusions(labels: np.ndarray, predicted: np.ndarray, k: int) -> Callable[[np.ndarray], np.ndarray]:
    """A function that makes confusion matrices [R, k, k] of how often each image counts, [R, N]."""
    cells = np.zeros((len(labels), k * k))
    cells[np.arange(len(labels)), labels * k + predicted] = 1
    return lambda weights: (weights @ cells).reshape(-1, k, k)


def _where(defined: np.ndarray, above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Divide, and give NaN where the ratio is not defined."""
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=defined)


def _balanced_accuracy_of(labels: np.ndarray, predicted: np.ndarray, k: int) -> Metric:
    count = _confusions(labels, predicted, k)

    def measure(weights: np.ndarray) -> np.ndarray:
        confusion = count(weights)
        totals = confusion.sum(axis=2)
        return _where(totals > 0, np.diagonal(confusion, axis1=1, axis2=2), totals).mean(axis=1)

    return measure


def _balanced_interval(labels: np.ndarray, predicted: np.ndarray, k: int, patients: Sequence[str]) -> Interval | None:
    """The balanced accuracy, bootstrapped; where no resample differs, from the classes' own intervals by patient.

    Those are put together as the squares of their distances add up (Zou and Donner 2008).
    """
    interval = bootstrap(_balanced_accuracy_of(labels, predicted, k), patients)
    if not interval or interval.known:
        return interval
    right, value = predicted == labels, interval.value
    shares = [clustered_proportion(right[labels == i], list(compress(patients, labels == i))) for i in range(k)]
    below = math.hypot(*(one.value - one.low for one in shares if one)) / k
    above = math.hypot(*(one.high - one.value for one in shares if one)) / k
    return Interval(value, max(0.0, value - below), min(1.0, value + above), interval.n)


def _f1_of(labels: np.ndarray, predicted: np.ndarray) -> Metric:
    hits, both = labels & predicted, labels.astype(float) + predicted

    def measure(weights: np.ndarray) -> np.ndarray:
        positives = weights @ labels
        return _where((positives > 0) & (positives < weights.sum(axis=1)), 2 * (weights @ hits), weights @ both)

    return measure


def _likelihood_ratio_of(labels: np.ndarray, given: np.ndarray) -> Metric:
    """How many times as often an answer is given to positives as to negatives."""

    def measure(weights: np.ndarray) -> np.ndarray:
        positives, negatives = weights @ labels, weights @ ~labels
        rate = _where(positives > 0, weights @ (given & labels), positives)
        return _where(negatives > 0, rate * negatives, np.maximum(weights @ (given & ~labels), 0.5))

    return measure


def _macro_auroc_of(labels: np.ndarray, probabilities: np.ndarray) -> Metric:
    aurocs = [auroc_of(labels == i, scores) for i, scores in enumerate(probabilities.T)]
    return lambda weights: np.mean([auroc(weights) for auroc in aurocs], axis=0)


def _squares(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The Brier score of each image."""
    k = probabilities.shape[1]
    return ((probabilities - np.eye(k)[labels]) ** 2).sum(axis=1) / (2 if k == 2 else 1)
