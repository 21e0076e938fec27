"""How good is a classifier: its metrics, each with a 95 % interval, as one report.

It knows arrays of labels and probabilities, and neither images nor models. A metric that a test set cannot tell
(specificity where nobody is healthy) is None, never NaN.
"""

import math
from collections.abc import Sequence
from itertools import compress

import numpy as np

from covid_cnn.common.errors import BundleError, DatasetError
from covid_cnn.common.statistics import (
    Interval,
    Metric,
    Z,
    auroc,
    auroc_interval,
    bootstrap,
    clustered_proportion,
    proportion,
    warn_of_few_patients,
)
from covid_cnn.evaluation.calibration import expected_calibration_error

LIKELIHOOD_RATIOS = {
    "Likelihood ratio of a positive answer": "lr_positive",
    "Likelihood ratio of a negative answer": "lr_negative",
}


def evaluate_classifier(
    labels: np.ndarray,
    predicted: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
    positive: str | None,
    patients: Sequence[str],
) -> dict:
    """Everything that a test set tells about a classifier, as a dict for JSON.

    Proportions (accuracy, sensitivity, specificity, predictive values) carry Wilson intervals, which take the images
    for independent; `by_patient` holds those that do not. The other metrics carry bootstrap intervals over patients.
    Predictive values hold at the share of positives in this test set and nowhere else.

    With more than two classes and a positive one the report holds both readings: all classes apart, and the positive
    class against the rest, in which an image of one other class that is taken for another counts as right.

    Parameters
    ----------
    labels : int [N], the true class of each image as an index into `classes`.
    predicted : int [N], the class that the classifier answered (which its threshold decides, so that it need not
        be the most probable).
    probabilities : float [N, K].
    classes : K names.
    positive : the one of the classes that is looked for; None where there is no such class.
    patients : N names.

    Returns
    -------
    `n`, `n_patients`, `patients_by_class`, `classes`, `positive`, `confusion` (rows true, columns predicted), and these
    metrics, each an `Interval.to_dict()` or None where undefined: `accuracy`, `balanced_accuracy` (where no resample
    differs, from the classes' own intervals), `mcc` (Matthews 1975; Gorodkin 2004
    for more than two classes), `brier` (Brier 1950; halved for two classes, as is usual there), `ece`, `auroc`, and
    `sensitivity_by_class`, a dict over the classes. With a positive class also `sensitivity`, `specificity`, `ppv`,
    `npv`, `f1`, `average_precision`, and the likelihood ratios `lr_positive` = sensitivity / (1 - specificity) and
    `lr_negative` = (1 - sensitivity) / specificity. With two classes and a positive one `auroc` is of that; else it
    is the macro average of each class against the rest, `auroc_by_class` holds the single ones, and `auroc_positive`
    that of the positive class, if there is one. `by_patient` holds the intervals of the function of that name by the
    titles of `metric_rows`; it is empty where each patient has one image.

    Raises
    ------
    DatasetError
        there is no image.
    BundleError
        a probability is not a number.
    ValueError
        the arguments do not fit together.
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

    confusion = _confusion(labels, predicted, k)
    totals = confusion.sum(axis=1)

    def resampled(metric: Metric, scores: np.ndarray) -> dict | None:
        interval = bootstrap(metric, labels, scores, patients)
        return interval.to_dict() if interval else None

    report = {
        "n": n,
        "n_patients": len(set(patients)),
        "patients_by_class": {name: len(set(compress(patients, labels == i))) for i, name in enumerate(classes)},
        "classes": list(classes),
        "positive": positive,
        "confusion": confusion.tolist(),
        "accuracy": proportion(np.trace(confusion), n),
        "balanced_accuracy": _balanced_interval(labels, predicted, k, patients),
        "sensitivity_by_class": {name: proportion(confusion[i, i], totals[i]) for i, name in enumerate(classes)},
        "mcc": resampled(lambda y, p: matthews(y, p, k), predicted),
        "brier": resampled(_brier, probabilities),
        "ece": resampled(expected_calibration_error, probabilities),
        "by_patient": _shares_by_patient(labels, predicted, classes, positive, patients),
    }

    def auroc_of(i: int) -> dict | None:
        interval = auroc_interval(labels == i, probabilities[:, i], patients)
        return interval.to_dict() if interval else None

    if positive is None or k > 2:
        by_class = {name: auroc_of(i) for i, name in enumerate(classes)}
        report |= {"auroc": resampled(_macro_auroc, probabilities), "auroc_by_class": by_class}
    if positive is None:
        return report

    yes = list(classes).index(positive)
    hits, false_alarms = confusion[yes, yes], confusion[:, yes].sum() - confusion[yes, yes]
    misses = totals[yes] - hits
    rejections = n - hits - misses - false_alarms
    # Without a positive or without a negative the predictive values are 0 or 1 whatever the classifier does.
    both = 0 < totals[yes] < n

    def likelihood_ratio(answer: bool) -> dict | None:
        # Where no negative got the answer, the ratio has no value; a resample without one counts half a negative.
        given = ((labels != yes) & ((predicted == yes) == answer)).any()
        return resampled(lambda y, p: _likelihood_ratio(y == yes, (p == yes) == answer), predicted) if given else None

    return report | {
        **({"auroc_positive": report["auroc_by_class"][positive]} if k > 2 else {"auroc": auroc_of(yes)}),
        "sensitivity": proportion(hits, totals[yes]),
        "specificity": proportion(rejections, n - totals[yes]),
        "ppv": proportion(hits, hits + false_alarms) if both else None,
        "npv": proportion(rejections, rejections + misses) if both else None,
        "lr_positive": likelihood_ratio(True),
        "lr_negative": likelihood_ratio(False),
        "f1": resampled(lambda y, p: _f1(y == yes, p == yes), predicted),
        "average_precision": resampled(lambda y, p: average_precision(y == yes, p), probabilities[:, yes]),
    }


def metric_rows(report: dict) -> list[tuple[str, Interval | None]]:
    """The metrics of an `evaluate_classifier` report by display name, in the order in which a reader wants them."""
    positive = report["positive"]
    table = [("Accuracy", report["accuracy"]), ("Balanced accuracy", report["balanced_accuracy"])]
    if positive is not None:
        two = len(report["classes"]) == 2
        table = [
            (f"Sensitivity ({positive})", report["sensitivity"]),
            ("Specificity", report["specificity"]),
            ("AUROC" if two else f"AUROC ({positive} against the rest)", report["auroc" if two else "auroc_positive"]),
            *table,
            ("Positive predictive value", report["ppv"]),
            ("Negative predictive value", report["npv"]),
            # Models of an earlier version carry reports without these.
            *((title, report[key]) for title, key in LIKELIHOOD_RATIOS.items() if key in report),
            ("F1 score", report["f1"]),
            *([("Average precision", report["average_precision"])] if "average_precision" in report else []),
        ]
    if "mcc" in report:
        table.append(("Matthews correlation", report["mcc"]))
    if "auroc_by_class" in report:
        others = [name for name in report["classes"] if name != positive]
        table += [("AUROC (macro, one against the rest)", report["auroc"])]
        table += [(f"Sensitivity, {name}", report["sensitivity_by_class"][name]) for name in others]
        table += [(f"AUROC, {name}", report["auroc_by_class"][name]) for name in others]
    table += [("Brier score", report["brier"]), ("Expected calibration error", report["ece"])]
    if sets := report.get("prediction_sets"):
        table += [(f"Coverage of the {100 * sets['level']:g} % prediction sets", sets["coverage"])]
        by_class = zip(report["classes"], sets["coverage_by_class"], strict=True)
        table += [(f"Coverage, {name}", entry) for name, entry in by_class]
        table += [("Classes in a set, on average", sets["mean_size"]), ("Sets of one class", sets["single"])]
    return [(title, Interval(**entry) if entry else None) for title, entry in table]


def cells(report: dict) -> list[tuple[str, ...]]:
    """The `metric_rows` as text, the head first; with a column for `by_patient` where it tells something."""
    clustered = {title: Interval(**fields).bounds for title, fields in report.get("by_patient", {}).items()}
    table: list[tuple[str, ...]] = [("Metric", "Value", "95 % interval", "By patient", "n")]
    for title, interval in metric_rows(report):
        told = (f"{interval.value:.3f}", interval.bounds) if interval else ("undefined", "")
        table.append((title, *told, clustered.get(title, ""), str(interval.n) if interval else ""))
    return table if clustered else [(*line[:3], line[4]) for line in table]


def patients_of(report: dict) -> str:
    """How many images and patients there were, by class where that is known, in words."""
    by_class = report.get("patients_by_class", {})
    told = f" ({', '.join(f'{count} {name}' for name, count in by_class.items())})" if by_class else ""
    return f"{report['n']} images of {report['n_patients']} patients{told}."


def cautions(report: dict) -> list[str]:
    """A sentence for each class that an `evaluate_classifier` report has too few patients of."""
    images = dict(zip(report["classes"], (sum(row) for row in report["confusion"]), strict=True))
    return warn_of_few_patients(
        {name: (images[name], patients) for name, patients in report.get("patients_by_class", {}).items()}
    )


def summarize(report: dict) -> str:
    """An `evaluate_classifier` report as a Markdown table that also reads well in a terminal."""
    table = cells(report)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    table.insert(1, tuple("-" * width for width in widths))
    lines = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in table]
    warnings = [line for caution in cautions(report) for line in ("", caution)]
    return "\n".join([patients_of(report), "", *lines, *warnings])


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """The area under the precision-recall steps: the mean precision over the recall gained at each threshold.

    Parameters
    ----------
    labels : bool [N].
    scores : float [N], the higher the more positive; equal ones are called together.

    Returns
    -------
    0..1, NaN where all are positive or none is.
    """
    if labels.all() or not labels.any():
        return math.nan
    order = np.argsort(-scores, kind="stable")
    last_of_equals = np.append(np.diff(scores[order]) != 0, True)
    hits = np.cumsum(labels[order])[last_of_equals]
    precision = hits / (np.flatnonzero(last_of_equals) + 1)
    return float((np.diff(hits, prepend=0) * precision).sum() / hits[-1])


def matthews(labels: np.ndarray, predicted: np.ndarray, k: int) -> float:
    """The correlation of truth and answer (Matthews 1975), for more than two classes as in Gorodkin (2004).

    Parameters
    ----------
    labels, predicted : int [N], 0..k - 1.
    k : the number of classes.

    Returns
    -------
    -1..1; 0 where the answer is always the same, NaN where the truth is.
    """
    confusion = _confusion(labels, predicted, k)
    truth, answer, n = confusion.sum(axis=1), confusion.sum(axis=0), len(labels)
    told, said = n**2 - (truth**2).sum(), n**2 - (answer**2).sum()
    if not told:
        return math.nan
    return float((np.trace(confusion) * n - truth @ answer) / math.sqrt(told * said)) if said else 0.0


def predictive_values(
    hits: int, positives: int, rejections: int, negatives: int, prevalence: float
) -> tuple[Interval | None, Interval | None]:
    """What a positive and a negative answer are worth where `prevalence` of the people are positive (Bayes).

    PPV = sens p / (sens p + (1 - spec)(1 - p)); NPV = spec (1 - p) / (spec (1 - p) + (1 - sens) p). The intervals take
    the prevalence for known, and are the logit intervals of Mercaldo et al. (2007): logit PPV has the variance
    (1 - sens) / (sens positives) + spec / ((1 - spec) negatives). Where a count is 0, half a case is added to each.

    Parameters
    ----------
    hits, positives : of so many positives, so many were called positive.
    rejections, negatives : of so many negatives, so many were called negative.
    prevalence : above 0, below 1.

    Returns
    -------
    The positive and the negative predictive value, n being all cases; None where nobody gets that answer.

    Raises
    ------
    ValueError
        there is no positive or no negative, or the prevalence is out of its range.
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


