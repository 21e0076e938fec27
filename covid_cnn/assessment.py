"""Put a model bundle through a dataset's images, and evaluate its answers."""

from collections.abc import Sequence
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


def assess(bundle: Bundle, items: Sequence[Item]) -> dict[str, Any]:
    """The report of ``evaluation.evaluate`` on ``items``, with ``out_of_distribution`` and ``notes`` added.

    Images whose class the bundle does not know, and unreadable ones, are left out and counted in ``notes``. Where the
    bundle has prediction sets, ``prediction_sets`` holds their ``level`` and their ``evaluation.coverage``: of the
    sets that the thresholds make. That flagged images are given all classes would flatter it.

    Raises
    ------
    DatasetError
        No image is left.
    """
    labels, predicted, probabilities, patients = [], [], [], []
    known = [item for item in items if matching_class(item.label, bundle.classes)]
    flagged = unreadable = 0
    pixels = read_ahead([item.path for item in known], lambda radiograph: radiograph.pixels)
    for item, image in zip(known, pixels, strict=True):
        if isinstance(image, ImageError):
            unreadable += 1
            continue
        prediction = bundle.predict(image)
        labels.append(bundle.classes.index(str(matching_class(item.label, bundle.classes))))
        predicted.append(bundle.classes.index(prediction.label))
        probabilities.append(prediction.probabilities)
        patients.append(item.patient)
        flagged += not prediction.in_distribution
    if not labels:
        raise DatasetError(f"No image is of a class that model {bundle.name} knows ({', '.join(bundle.classes)}).")
    truth, given = np.array(labels), np.array(probabilities)
    report = evaluation.evaluate(truth, np.array(predicted), given, bundle.classes, bundle.positive, patients)
    if bundle.set_thresholds is not None:
        sets = evaluation.prediction_sets(given, np.array(bundle.set_thresholds))
        report["prediction_sets"] = {"level": bundle.set_level} | evaluation.coverage(truth, sets, patients)
    notes = []
    if foreign := len(items) - len(known):
        notes.append(f"{foreign} images are of classes that the model does not know, and were left out.")
    if unreadable:
        notes.append(f"{unreadable} images could not be read, and were left out.")
    return report | {"out_of_distribution": evaluation.wilson(flagged, len(labels)).to_dict(), "notes": notes}
