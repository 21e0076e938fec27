"""How good is a classifier: metrics with 95 % intervals, calibration, the decision threshold, and prediction sets.

It knows arrays of labels and probabilities, and neither images nor models. A metric that a test set cannot tell
(specificity where nobody is healthy) is None, never NaN. scipy is imported where it is used, since it takes longer to
load than a prediction takes, and a prediction needs its set of classes alone.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import compress

import numpy as np

from covid_cnn.errors import BundleError, DatasetError

LIKELIHOOD_RATIOS = {
    "Likelihood ratio of a positive answer": "lr_positive",
    "Likelihood ratio of a negative answer": "lr_negative",
}

UNKNOWN = "not known"
FEW = 10  # patients of a class, below which an interval says little
Z = 1.959963984540054  # the normal quantile of a two-sided 95 % interval

Metric = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Interval:
    """A metric's value and its 95 % confidence interval, found on `n` cases.

    An interval without width tells that no resample differed, as where there is no error: that the sample is easy or
    small, and not that the value is certain. It counts as not known, and is null in JSON.
    """

    value: float
    low: float
    high: float
    n: int

    def __post_init__(self) -> None:
        if self.low is None or self.high is None:  # as it was in JSON
            object.__setattr__(self, "low", self.value)
            object.__setattr__(self, "high", self.value)

    @property
    def known(self) -> bool:
        """Whether it has a width."""
        return self.low < self.high

    @property
    def bounds(self) -> str:
        """The bounds in words."""
        return f"{self.low:.3f} to {self.high:.3f}" if self.known else UNKNOWN

    def __str__(self) -> str:
        return f"{self.value:.3f} (95 % CI {self.bounds}, n = {self.n})"

    def to_dict(self) -> dict[str, float | int | None]:
        """The fields by name, for JSON; `Interval(**fields)` reads them back."""
        return asdict(self) | ({} if self.known else {"low": None, "high": None})


def wilson(successes: int, n: int) -> Interval:
    """A proportion with its score interval (Wilson 1927), which stays inside 0..1 and is honest at 0 and at 1.

    Raises
    ------
    ValueError
        n is not positive, or successes is not in 0..n.
    """
    from scipy.stats import binomtest

    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"{successes} of {n} is not a proportion.")
    interval = binomtest(int(successes), int(n)).proportion_ci(0.95, method="wilson")
    return Interval(successes / n, float(interval.low), float(interval.high), int(n))


def bootstrap(
    metric: Metric,
    labels: np.ndarray,
    scores: np.ndarray,
    patients: Sequence[str],
    seed: int = 0,
    repeats: int = 1000,
) -> Interval | None:
    """A metric with its percentile bootstrap interval (Efron 1979), whole patients resampled with replacement.

    Images of one patient resemble each other, so that resampling images would give too narrow an interval (Field and
    Welsh 2007). A metric without a single error gets an interval without width, because no resample holds an error
    either: it is not known then (see `Interval`). `auroc_interval` knows what to do about it.

    Parameters
    ----------
    metric : takes labels and scores; NaN where it is undefined (a resample with one class). Those are skipped.
    labels : int [N].
    scores : [N] or [N, K], whatever `metric` takes.
    patients : N names; equal names are one patient.

    Returns
    -------
    The interval, n being the number of images; None where the metric is undefined on the whole set.
    """
    value = metric(labels, scores)
    if math.isnan(value):
        return None
    _, owner = np.unique(list(patients), return_inverse=True)
    images_of = np.split(np.argsort(owner, kind="stable"), np.cumsum(np.bincount(owner))[:-1])
    generator = np.random.default_rng(seed)
    values = []
    for _ in range(repeats):
        drawn = generator.integers(len(images_of), size=len(images_of))
        images = np.concatenate([images_of[patient] for patient in drawn])
        values.append(metric(labels[images], scores[images]))
    low, high = np.nanpercentile(values, [2.5, 97.5])
    # Repeated cases make a calibration error look larger, so that all resamples may lie above the value itself.
    return Interval(float(value), float(min(low, value)), float(max(high, value)), len(labels))


def auroc_interval(labels: np.ndarray, scores: np.ndarray, patients: Sequence[str], seed: int = 0) -> Interval | None:
    """The AUROC with its `bootstrap` interval over patients, or `perfect_auroc`'s where it is 0 or 1.

    Parameters
    ----------
    labels : bool [N].
    scores : float [N], the higher the more positive.
    patients : N names.

    Returns
    -------
    The interval; None where all are positive or none is.
    """
    found = bootstrap(auroc, labels, scores, patients, seed)
    if found is None or found.known or 0 < found.value < 1:
        return found
    side = np.asarray(labels, bool)
    of = [
        len({patient for patient, one in zip(patients, side, strict=True) if one == which}) for which in (True, False)
    ]
    low = perfect_auroc(*of)
    return Interval(1.0, low, 1.0, len(side)) if found.value == 1 else Interval(0.0, 0.0, 1 - low, len(side))


def perfect_auroc(positives: int, negatives: int) -> float:
    """The lower 95 % bound of an AUROC of 1 (Newcombe 2006, method 5), where no resample would tell one.

    It is the t with 1 - t = z sqrt(V), V = t (1 - t) (1 + r (1 - t) / (2 - t) + r t / (1 + t)) / (m n): the variance
    of Hanley and McNeil (1982) at t itself, with r = (m + n) / 2 - 1 in place of m - 1 and of n - 1.

    Parameters
    ----------
    positives, negatives : m and n, how many of each there are that are independent: the patients.
    """
    from scipy.optimize import brentq

    r = (positives + negatives) / 2 - 1

    def excess(t: float) -> float:
        variance = t * (1 - t) * (1 + r * (1 - t) / (2 - t) + r * t / (1 + t)) / (positives * negatives)
        return (1 - t) - Z * math.sqrt(variance)

    # Divided by sqrt(1 - t), which is 0 at 1 too, so that the other root is the only one.
    return float(brentq(lambda t: excess(t) / math.sqrt(1 - t), 1e-12, 1 - 1e-12))


def by_patient(right: np.ndarray, patients: Sequence[str]) -> Interval | None:
    """A proportion with Wilson's interval for as many independent images as these are worth (Rao and Scott 1992).

    Images of one patient are alike. With p the share, k patients of m_i images, x_i of them right, and n images, the
    share has the variance V = k / (k - 1) sum (x_i - p m_i)^2 / n^2, and the images are worth n_e = p (1 - p) / V
    independent ones, n at most. Where all are right or none is, V is 0 and tells nothing: then they are worth as many
    as there are patients.

    Parameters
    ----------
    right : bool [N].
    patients : N names.

    Returns
    -------
    The interval, n being the number of images; None where there is no image.
    """
    right = np.asarray(right, float)
    n = len(right)
    if n == 0:
        return None
    _, owner = np.unique(list(patients), return_inverse=True)
    images, hits = np.bincount(owner), np.bincount(owner, weights=right)
    k, p = len(images), float(right.mean())
    variance = ((hits - p * images) ** 2).sum() * k / (k - 1) / n**2 if k > 1 else 0.0
    worth = min(p * (1 - p) / variance, n) if variance > 0 else k
    centre = (p + Z**2 / (2 * worth)) / (1 + Z**2 / worth)
    half = Z / (1 + Z**2 / worth) * math.sqrt(p * (1 - p) / worth + Z**2 / (4 * worth**2))
    return Interval(p, max(0.0, min(centre - half, p)), min(1.0, max(centre + half, p)), n)


def few_patients(counts: Mapping[str, tuple[int, int]]) -> list[str]:
    """A sentence for each class, with its images and patients, that has too few patients to tell much of."""
    return [
        f"{name}: {images} images of only {patients} {'patient' if patients == 1 else 'patients'}, as far as names and "
        "metadata tell them apart (all figures of one paper count as one): too few to tell much of."
        for name, (images, patients) in counts.items()
        if 0 < patients < FEW
    ]


def evaluate(
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
    titles of `rows`; it is empty where each patient has one image.

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
        "accuracy": _proportion(np.trace(confusion), n),
        "balanced_accuracy": _balanced_interval(labels, predicted, k, patients),
        "sensitivity_by_class": {name: _proportion(confusion[i, i], totals[i]) for i, name in enumerate(classes)},
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
        "sensitivity": _proportion(hits, totals[yes]),
        "specificity": _proportion(rejections, n - totals[yes]),
        "ppv": _proportion(hits, hits + false_alarms) if both else None,
        "npv": _proportion(rejections, rejections + misses) if both else None,
        "lr_positive": likelihood_ratio(True),
        "lr_negative": likelihood_ratio(False),
        "f1": resampled(lambda y, p: _f1(y == yes, p == yes), predicted),
        "average_precision": resampled(lambda y, p: average_precision(y == yes, p), probabilities[:, yes]),
    }


def rows(report: dict) -> list[tuple[str, Interval | None]]:
    """The metrics of an `evaluate` report by their display names, in the order in which a reader wants them."""
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
    """The `rows` as a person reads them, the head first; with a column for `by_patient` where it tells something."""
    clustered = {title: Interval(**fields).bounds for title, fields in report.get("by_patient", {}).items()}
    table: list[tuple[str, ...]] = [("Metric", "Value", "95 % interval", "By patient", "n")]
    for title, interval in rows(report):
        told = (f"{interval.value:.3f}", interval.bounds) if interval else ("undefined", "")
        table.append((title, *told, clustered.get(title, ""), str(interval.n) if interval else ""))
    return table if clustered else [(*line[:3], line[4]) for line in table]


def patients_of(report: dict) -> str:
    """How many images and patients there were, by class where that is known, in words."""
    by_class = report.get("patients_by_class", {})
    told = f" ({', '.join(f'{count} {name}' for name, count in by_class.items())})" if by_class else ""
    return f"{report['n']} images of {report['n_patients']} patients{told}."


def cautions(report: dict) -> list[str]:
    """A sentence for each class that an `evaluate` report has too few patients of."""
    images = dict(zip(report["classes"], (sum(row) for row in report["confusion"]), strict=True))
    return few_patients(
        {name: (images[name], patients) for name, patients in report.get("patients_by_class", {}).items()}
    )


def summary(report: dict) -> str:
    """An `evaluate` report as a Markdown table that also reads well in a terminal."""
    table = cells(report)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    table.insert(1, tuple("-" * width for width in widths))
    lines = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in table]
    warnings = [line for caution in cautions(report) for line in ("", caution)]
    return "\n".join([patients_of(report), "", *lines, *warnings])


def expected_calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> float:
    """The mean gap between confidence and accuracy over equal bins of confidence (Guo et al. 2017).

    Parameters
    ----------
    labels : int [N].
    probabilities : float [N, K]; the largest of a row is its confidence.

    Returns
    -------
    0..1; 0 is perfect.
    """
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    bin_of = _bins(confidence, bins)
    # |accuracy - confidence| of a bin times its share of the images is |sum of the differences| over all images.
    return float(np.abs(np.bincount(bin_of, weights=correct - confidence)).sum() / len(labels))


def reliability(labels: np.ndarray, probabilities: np.ndarray, bins: int = 10) -> list[dict]:
    """How often the most probable class is right, against how probable it was (DeGroot and Fienberg 1983).

    Parameters
    ----------
    labels : int [N].
    probabilities : float [N, K]; the largest of a row is its confidence.
    bins : equal parts of 0..1, into which the images fall by their confidence.

    Returns
    -------
    For each part that holds an image, in order: `confidence` (their mean), `accuracy` (the share whose most probable
    class is right, as `Interval.to_dict()`) and `n` images.
    """
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == labels
    bin_of = _bins(confidence, bins)
    return [
        {
            "confidence": float(confidence[bin_of == i].mean()),
            "accuracy": wilson(int(correct[bin_of == i].sum()), int((bin_of == i).sum())).to_dict(),
            "n": int((bin_of == i).sum()),
        }
        for i in np.unique(bin_of)
    ]


def calibration(
    labels: np.ndarray, log_probabilities: np.ndarray, temperature: float, patients: Sequence[str], split: str = "val"
) -> dict:
    """What a temperature does to the calibration: the `calibration` of `model.json`, for the card and its diagram.

    Parameters
    ----------
    labels : int [N].
    log_probabilities : float [N, K], before the division by the temperature; logits do as well.
    temperature : as `fit_temperature` found it.
    patients : N names.
    split : "val" or "test", whose images these are. On those that the temperature was fitted on, the error after it
        looks smaller than it is.

    Returns
    -------
    `temperature`, `n`, `split`, and `before` and `after`, each with `ece`, an `Interval.to_dict()`, and `reliability`.
    """
    from scipy.special import softmax

    def told(probabilities: np.ndarray) -> dict:
        error = bootstrap(expected_calibration_error, labels, probabilities, patients)
        return {"ece": error.to_dict() if error else None, "reliability": reliability(labels, probabilities)}

    labels, log_probabilities = np.asarray(labels), np.asarray(log_probabilities, float)
    return {
        "temperature": temperature,
        "n": len(labels),
        "split": split,
        "before": told(softmax(log_probabilities, axis=1)),
        "after": told(softmax(log_probabilities / temperature, axis=1)),
    }


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The temperature T for which softmax(logits / T) is best calibrated, by its likelihood (Guo et al. 2017).

    Where a small validation set is classified without error, the likelihood grows for ever as T goes to 0, and the fit
    would answer with certainties. So the targets are not 0 and 1 but the posterior means under a uniform prior, as in
    Platt (1999): (n_c + 1) / (n_c + K) for the true class c of n_c images, the rest shared by the others.

    Parameters
    ----------
    logits : float [N, K], or log-probabilities: softmax takes both alike.
    labels : int [N].
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
    so that classes which 0.5 separates keep 0.5. With one class alone nothing can be chosen, and it is 0.5.

    Parameters
    ----------
    labels : bool or 0/1 [N], 1 being positive.
    scores : float [N], 0..1.
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
    and nothing is positive. Without a negative nothing can be chosen, and it is 0.5.

    Parameters
    ----------
    labels : bool or 0/1 [N], 1 being positive.
    scores : float [N], 0..1.
    specificity : above 0, at most 1: the share of these negatives that must stay below the threshold.

    Raises
    ------
    ValueError
        the specificity is out of its range.
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
    here are exchangeable, so not at another hospital, and less surely where patients have several images. (Vovk 2012,
    there called Mondrian or label-conditional; Angelopoulos and Bates 2021.) Of n images of a class, the threshold is
    the m-th smallest probability given to it, m being the whole part of (n + 1) (1 - level): of n + 1 exchangeable
    images, that many at most are left out.

    Parameters
    ----------
    labels : int [N], of images that neither the weights nor the choice of the network have seen.
    probabilities : float [N, K], as they will be compared: calibrated.
    level : above 0, below 1.

    Returns
    -------
    float64 [K]; 0, which takes every image in, for a class with too few images for the level (fewer than 9 for 0.9).

    Raises
    ------
    ValueError
        the level is out of its range.
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


def prediction_sets(probabilities: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Which classes each image could be of: those whose probability reaches their threshold.

    A set is never empty. Where no class reaches its threshold, the most probable one is taken: "could be nothing"
    helps nobody, an image that is of no known kind is flagged by its distance and not here, and a class more can only
    raise the coverage.

    Parameters
    ----------
    probabilities : float [N, K].
    thresholds : float [K], from `conformal_thresholds`.

    Returns
    -------
    bool [N, K].
    """
    sets = probabilities >= np.asarray(thresholds)
    empty = np.flatnonzero(~sets.any(axis=1))
    sets[empty, probabilities[empty].argmax(axis=1)] = True
    return sets


