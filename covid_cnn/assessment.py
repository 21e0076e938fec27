"""Put a model bundle through a dataset's images, and evaluate its answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

import numpy as np

from covid_cnn import evaluation
from covid_cnn.bundle import Bundle
from covid_cnn.datasets import Item
from covid_cnn.errors import DatasetError, ImageError
from covid_cnn.reading import read_ahead

# Words that collections use for the same class.
SYNONYMS = {"nofinding": "normal", "nofindings": "normal", "healthy": "normal", "covid": "covid19"}


def matching_class(label: str, classes: Sequence[str]) -> str | None:
    """The class of a bundle that a dataset's ``label`` means, told by its letters and digits; None if there is none."""
    return next((name for name in classes if _key(name) == _key(label)), None)


def _key(label: str) -> str:
    letters = "".join(c for c in label.lower() if c.isalnum())
    return SYNONYMS.get(letters, letters)


@dataclass(frozen=True)
class Answers:
    """What a bundle answers to N images whose class it knows.

    Attributes
    ----------
    items : the N images
    labels, predicted : int ``[N]``, the true and the answered class, as indices into the bundle's classes
    probabilities : float32 ``[N, K]``, calibrated
    flagged : bool ``[N]``, whether the image is unlike those the model learned from
    notes : a sentence for each group of images that was left out
    """

    items: list[Item]
    labels: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray
    flagged: np.ndarray
    notes: list[str]

    @property
    def patients(self) -> list[str]:
        return [item.patient for item in self.items]

    def of(self, chosen: Sequence[bool] | np.ndarray) -> "Answers":
        """The answers to the images that a mask ``[N]`` chooses."""
        mask = np.asarray(chosen, bool)
        return Answers(
            items=list(compress(self.items, mask)),
            labels=self.labels[mask],
            predicted=self.predicted[mask],
            probabilities=self.probabilities[mask],
            flagged=self.flagged[mask],
            notes=[],
        )


def ask(bundle: Bundle, items: Sequence[Item]) -> Answers:
    """Put ``items`` to a bundle. Images of unknown classes and unreadable ones are left out, and counted in ``notes``.

    Raises
    ------
    DatasetError
        No image is left.
    """
    known = [item for item in items if matching_class(item.label, bundle.classes)]
    read: list[Item] = []
    predictions = []  # without their maps, which would fill the memory
    pixels = read_ahead([item.path for item in known], lambda radiograph: radiograph.pixels)
    for item, image in zip(known, pixels, strict=True):
        if not isinstance(image, ImageError):
            read.append(item)
            answer = bundle.predict(image)
            predictions.append((answer.label, answer.probabilities, not answer.in_distribution))
    if not read:
        raise DatasetError(f"No image is of a class that model {bundle.name} knows ({', '.join(bundle.classes)}).")
    notes = []
    if foreign := len(items) - len(known):
        notes.append(f"{foreign} images are of classes that the model does not know, and were left out.")
    if unreadable := len(known) - len(read):
        notes.append(f"{unreadable} images could not be read, and were left out.")
    named, probabilities, flagged = zip(*predictions, strict=True)
    return Answers(
        items=read,
        labels=np.array([bundle.classes.index(str(matching_class(item.label, bundle.classes))) for item in read]),
        predicted=np.array([bundle.classes.index(label) for label in named]),
        probabilities=np.array(probabilities),
        flagged=np.array(flagged),
        notes=notes,
    )


def assess(bundle: Bundle, items: Sequence[Item]) -> dict[str, Any]:
    """The ``report`` of a bundle's answers to ``items``; raises DatasetError where ``ask`` does."""
    return report(bundle, ask(bundle, items))


def report(bundle: Bundle, answers: Answers) -> dict[str, Any]:
    """The report of ``evaluation.evaluate``, with ``out_of_distribution`` and ``notes`` added.

    Where the bundle has prediction sets, ``prediction_sets`` holds their ``level`` and their ``evaluation.coverage``:
    of the sets that the thresholds make. That flagged images are given all classes would flatter it.
    """
    told = evaluation.evaluate(
        answers.labels, answers.predicted, answers.probabilities, bundle.classes, bundle.positive, answers.patients
    )
    if bundle.set_thresholds is not None:
        sets = evaluation.prediction_sets(answers.probabilities, np.array(bundle.set_thresholds))
        told["prediction_sets"] = {"level": bundle.set_level}
        told["prediction_sets"] |= evaluation.coverage(answers.labels, sets, answers.patients)
    flagged = evaluation.wilson(int(answers.flagged.sum()), len(answers.labels))
    return told | {"out_of_distribution": flagged.to_dict(), "notes": answers.notes}
