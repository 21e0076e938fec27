"""Trained networks -> the bundle that ships: one graph, with what was calibrated elsewhere, and by what it is known."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from msgspec import structs

from benchmarks.default_model import network
from benchmarks.default_model.calibration import Calibration
from benchmarks.default_model.crops import INPUT
from benchmarks.default_model.hospitals import CLASSES
from benchmarks.default_model.network import on_crops, on_images
from benchmarks.default_model.protocol import Images, mean_weights
from benchmarks.default_model.train import Recipe
from covid_cnn.common.errors import ImageError
from covid_cnn.data import dataset, index
from covid_cnn.data.classes import COVID
from covid_cnn.data.dataset import Item
from covid_cnn.evaluation import predictions
from covid_cnn.evaluation.calibration import assess_calibration
from covid_cnn.evaluation.leakage import TrainingFingerprint
from covid_cnn.images import ops
from covid_cnn.images.radiograph import Radiograph
from covid_cnn.images.reader import read_ahead
from covid_cnn.models.bundle import Bundle
from covid_cnn.models.info import Metrics
from covid_cnn.reports import card
from covid_cnn.training import export

NAME = "lung_styles"
DATA = "six public collections"
HOW = (
    "on crops to the lungs, four of five of them in the style of an image of another source; {images:,} images shown "
    "in each of {trainings}, with the mean of the weights over the steps{averaged}"
)


def stage(images: Images, weights: Sequence[Path], recipe: Recipe, calibration: Calibration) -> Path:
    """Write the bundle of the trainings whose weights are in the files ``weights`` beside ``models/``; its folder.

    It holds what it says of the validation and the test images. ``export.publish_bundle`` moves it to its place.
    """
    trained = mean_weights(on_crops(recipe.lung), weights)
    kernel, bias = trained.get_layer("logits").get_weights()
    trained.get_layer("logits").set_weights([kernel, bias + calibration.bias.astype(np.float32)])
    model = on_images(trained, recipe.lung)
    learned, watched = (images.of_split(split) for split in ("train", "val"))
    graph = network.graph(model, calibration.temperature)
    info = _info(images, recipe, calibration, len(weights))
    looks = _appearances(graph, [*learned, *watched])
    info["in_distribution"] = export.fit_in_distribution(looks[: len(learned)], looks[len(learned) :])
    looks_alike = read_ahead([item.path for item in (*learned, *watched)], _fingerprint)
    prints = [one.fine for one in looks_alike if not isinstance(one, ImageError)]
    folder = export.stage_bundle(graph, info, TrainingFingerprint.from_items([*learned, *watched], prints, False))
    _test(folder, images)
    return folder


def _fingerprint(radiograph: Radiograph) -> index.PerceptualHash:
    return index.perceptual_hash(radiograph.pixels)


def _appearances(graph: bytes, items: Sequence[Item]) -> np.ndarray:
    """The embeddings ``[N, D]`` that a graph gives."""
    interpreter = Interpreter(model_content=graph, num_threads=2)
    run = interpreter.get_signature_runner()
    prepared = read_ahead([item.path for item in items], lambda radiograph: ops.prepare(radiograph.pixels, INPUT))
    images = (image for image in prepared if not isinstance(image, ImageError))
    return np.concatenate([run(image=image[None])["embedding"] for image in images])


def _info(images: Images, recipe: Recipe, calibration: Calibration, trainings: int) -> dict[str, Any]:
    parts = {split: images.of_split(split) for split in ("train", "val", "test")}
    unseen = (
        f"{calibration.n} images that the network asked did not learn from, {calibration.away} of them of a hospital "
        "that it knew nothing of"
    )
    averaged = " and over the trainings" if trainings > 1 else ""
    many = f"{trainings} trainings" if trainings > 1 else "one training"
    return {
        "name": NAME,
        "network": NAME,
        "classes": list(CLASSES),
        "input_size": list(INPUT),
        "temperature": calibration.temperature,
        "decision": {
            "positive": COVID,
            "threshold": calibration.threshold,
            "chosen": f"the lowest at which 97 of 100 healthy are not called {COVID}, of {calibration.healthy} among "
            + unseen,
        },
        "prediction_sets": {
            "method": "class-conditional conformal prediction (Vovk 2012; Angelopoulos and Bates 2021)",
            "level": 0.9,
            "thresholds": calibration.sets.tolist(),
            "chosen": unseen,
        },
        "training_data": {
            "name": DATA,
            "synthetic": False,
            "fingerprint": dataset.fingerprint(images.items),
            "images": {split: len(items) for split, items in parts.items()},
            "patients": {split: len({item.patient for item in items}) for split, items in parts.items()},
            "notes": list(images.notes),
        },
        "recipe": {
            "data": DATA,
            "network": NAME,
            "augmentation": "style of other sources",
            "epochs": 1,
            "epochs_trained": 1,
            "best_epoch": 1,
            "batch_size": recipe.batch,
            "learning_rate": recipe.rate,
            "seed": 0,
            "command": "python -m benchmarks.default_model",
            "how": HOW.format(images=recipe.images, trainings=many, averaged=averaged),
        },
        "metrics": {},
    }


def _test(folder: Path, images: Images) -> None:
    """Complete a staged bundle with what it says of the validation and the test images."""
    bundle = Bundle(folder)
    metrics = {}
    for split in ("val", "test"):
        answers = predictions.predict_known(bundle, images.of_split(split))
        metrics[split] = predictions.report_predictions(bundle, answers)
    temperature = bundle.info.temperature
    uncalibrated = np.log(np.maximum(answers.probabilities, 1e-12)) * temperature
    told = assess_calibration(answers.labels, uncalibrated, temperature, answers.patients, "test")
    card.write_card(
        folder, structs.replace(bundle.info, metrics=Metrics(metrics["val"], metrics["test"]), calibration=told)
    )