def coverage(labels: np.ndarray, sets: np.ndarray, patients: Sequence[str] | None = None) -> dict:
    """How often the true class is in the prediction set, and how much the sets say.

    Parameters
    ----------
    labels : int [N].
    sets : bool [N, K], from `prediction_sets`.
    patients : N names, whom the interval of the mean size is bootstrapped over; None makes each image one of its own.

    Returns
    -------
    `coverage`, `coverage_by_class` (a list of K; None for a class without images), `single` (the share of sets that
    hold one class), all with Wilson intervals, and `mean_size` with a bootstrap interval, as `Interval.to_dict()`.
    """
    labels = np.asarray(labels)
    covered = sets[np.arange(len(labels)), labels]
    sizes = sets.sum(axis=1)
    names = [str(i) for i in range(len(labels))] if patients is None else patients
    mean_size = bootstrap(lambda y, chosen: float(chosen.mean()), labels, sizes, names)
    return {
        "coverage": _proportion(covered.sum(), len(labels)),
        "coverage_by_class": [
            _proportion(covered[labels == k].sum(), (labels == k).sum()) for k in range(sets.shape[1])
        ],
        "mean_size": mean_size.to_dict() if mean_size else None,
        "single": _proportion((sizes == 1).sum(), len(labels)),
    }


def auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """The probability that a positive scores above a negative, from their ranks (Mann and Whitney 1947).

    Parameters
    ----------
    labels : bool [N].
    scores : float [N], the higher the more positive; ties count half.

    Returns
    -------
    0..1, NaN where all are positive or none is.
    """
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if not positives or not negatives:
        return math.nan
    # A thousand resamples ask for this: scipy's rankdata takes ten times as long for a few hundred scores.
    others, own = np.sort(scores[~labels]), scores[labels]
    below = np.searchsorted(others, own, "left").sum() + np.searchsorted(others, own, "right").sum()
    return float(below / (2 * positives * negatives))


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


# The metrics below run thousands of times in a bootstrap, where scikit-learn's checks of its input would take most of
# the time; the tests hold each to scikit-learn's value.


def _bins(confidence: np.ndarray, bins: int) -> np.ndarray:
    """The equal part of 0..1, by its number, that each confidence falls into; each part has its upper end."""
    return np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)


def _confusion(labels: np.ndarray, predicted: np.ndarray, k: int) -> np.ndarray:
    return np.bincount(labels * k + predicted, minlength=k * k).reshape(k, k)


def _proportion(successes: int, n: int) -> dict | None:
    return wilson(successes, n).to_dict() if n else None


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
        of = [by_patient(right[labels == i], list(compress(patients, labels == i))) for i in range(k)]
        below = math.hypot(*(one.value - one.low for one in of if one)) / k
        above = math.hypot(*(one.high - one.value for one in of if one)) / k
        found = Interval(found.value, max(0.0, found.value - below), min(1.0, found.value + above), found.n)
    return found.to_dict() if found else None


def _shares_by_patient(
    labels: np.ndarray, predicted: np.ndarray, classes: Sequence[str], positive: str | None, patients: Sequence[str]
) -> dict[str, dict]:
    """`by_patient` of each proportion, by its title in `rows`; nothing where each patient has one image."""
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
    found = {title: by_patient(good[of], list(compress(patients, of))) for title, good, of in asked}
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