def _confusion(labels: np.ndarray, predicted: np.ndarray, k: int) -> np.ndarray:
    return np.bincount(labels * k + predicted, minlength=k * k).reshape(k, k)


def _balanced_accuracy(labels: np.ndarray, predicted: np.ndarray, k: int) -> float:
    confusion = _confusion(labels, predicted, k)
    totals = confusion.sum(axis=1)
    return float((np.diag(confusion) / totals).mean()) if totals.all() else math.nan


def _balanced_interval(labels: np.ndarray, predicted: np.ndarray, k: int, patients: Sequence[str]) -> dict | None:
    """The balanced accuracy, bootstrapped; where no resample differs, from the classes' own intervals by patient.

    Those are put together as the squares of their distances add up (Zou and Donner 2008).
    """
    found = bootstrap(lambda y, p: _balanced_accuracy(y, p, k), labels, predicted, patients)
    if found and not found.known:
        right = predicted == labels
        of = [clustered_proportion(right[labels == i], list(compress(patients, labels == i))) for i in range(k)]
        below = math.hypot(*(one.value - one.low for one in of if one)) / k
        above = math.hypot(*(one.high - one.value for one in of if one)) / k
        found = Interval(found.value, max(0.0, found.value - below), min(1.0, found.value + above), found.n)
    return found.to_dict() if found else None


