"""Evaluate models on datasets, from their names to reports: what the command line prints.

What a model has learned from is found first, and told or left out.
"""

import hashlib
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from covid_cnn.common.errors import DatasetError
from covid_cnn.common.storage import Cache
from covid_cnn.data.dataset import Dataset, Item, discover_datasets, open_dataset
from covid_cnn.evaluation import binary, external, leakage, predictions
from covid_cnn.evaluation.binary import BinaryPredictions
from covid_cnn.evaluation.cohorts import Shares
from covid_cnn.evaluation.external import DifferenceRow
from covid_cnn.models.bundle import Bundle
from covid_cnn.models.info import Report

ALL_CLASSES = "classes"  # the task of telling all classes apart, beside those of `binary`


@dataclass(frozen=True)
class EvaluationSet:
    """Images to ask about: some of a dataset's, by what their choice is called."""

    name: str
    dataset: Dataset
    split: str  # of the dataset; "all" for every image
    items: tuple[Item, ...]
    unseen: bool = False  # whether those that a model learned from are left out

    @cached_property
    def key(self) -> str:
        """The same for the same images under the same classes."""
        lines = (f"{item.path}|{item.label}|{item.patient}\n" for item in self.items)
        return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()

    def without(self, known: Set[Path]) -> "EvaluationSet":
        """The images that a model has not learned from."""
        items = tuple(item for item in self.items if item.path not in known)
        return replace(self, name=f"{self.name}, {len(items)} it never saw", items=items, unseen=True)


@dataclass
class Evaluation:
    """The report of one model on some images, and its answers where they were to a yes-or-no task."""

    report: Report
    name: str
    answers: BinaryPredictions | None = None


@dataclass
class Comparison:
    """Several models on several images: a row each, the differences between rows, and what to know of them."""

    rows: list[Shares] = field(default_factory=list)
    differences: list[DifferenceRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        lines = [line.to_dict() for line in self.differences]
        return msgspec.to_builtins({"rows": self.rows, "differences": lines, "notes": self.notes})


def select_images(data: str, split: str) -> EvaluationSet:
    """The images of one split of a dataset, or of "all"; a collection without splits is one test set.

    Raises DatasetError where there is no such dataset, or it has no such split.
    """
    dataset = open_dataset(data)
    whole = split == "all" or dataset.splits == ("",)
    items = dataset.items if whole else dataset.subset(split)
    if not items:
        raise DatasetError(f"{dataset.name} has no split {split}: it has {', '.join(dataset.splits)}, and all.")
    chosen = "all" if whole else split
    return EvaluationSet(f"{dataset.name}, {chosen}", dataset, chosen, items)


def find_training_images(model: Bundle, items: Sequence[Item]) -> frozenset[Path] | None:
    """Which of the images a model has learned from; None where that cannot be told."""
    # Only a model that brings no fingerprint needs its dataset, and all that are here to be looked through for it.
    own = None
    if not model.info.training_images:
        own = leakage.find_training_dataset(model.info, discover_datasets()[0])
    learned = leakage.training_fingerprint(model, own)
    return None if learned is None else leakage.find_leaked(items, learned)


def evaluate_model(
    model: Bundle,
    images: EvaluationSet,
    task: str = ALL_CLASSES,
    threshold: float | None = None,
    prevalence: float | None = None,
    unseen: bool = False,
) -> Evaluation:
    """Evaluate one model on some images.

    Parameters
    ----------
    task : ``ALL_CLASSES``, or a key of ``binary.binary_tasks``
    threshold : of a binary task, in place of the model's own
    prevalence : of a binary task, for predictive values (``at_prevalence`` of the report), above 0 and below 1
    unseen : leave out what the model has learned from; raises DatasetError where no image is left
    """
    cache = Cache()
    name, items = images.name, images.items
    known = find_training_images(model, items)
    if unseen:
        items = leakage.drop_leaked(model, items, known)
        name += ", images it never saw"
    if task == ALL_CLASSES:
        done = Evaluation(predictions.evaluate_dataset(model, items, cache), name)
    else:
        answers = binary.binarize(model, predictions.predict_dataset(model, items, cache), task, threshold)
        done = Evaluation(binary.report_binary(answers), name, answers)
        if prevalence is not None:
            worth = binary.at_prevalence(answers, prevalence)
            done.report = structs.replace(done.report, at_prevalence=worth)
    if known is None:
        done.report.notes.append(leakage.leakage_unknown(model))
    elif known and not unseen:
        done.report.notes.append(
            f"The model has learned from {len(known)} of these images, on which it looks better than it is: --unseen "
            "leaves them out."
        )
    return done


def compare(models: Sequence[Bundle], places: Iterable[EvaluationSet], task: str) -> Comparison:
    """Put each model to each set of images, without what it has learned from, and test the differences."""
    cache, comparison = Cache(), Comparison()
    answers: dict[tuple[str, str], BinaryPredictions] = {}
    for images in places:
        for model in models:
            known = find_training_images(model, images.items)
            left = [item for item in images.items if item.path not in (known or ())] or list(images.items)
            one = answers[model.name, images.name] = binary.binarize(
                model, predictions.predict_dataset(model, left, cache), task
            )
            still = known and [item for item in left if item.path in known]
            left_out = len(left) < len(images.items)
            comparison.rows.append(external.summary_row(model.name, images.name, one, still, left_out))
            comparison.notes += _notes(model, images, known, one.notes)
    comparison.differences = external.compare_all(answers)
    cautions = (caution for row in comparison.rows for caution in row.cautions)
    comparison.notes = list(dict.fromkeys([*comparison.notes, *cautions]))
    return comparison


def _notes(model: Bundle, images: EvaluationSet, known: frozenset[Path] | None, own: Iterable[str]) -> list[str]:
    """What to know of one model on some images, a sentence each."""
    notes = []
    if known is None:
        notes.append(leakage.leakage_unknown(model))
    elif known and len(known) < len(images.items):
        notes.append(f"{model.name} has learned from {len(known)} of the images of {images.name}: left out for it.")
    return notes + [f"{model.name} on {images.name}: {note}" for note in own]
