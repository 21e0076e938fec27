"""The model card of a bundle (Mitchell et al. 2019), made from its ``model.json``."""

import json
import shlex
from pathlib import Path
from typing import Any

from covid_cnn import bundle, evaluation

NOT_FOR = """This model is for research and teaching. It must not be used to diagnose, to triage, or to decide anything
about a person. It was never tested on the images of your hospital."""


def write(folder: Path, info: dict[str, Any]) -> None:
    """Write ``model.json`` of the bundle in ``folder``, and the card that is made from it."""
    (folder / bundle.INFO).write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")
    (folder / bundle.CARD).write_text(render(info), encoding="utf-8")


def render(info: dict[str, Any]) -> str:
    """``MODEL_CARD.md`` of the bundle whose ``model.json`` is ``info``."""
    parts = [
        f"# {info['name']}",
        NOT_FOR,
        *_other_data(info),
        "## Data",
        _data(info["training_data"]),
        "## Recipe",
        _recipe(info),
        *_metrics(info),
        "## When it does not know",
        _in_distribution(info["in_distribution"]),
    ]
    return "\n\n".join(parts) + "\n"


def headlines(info: dict[str, Any]) -> list[str]:
    """How far to trust the model, in sentences: what it learned from, its own test, and what it did on other data."""
    data, metrics = info["training_data"], info["metrics"]
    drawn = " synthetic" if data["synthetic"] else ""
    sentences = [f"It learned from {data['images']['train']}{drawn} images of {data['name']}."]
    if data["synthetic"]:
        sentences.append("These were drawn by a program, so it knows nothing of people.")
    if test := metrics.get("test"):
        sentences.append(f"On that dataset's test images its accuracy is {_interval(test['accuracy'])}.")
    for name, report in metrics.get("other", {}).items():
        sentences.append(f"{name}: accuracy {_interval(report['accuracy'])}. {_false_alarms(report)}".strip())
    if not metrics.get("other"):
        sentences.append("It was never tested on the images of another hospital.")
    return sentences


def _false_alarms(report: dict[str, Any]) -> str:
    """What a binary model does to people without the disease, as counts that need no statistics to read."""
    if report["positive"] is None or not report["specificity"]:
        return ""
    positive = report["classes"].index(report["positive"])
    healthy = report["confusion"][1 - positive]
    return (
        f"Of {sum(healthy)} images of {report['classes'][1 - positive]} "
        f"it calls {healthy[positive]} {report['positive']}."
    )


def _interval(fields: dict[str, Any]) -> evaluation.Interval:
    return evaluation.Interval(**fields)


def _other_data(info: dict[str, Any]) -> list[str]:
    """What the model does on data it was not made for: the first thing a reader should see."""
    parts = []
    for name, report in info["metrics"].get("other", {}).items():
        parts += [f"## {name}", f"Dataset: {report['dataset']}. {_false_alarms(report)}"]
        parts += [evaluation.summary(report), flagged(report)]
        parts += report["notes"]
    return [part for part in parts if part]


def _data(data: dict[str, Any]) -> str:
    counts = [
        f"{data['images'][split]} images of {data['patients'][split]} patients {purpose}"
        for split, purpose in (("train", "to train"), ("val", "to validate"), ("test", "to test"))
    ]
    lines = [f"Dataset: {data['name']} ({', '.join(counts)})."]
    if data["synthetic"]:
        lines.append("**These images are synthetic**: drawn by a program, not taken of people.")
    lines.append(f"Fingerprint: `{data['fingerprint']}`.")
    return "\n".join(lines + [f"- {note}" for note in data["notes"]])


def _recipe(info: dict[str, Any]) -> str:
    recipe, decision = info["recipe"], info["decision"]
    command = (
        f"python -m covid_cnn train --data {shlex.quote(recipe['data'])} --network {recipe['network']} "
        f"--epochs {recipe['epochs']} --batch-size {recipe['batch_size']} --learning-rate {recipe['learning_rate']} "
        f"--augmentation {recipe['augmentation']} --seed {recipe['seed']} --name {info['name']}"
    )
    threshold = "" if decision["threshold"] is None else f" {decision['positive']} from {decision['threshold']:.3f} on;"
    return "\n".join(
        [
            f"Network {info['network']}, input {info['input_size'][0]} x {info['input_size'][1]} px, "
            f"{recipe['epochs_trained']} epochs, of which {recipe['best_epoch']} was the best by validation loss. "
            "Make it again:",
            "",
            f"    {command}",
            "",
            f"Decision:{threshold} {decision['chosen']}. "
            f"Probabilities are divided by a temperature of {info['temperature']:.2f}, fitted on validation.",
        ]
    )


def _metrics(info: dict[str, Any]) -> list[str]:
    parts = []
    for split, title in (
        ("test", "Test: looked at once, after training"),
        ("val", "Validation: chose epoch, threshold"),
    ):
        if report := info["metrics"].get(split):
            parts += [f"## {title}", evaluation.summary(report), flagged(report), *report["notes"]]
    return parts


def flagged(report: dict[str, Any]) -> str:
    """How many images of an ``assessment.assess`` report the model took for unlike its training images."""
    return f"Flagged as unlike the training images: {_interval(report['out_of_distribution'])}."


def _in_distribution(statistics: dict[str, Any]) -> str:
    return (
        f"Each image gets a distance from the training images: {statistics['method']}. "
        f"Beyond {statistics['limit']:.3g} ({statistics['limit_chosen']}) the image is flagged."
    )
