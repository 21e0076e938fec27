"""Put a model bundle through a dataset's images, and evaluate its answers.

Answers are kept by the digests of the model and of each image, so that a second evaluation asks nothing again, and one
that was stopped goes on where it was. Only numbers are kept, and no image.
"""

import hashlib
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path
from typing import Any, Self, cast

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType, structs

from covid_cnn.common import statistics
from covid_cnn.common.errors import CovidCnnError, DatasetError
from covid_cnn.common.jobs import Progress, unwatched
from covid_cnn.common.storage import Cache
from covid_cnn.data.classes import matching_class
from covid_cnn.data.dataset import Item
from covid_cnn.evaluation import calibration, metrics
from covid_cnn.images import reader
from covid_cnn.images.radiograph import Radiograph
from covid_cnn.models import batch
from covid_cnn.models.bundle import Bundle, Prediction, decide, prediction_sets
from covid_cnn.models.info import Coverage, Report

UNKNOWN_CLASS = -1  # the label of an image whose class the bundle does not know


class OfImages:
    """What is known of N images: a dataclass with ``items``, ``notes`` and arrays ``[N, ...]``."""

    items: list[Item]

    @property
    def patients(self) -> list[str]:
        """The patient of each image."""
        return [item.patient for item in self.items]

    def of(self, chosen: Sequence[bool] | np.ndarray) -> Self:
        """The same of the images that a mask ``[N]`` chooses, without the notes."""
        mask = np.asarray(chosen, bool)
        arrays = {name: value[mask] for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        return replace(cast(Any, self), items=list(compress(self.items, mask)), notes=[], **arrays)


@dataclass(frozen=True)
class DatasetPredictions(OfImages):
    """What a bundle answers to N images whose class it knows."""

    items: list[Item]  # the N images
    # int ``[N]``, the true and the answered class, as indices into the bundle's classes; a true one that the bundle
    # does not know is ``UNKNOWN_CLASS``
    labels: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray  # float32 ``[N, K]``, calibrated
    # float32 ``[N, D]``, the image as the last layer but one sees it; ``[N, 0]`` where nobody wanted them
    embeddings: np.ndarray
    flagged: np.ndarray  # bool ``[N]``, whether the image is unlike those the model learned from
    notes: list[str]  # a sentence for each group of images that was left out


def predict_known(
    bundle: Bundle,
    items: Sequence[Item],
    store: Cache | None = None,
    progress: Progress = unwatched,
) -> DatasetPredictions:
    """Ask a bundle about images. Those of classes unknown to it and unreadable ones are left out, counted in ``notes``.

    Answers are kept in the ``store``, also where ``progress`` stops the work; None asks anew and keeps nothing. Raises
    DatasetError where no image is left.
    """
    known = [item for item in items if matching_class(item.label, bundle.classes)]
    if not known:
        raise DatasetError(f"No image is of a class that model {bundle.name} knows ({', '.join(bundle.classes)}).")
    return drop_unknown(predict_dataset(bundle, known, store, progress), len(items) - len(known))


def drop_unknown(answers: DatasetPredictions, more: int = 0) -> DatasetPredictions:
    """The answers to images of classes that the bundle knows; a note counts the others, ``more`` among them."""
    kept = answers.of(answers.labels != UNKNOWN_CLASS)
    notes = answers.notes
    if foreign := len(answers.items) - len(kept.items) + more:
        notes = [f"{foreign} images are of classes that the model does not know, and were left out.", *notes]
    return replace(kept, notes=notes)


def predict_dataset(
    bundle: Bundle,
    items: Sequence[Item],
    store: Cache | None = None,
    progress: Progress = unwatched,
    embeddings: bool = False,
) -> DatasetPredictions:
    """Ask a bundle about images, also those of classes that it does not know; otherwise as ``predict_known``.

    Without ``embeddings`` the answers hold none: they take most of the room, some kilobytes an image.
    """
    k = len(bundle.classes)
    read: list[Item] = []
    rows = []
    with closing(_numbers_of(bundle, [item.path for item in items], store)) as answers:
        for n, (item, answer) in enumerate(zip(items, answers, strict=True), 1):
            if answer is not None:
                read.append(item)
                rows.append(answer if embeddings else answer[: k + 1].copy())
            progress(n / len(items), f"Asked about {n} of {len(items)} images")
    if not read:
        raise DatasetError("There is no image here that can be read: choose another dataset or split.")
    unreadable = len(items) - len(read)
    table = np.stack(rows)
    probabilities = table[:, :k]
    named = [decide(bundle.classes, row, bundle.positive, bundle.threshold) for row in probabilities]
    matched = [matching_class(item.label, bundle.classes) for item in read]
    return DatasetPredictions(
        items=read,
        labels=np.array([bundle.classes.index(name) if name else UNKNOWN_CLASS for name in matched]),
        predicted=np.array([bundle.classes.index(name) for name in named]),
        probabilities=probabilities,
        embeddings=table[:, k + 1 :],
        flagged=table[:, k] > np.float32(bundle.info.in_distribution.limit),
        notes=[f"{unreadable} images could not be read, and were left out."] if unreadable else [],
    )


def count_cached(bundle: Bundle, items: Sequence[Item], store: Cache) -> int:
    """How many of the items have their answer in the store."""
    digests = store.file_digests([item.path for item in items])
    kept = store.known(_cache_kind(bundle), sorted(set(digests.values())))
    return sum(digests.get(item.path, "") in kept for item in items)


def _numbers_of(bundle: Bundle, files: Sequence[Path], store: Cache | None) -> Generator[np.ndarray | None, None, None]:
    """Probabilities, distance and embedding of each image, float32 ``[K + 1 + D]``; None for one that is unreadable."""

    def ask(lacking: Sequence[Path], digests: Mapping[Path, str]) -> Generator[bytes | CovidCnnError, None, None]:
        with closing(batch.predict_images(bundle, lacking, _numbers, reader.read, explained=False)) as answers:
            for _, answer in answers:
                yield answer if isinstance(answer, CovidCnnError) else answer.tobytes()

    for blob in store.complete(_cache_kind(bundle), files, ask) if store else ask(files, {}):
        yield None if isinstance(blob, CovidCnnError) else np.frombuffer(blob, np.float32)


def _numbers(radiograph: Radiograph, prediction: Prediction) -> np.ndarray:
    return np.concatenate(
        [prediction.probabilities, [prediction.distance], prediction.embedding], dtype=np.float32, casting="same_kind"
    )


def _cache_kind(bundle: Bundle) -> str:
    """Under what the answers of a bundle are kept: its graph, its statistics and the code that reads images decide it.

    The latter is told by the code that reads them, so that no old answer outlives a change of it.
    """
    code = b"".join(path.read_bytes() for path in sorted(Path(reader.__file__).parent.glob("*.py")))
    plain = [bundle.info.plain] if bundle.info.plain else []
    measured = msgspec.json.encode([bundle.info.sha256, bundle.info.in_distribution, *plain])
    return "answer " + hashlib.sha256(measured + code).hexdigest()


def evaluate_dataset(bundle: Bundle, items: Sequence[Item], store: Cache | None = None) -> Report:
    """The ``report_predictions`` of a bundle's answers to ``items``; parameters and errors as for ``predict_known``."""
    return report_predictions(bundle, predict_known(bundle, items, store))


def report_predictions(bundle: Bundle, answers: DatasetPredictions) -> Report:
    """How good a bundle is on images whose class it knows.

    Its ``prediction_sets`` are those that the thresholds make. That flagged images are given all classes would flatter
    them.
    """
    report = metrics.evaluate_classifier(
        answers.labels, answers.predicted, answers.probabilities, bundle.classes, bundle.positive, answers.patients
    )
    coverage: Coverage | UnsetType = UNSET
    if bundle.set_thresholds is not None and bundle.set_level is not None:
        sets = prediction_sets(answers.probabilities, np.array(bundle.set_thresholds))
        coverage = calibration.measure_coverage(answers.labels, sets, bundle.set_level, answers.patients)
    flagged = statistics.wilson(int(answers.flagged.sum()), len(answers.labels))
    return structs.replace(report, prediction_sets=coverage, out_of_distribution=flagged, notes=answers.notes)