def _shares_by_patient(
    labels: np.ndarray, predicted: np.ndarray, classes: Sequence[str], positive: str | None, patients: Sequence[str]
) -> dict[str, dict]:
    """`by_patient` of each proportion, by its title in `metric_rows`; nothing where each patient has one image."""
    if len(set(patients)) == len(labels):
        return {}
    right = predicted == labels
    asked = [("Accuracy", right, np.ones(len(labels), bool))]
    if len(classes) > 2 or positive is None:
        others = [(i, name) for i, name in enumerate(classes) if name != positive]
        asked += [(f"Sensitivity, {name}", right, labels == i) for i, name in others]
    if positive is not None:
        yes, called = (of == list(classes).index(positive) for of in (labels, predicted))
        asked += [(f"Sensitivity ({positive})", called, yes), ("Specificity", ~called, ~yes)]
        if yes.any() and not yes.all():
            asked += [("Positive predictive value", yes, called), ("Negative predictive value", ~yes, ~called)]
    found = {title: clustered_proportion(good[of], list(compress(patients, of))) for title, good, of in asked}
    return {title: interval.to_dict() for title, interval in found.items() if interval}


def _f1(labels: np.ndarray, predicted: np.ndarray) -> float:
    if labels.all() or not labels.any():
        return math.nan
    return float(2 * (labels & predicted).sum() / (labels.sum() + predicted.sum()))


def _likelihood_ratio(labels: np.ndarray, given: np.ndarray) -> float:
    """How many times as often an answer is given to positives as to negatives."""
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        return math.nan
    return float((given & labels).sum() / positives / (max((given & ~labels).sum(), 0.5) / negatives))


def _macro_auroc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    return float(np.mean([auroc(labels == i, scores) for i, scores in enumerate(probabilities.T)]))


def _brier(labels: np.ndarray, probabilities: np.ndarray) -> float:
    k = probabilities.shape[1]
    squares = ((probabilities - np.eye(k)[labels]) ** 2).sum(axis=1)
    return float(squares.mean() / (2 if k == 2 else 1))
