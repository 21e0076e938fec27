"""Yes-or-no questions put to a model's answers, so that models of different classes can be held against each other.

A model may be asked for the class that it looks for, against all others, or whether a person is ill at all: then what
it gives to the healthy class speaks for no, and every image of another class, known to the model or not, is a yes.
"""

from dataclasses import dataclass

import numpy as np
from msgspec import structs

from covid_cnn.common import statistics
from covid_cnn.common.errors import DatasetError
from covid_cnn.data import classes
from covid_cnn.data.dataset import Item
from covid_cnn.evaluation import metrics, predictions
from covid_cnn.evaluation.predictions import DatasetPredictions, OfImages
from covid_cnn.models.bundle import Bundle
from covid_cnn.models.info import AtPrevalence, Report

POSITIVE, DISEASED = "positive", "ill"


@dataclass(frozen=True)
class BinaryPredictions(OfImages):
    """What a model says to a yes-or-no question about N images."""

    # What the two answers mean
    yes: str
    no: str
    items: list[Item]  # the N images
    labels: np.ndarray  # bool ``[N]``, the truth
    scores: np.ndarray  # float ``[N]``, 0..1, the probability of yes
    threshold: float  # the answer is yes from this score on
    flagged: np.ndarray  # bool ``[N]``, whether the image is unlike those the model learned from
    notes: list[str]  # a sentence for each group of images that was left out

    @property
    def predicted(self) -> np.ndarray:
        """Bool ``[N]``, whether the answer is yes."""
        return self.scores >= self.threshold

    @property
    def probabilities(self) -> np.ndarray:
        """Float ``[N, 2]``, of no and of yes."""
        return np.stack([1 - self.scores, self.scores], axis=1)

    @property
    def right(self) -> np.ndarray:
        """Bool ``[N]``, whether the answer is the truth."""
        return self.predicted == self.labels

    def worst(self) -> np.ndarray:
        """The images that got a wrong answer, by their indices, the one that the model was surest of first."""
        wrong = np.flatnonzero(~self.right)
        doubt = np.where(self.labels, self.scores, 1 - self.scores)[wrong]
        return wrong[np.argsort(doubt, kind="stable")]


def binary_tasks(bundle: Bundle) -> dict[str, str]:
    """The questions that can be put to a bundle, in words by their key; the first is what it was made for."""
    tasks = {POSITIVE: f"{bundle.positive} or not"} if bundle.positive is not None else {}
    if classes.matching_class("normal", bundle.classes):
        tasks[DISEASED] = "Ill or healthy"
    return tasks


def binarize(
    bundle: Bundle, answers: DatasetPredictions, question: str, threshold: float | None = None
) -> BinaryPredictions:
    """What a bundle's answers say to a question, a key of ``binary_tasks``.

    The ``threshold`` is in place of the bundle's own, which for ``DISEASED`` in more than two classes is 0.5. Raises
    DatasetError where the bundle cannot be asked this, or no image is of a class that it knows.
    """
    if question not in binary_tasks(bundle):
        raise DatasetError(f"Model {bundle.name} cannot be asked this: it knows {', '.join(bundle.classes)}.")
    if question == DISEASED:
        healthy = bundle.classes.index(str(classes.matching_class("normal", bundle.classes)))
        labels = np.array([not classes.matching_class(item.label, ["normal"]) for item in answers.items])
        scores = 1 - answers.probabilities[:, healthy]
        yes, no = "ill", "healthy"
        own = len(bundle.classes) == 2 and bundle.positive not in (None, bundle.classes[healthy])
    else:
        answers = predictions.drop_unknown(answers)
        if not answers.items:
            raise DatasetError(f"No image is of a class that model {bundle.name} knows ({', '.join(bundle.classes)}).")
        positive = bundle.classes.index(str(bundle.positive))
        labels, scores = answers.labels == positive, answers.probabilities[:, positive]
        yes, no, own = str(bundle.positive), f"not {bundle.positive}", True
    if threshold is None:
        threshold = bundle.threshold if own and bundle.threshold is not None else 0.5
    return BinaryPredictions(yes, no, answers.items, labels, scores, threshold, answers.flagged, answers.notes)


def has_both_answers(bundle: Bundle, answers: DatasetPredictions, question: str) -> bool:
    """Whether the images hold both answers to a question, so that it has a curve."""
    try:
        labels = binarize(bundle, answers, question).labels
    except DatasetError:
        return False
    return bool(labels.any() and not labels.all())


def report_binary(answers: BinaryPredictions) -> Report:
    """How good the answers to a yes-or-no question are at the threshold."""
    report = metrics.evaluate_classifier(
        answers.labels.astype(int),
        answers.predicted.astype(int),
        answers.probabilities,
        (answers.no, answers.yes),
        answers.yes,
        answers.patients,
    )
    flagged = statistics.wilson(int(answers.flagged.sum()), len(answers.items))
    return structs.replace(report, threshold=answers.threshold, out_of_distribution=flagged, notes=answers.notes)


def count_outcomes(answers: BinaryPredictions) -> dict[str, int]:
    """``hits``, ``misses``, ``false_alarms`` and ``rejections`` at the threshold."""
    yes = answers.predicted
    return {
        "hits": int((yes & answers.labels).sum()),
        "misses": int((~yes & answers.labels).sum()),
        "false_alarms": int((yes & ~answers.labels).sum()),
        "rejections": int((~yes & ~answers.labels).sum()),
    }


def at_prevalence(answers: BinaryPredictions, prevalence: float) -> AtPrevalence:
    """What the answers are worth where this share of people is a yes (``metrics.predictive_values``).

    Raises DatasetError where the images hold no yes, or no no, so that sensitivity or specificity is unknown.
    """
    of = count_outcomes(answers)
    positives, negatives = of["hits"] + of["misses"], of["rejections"] + of["false_alarms"]
    if not positives or not negatives:
        raise DatasetError(f"Predictive values need images of both kinds, {answers.yes} and {answers.no}.")
    values = metrics.predictive_values(of["hits"], positives, of["rejections"], negatives, prevalence)
    return AtPrevalence(prevalence, *values)
