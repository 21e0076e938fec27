"""The second step for a network that somebody else saved: the bundle, tested on its dataset where one is given."""

import json
import math
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from msgspec import structs

from covid_cnn.common.errors import BundleError
from covid_cnn.common.jobs import Progress
from covid_cnn.data.classes import HEALTHY
from covid_cnn.data.dataset import Dataset, Item, open_dataset
from covid_cnn.data.splits import training_splits
from covid_cnn.evaluation import predictions
from covid_cnn.evaluation.leakage import TrainingFingerprint
from covid_cnn.models import bundle, plain_graph
from covid_cnn.models.bundle import Bundle
from covid_cnn.models.info import InDistribution, Metrics, SetThresholds
from covid_cnn.reports import card
from covid_cnn.training import calibrate, export, frozen, imported

UNKNOWN_DATA: dict[str, Any] = {
    "name": "unknown images",
    "synthetic": False,
    "fingerprint": "unknown",
    "images": {"train": 0, "val": 0, "test": 0},
    "patients": {"train": 0, "val": 0, "test": 0},
    "notes": ["What it learned from was not given, so that no image can be called unlike it, nor known to it."],
}


@dataclass(frozen=True)
class _Images:
    """The dataset that a network learned from, and its images as a run here would split them.

    Attributes
    ----------
    parts : what is put aside here for the test alone the network has learned from, so it counts as training
    unseen : those parts that the dataset itself puts aside
    """

    dataset: Dataset
    parts: dict[str, list[Item]]
    unseen: tuple[str, ...]

    @classmethod
    def open(cls, data: str) -> "_Images":
        dataset = open_dataset(data)
        splits = training_splits(dataset, 0)
        unseen = tuple(split for split in ("val", "test") if dataset.subset(split) and getattr(splits, split))
        train, test = (splits.train, splits.test) if "test" in unseen else (splits.train + splits.test, [])
        return cls(dataset, {"train": train, "val": splits.val, "test": test}, unseen)

    def describe(self) -> dict[str, Any]:
        """As ``training_data`` of ``model.json``: what the dataset itself does not put aside it has learned from."""
        said = "That it learned from these images is what whoever added it says."
        parts = self.parts
        if "val" not in self.unseen:
            parts = parts | {"train": parts["train"] + parts["val"], "val": []}
        return calibrate.describe_data(self.dataset, parts, [said, *self._limits()])

    def _limits(self) -> list[str]:
        """What cannot be measured on images that the network has learned from."""
        notes = []
        if "val" not in self.unseen:
            notes.append(
                "Its dataset puts no images aside to validate on (a folder val); so it has no sets of classes that an "
                "image could be of, and the limit of its distance, chosen on images that it learned from, may be too "
                "near."
            )
        if "test" not in self.unseen:
            notes.append("Its dataset puts no images aside for a test (a folder test), so it was not tested here.")
        return notes

    def remember(self) -> TrainingFingerprint:
        """By what the images are known again."""
        items = [*self.parts["train"], *self.parts["val"]]
        return TrainingFingerprint.from_files(items, self.dataset.synthetic)


def make(folder: Path, request: dict[str, Any], progress: Progress) -> None:
    """Make the bundle that a request (`own_network.request`) describes of what `imported.read` wrote, and publish it.

    Raises CovidCnnError where the network cannot be exported, or the dataset cannot be used.
    """
    progress(0, "Writing down the gradient of its last layers")
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    graph, plain = _graph(folder, facts, request)
    images = _Images.open(request["data"]) if request.get("data") else None
    about = images.describe() if images else UNKNOWN_DATA
    if plain:
        facts["partial"] = False
    info = _describe(facts, request, about, math.prod(plain_graph.LOOK) if plain else _channels(graph))
    if plain:
        info["plain"] = plain
    staged = export.stage_bundle(graph, info, images.remember() if images else None)
    try:
        if images:
            _measure(staged, images, progress)
        Bundle(staged)
    except BaseException:  # an interrupt too leaves no part of a bundle behind
        shutil.rmtree(staged.parent, ignore_errors=True)
        raise
    export.publish_bundle(staged)


def _graph(folder: Path, facts: dict[str, Any], request: dict[str, Any]) -> tuple[bytes, dict[str, Any] | None]:
    """The graph of the bundle; and of one that explains nothing, how it is asked, as ``plain`` of ``model.json``."""
    why = facts["unexplained"]
    if not why:
        try:
            return _convert(folder, facts, request), None
        except frozen.UnexplainedError as error:
            why = str(error)
    asked = {key: request[key] for key in ("gain", "offset", "last")}
    return (folder / "probe.tflite").read_bytes(), asked | {"output": facts["probed"], "why": why}


