"""The last phase of a run: calibrate the trained network on unseen images, export it as a bundle, and test that."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import tensorflow as tf
from msgspec import structs

from covid_cnn.data.classes import DISEASES, HEALTHY
from covid_cnn.data.dataset import Dataset, Item, fingerprint
from covid_cnn.evaluation import predictions
from covid_cnn.evaluation.calibration import (
    assess_calibration,
    choose_threshold,
    choose_threshold_at_specificity,
    conformal_thresholds,
    fit_temperature,
)
from covid_cnn.evaluation.leakage import TrainingFingerprint
from covid_cnn.models.bundle import Bundle
from covid_cnn.models.info import Metrics
from covid_cnn.reports import card
from covid_cnn.runs.run import Run
from covid_cnn.training import export
from covid_cnn.training.checkpoint import Checkpoint
from covid_cnn.training.data import TrainingData
from covid_cnn.training.learner import Learner

SPECIFICITY = 0.97  # of 100 healthy people, so many shall not be called ill where the threshold is chosen for it
SET_LEVEL = 0.9  # of 100 images, so many have their true class in the prediction set


def export_run(run: Run, data: TrainingData, learner: Learner, checkpoint: Checkpoint) -> None:
    """Calibrate the network of a run, export it as a bundle into ``models/``, and test it on the test split.

    The ``learner`` holds the best weights, and computes in float32. The run gets the events ``test``, if there is such
    a split, and ``exported``. Raises DatasetError where images have gone since they were read.
    """
    data.check_files()
    export.round_weights(learner.network)
    run.log("Calibrating on images that the network has not seen.")
    train_embeddings, val_embeddings, logits = learner.predict()
    labels, unseen = data.val.labels, "validation images"
    temperature, probabilities = _calibrate(logits, labels)
    run.log("Exporting the model.")
    info = {
        "name": run.name,
        "network": run.config.network,
        "classes": list(data.classes),
        "input_size": list(run.config.recipe.input_size),
        "temperature": temperature,
        "decision": _decision(data.classes, labels, probabilities, unseen),
        "prediction_sets": prediction_sets(labels, probabilities, unseen),
        "in_distribution": export.fit_in_distribution(train_embeddings, val_embeddings),
        "training_data": describe_data(
            data.dataset, {"train": data.train.items, "val": data.val.items, "test": data.test}, data.notes
        ),
        "recipe": vars(run.config) | {"epochs_trained": checkpoint.epoch, "best_epoch": checkpoint.best_epoch},
        "metrics": {},
    }
    learned = TrainingFingerprint.from_items([*data.train.items, *data.val.items], data.hashes, data.dataset.synthetic)
    folder = export.stage_bundle(export.convert_graph(learner.network, temperature), info, learned)
    try:
        _test(run, data, folder, checkpoint.best_epoch)
    except BaseException:  # an interrupt too leaves no part of a bundle behind
        shutil.rmtree(folder.parent, ignore_errors=True)
        raise
    export.publish_bundle(folder)
    run.append("exported", model=run.name, epoch=checkpoint.best_epoch)
    run.log(f"Exported as models/{run.name}.")


def _calibrate(logits: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """The temperature of logits ``[N, K]`` or ``[N, 1]``, and the probabilities ``[N, K]`` that it makes of them."""
    uncalibrated = export.calibrated_probabilities(tf.constant(logits), 1.0).numpy()
    # In float16 precision, as the graph of a large network stores it.
    temperature = float(np.float16(fit_temperature(np.log(np.maximum(uncalibrated, 1e-12)), labels)))
    return temperature, export.calibrated_probabilities(tf.constant(logits), temperature).numpy()


def _test(run: Run, data: TrainingData, folder: Path, epoch: int) -> None:
    """Put the staged bundle through the validation and test images, and complete it with how good it is on them."""
    bundle = Bundle(folder)
    split: Literal["val", "test"] = "val"
    answers = predictions.predict_known(bundle, data.val.items)
    reports = {split: predictions.report_predictions(bundle, answers)}
    if data.test:
        run.log(f"Testing on {len(data.test)} images.")
        split, answers = "test", predictions.predict_known(bundle, data.test)
        reports[split] = predictions.report_predictions(bundle, answers)
        run.append("test", epoch=epoch, metrics=msgspec.to_builtins(reports[split]))
    temperature = bundle.info.temperature
    # The graph divides by the temperature.
    uncalibrated = np.log(np.maximum(answers.probabilities, 1e-12)) * temperature
    calibration = assess_calibration(answers.labels, uncalibrated, temperature, answers.patients, split)
    card.write_card(
        folder,
        structs.replace(bundle.info, metrics=Metrics(reports["val"], reports.get("test")), calibration=calibration),
    )


def describe_data(dataset: Dataset, parts: Mapping[str, Sequence[Item]], notes: Sequence[str]) -> dict[str, Any]:
    """What a model learned from, the images of each split in ``parts``, as ``training_data`` of ``model.json``."""
    return {
        "name": dataset.name,
        "synthetic": dataset.synthetic,
        "fingerprint": fingerprint(dataset.items),
        "images": {split: len(items) for split, items in parts.items()},
        "patients": {split: len({item.patient for item in items}) for split, items in parts.items()},
        "notes": list(notes),
    }


def _decision(classes: Sequence[str], labels: np.ndarray, probabilities: np.ndarray, unseen: str) -> dict[str, Any]:
    """The decision rule of a bundle: a threshold on the probability of the class that is looked for.

    That is the second of two, and COVID-19 among more: from the lowest probability on that keeps the healthy from
    being called so. Where it is not known who is healthy, the threshold is that of the best balanced accuracy.
    """
    covid = [name for name in classes if DISEASES["COVID-19"].search(name)]
    healthy = [index for index, name in enumerate(classes) if HEALTHY.match(name)]
    if len(classes) > 2 and len(covid) != 1:
        return {"positive": None, "threshold": None, "chosen": "the most probable class"}
    positive = classes[1] if len(classes) == 2 else covid[0]
    found = labels == list(classes).index(positive)
    scores = probabilities[:, list(classes).index(positive)]
    if len(classes) > 2 and len(healthy) == 1:
        counted = found | (labels == healthy[0])
        threshold = choose_threshold_at_specificity(found[counted], scores[counted], SPECIFICITY)
        n = int((labels == healthy[0]).sum())
        chosen = f"the lowest at which {100 * SPECIFICITY:g} of 100 healthy are not called {positive}"
        chosen += f", of {n} among the {unseen}"
    else:
        threshold = choose_threshold(found, scores)
        chosen = f"best balanced accuracy on {len(labels)} {unseen}, nearest to 0.5 among equals"
    return {"positive": positive, "threshold": threshold, "chosen": chosen}


def prediction_sets(labels: np.ndarray, probabilities: np.ndarray, unseen: str) -> dict[str, Any]:
    """The sets of classes that an image could be of, fitted on images that the network has not learned from."""
    return {
        "method": "class-conditional conformal prediction (Vovk 2012; Angelopoulos and Bates 2021)",
        "level": SET_LEVEL,
        "thresholds": conformal_thresholds(labels, probabilities, SET_LEVEL).tolist(),
        "chosen": f"{len(labels)} {unseen}",
    }