def _convert(folder: Path, facts: dict[str, Any], request: dict[str, Any]) -> bytes:
    """The graph of the bundle, held against the network that it was made of."""
    network = frozen.FrozenNetwork.load(folder / "network.npz")
    anatomy = frozen.Anatomy(**facts["anatomy"])
    serve = frozen.explained(network, anatomy, request["gain"], request["offset"], request["last"])
    try:
        graph = frozen.convert(serve, "the gradient of this network needs")
    except BundleError as error:  # its answers alone were converted before
        raise frozen.UnexplainedError(str(error)) from error
    image = np.random.default_rng(0).random((1, *facts["size"], 1), np.float32)
    wanted = {name: value.numpy() for name, value in serve(tf.constant(image)).items()}
    try:
        answers = Interpreter(model_content=graph).get_signature_runner()(image=image)
    except RuntimeError as error:
        raise frozen.UnexplainedError(f"LiteRT cannot run its gradient ({str(error).splitlines()[0]}).") from error
    off = {name: float(np.abs(answers[name] - wanted[name]).max()) for name in ("probabilities", "heatmaps")}
    imported.check_off(off["probabilities"])
    if not off["heatmaps"] <= imported.TOLERANCES["heatmaps"]:
        raise frozen.UnexplainedError(f"LiteRT gives heatmaps that are {off['heatmaps']:.2g} off its gradient.")
    return graph


def _channels(graph: bytes) -> int:
    outputs = Interpreter(model_content=graph).get_signature_runner().get_output_details()
    return int(outputs["embedding"]["shape"][1])


def _describe(facts: dict[str, Any], request: dict[str, Any], about: dict[str, Any], channels: int) -> dict[str, Any]:
    """The content of ``model.json`` before anything was measured."""
    classes = request["classes"]
    positive = classes[1 if HEALTHY.match(classes[0]) or not HEALTHY.match(classes[1]) else 0]
    decision = {"positive": positive, "threshold": 0.5, "chosen": "the more probable of two, as the network came"}
    if len(classes) > 2:
        decision = {"positive": None, "threshold": None, "chosen": "the most probable class"}
    if facts["partial"]:
        place = facts["anatomy"]["feature_map"]
        note = f"Its branches meet behind their last maps; the heatmaps are of one of them ({place})."
        about = about | {"notes": [*about["notes"], note]}
    return {
        "name": request["name"],
        "network": facts["name"],
        "classes": classes,
        "input_size": facts["size"],
        "temperature": 1.0,
        "decision": decision,
        "in_distribution": {
            "method": "none, for want of its training images",
            "mean": bundle.encode_array(np.zeros(channels)),
            "components": bundle.encode_array(np.zeros(0)),
            "variances": bundle.encode_array(np.zeros(0)),
            "noise_variance": 1.0,
            "limit": bundle.NO_LIMIT,
            "limit_chosen": "no image is beyond it",
        },
        "training_data": about,
        "recipe": {
            **dict.fromkeys(("epochs", "batch_size", "seed", "epochs_trained", "best_epoch", "learning_rate"), 0),
            "data": about["name"],
            "network": facts["name"],
            "augmentation": "unknown",
            "command": request["command"],
            "how": request["how"],
        },
        "metrics": {},
    }


def _measure(staged: Path, images: _Images, progress: Progress) -> None:
    """Fit the distance and the prediction sets on a staged bundle's own images, and test it on those put aside."""
    model, answers = Bundle(staged), {}
    for at, (split, items) in enumerate(images.parts.items()):
        if items:

            def report_part(part: float, message: str, at: int = at) -> None:
                progress((at + part) / len(images.parts), message)

            answered = predictions.predict_dataset(model, items, progress=report_part, embeddings=True)
            answers[split] = predictions.drop_unknown(answered)
    held_out = answers["val"]
    statistics = export.fit_in_distribution(answers.pop("train").embeddings, held_out.embeddings)
    if model.info.plain:
        statistics["method"] += " of the image itself in {} x {} pixels".format(*plain_graph.LOOK)
    if "val" not in images.unseen:
        statistics["limit_chosen"] = statistics["limit_chosen"].replace("validation images", "images it learned from")
    info = structs.replace(model.info, in_distribution=msgspec.convert(statistics, InDistribution))
    if "val" in images.unseen:
        sets = calibrate.prediction_sets(held_out.labels, held_out.probabilities, "validation images")
        info = structs.replace(info, prediction_sets=msgspec.convert(sets, SetThresholds))
    card.write_card(staged, info)
    model, metrics = Bundle(staged), Metrics()
    for split in images.unseen:
        answered, limit = answers[split], info.in_distribution.limit
        flagged = np.array([model.distance(embedding) > limit for embedding in answered.embeddings])
        report = predictions.report_predictions(model, replace(answered, flagged=flagged))
        metrics = structs.replace(metrics, **{split: report})
    card.write_card(staged, structs.replace(info, metrics=metrics))
