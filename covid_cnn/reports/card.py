"""The model card of a bundle (Mitchell et al. 2019), made from its ``model.json``.

Two parts of it are optional: ``calibration``, from ``calibration.assess_calibration``, and ``evidence``, sections
that other programs than the training have measured. Evidence is a list, in the order of the card, of ``title``,
``text``, ``table`` (``columns``, and ``rows`` of as many cells), and, if it should stand beside the model wherever it
can be chosen, ``headline``: one sentence with its most telling figure. Of these, ``text`` and ``table`` may be
left out.
"""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import msgspec

from covid_cnn.common.statistics import Interval
from covid_cnn.evaluation.metrics import summarize
from covid_cnn.models import bundle
from covid_cnn.models.info import Calibration, InDistribution, ModelInfo, Report, TrainingData
from covid_cnn.reports import figures
from covid_cnn.reports.wording import strip_links
from covid_cnn.runs import config

NOT_FOR = """This model is for research and teaching. It must not be used to diagnose, to triage, or to decide anything
about a person. It was never tested on the images of your hospital."""
DIAGRAM = "reliability.png"
DIAGRAM_LINK = f"![Reliability before and after the temperature]({DIAGRAM})"
BARE_BAR = re.compile(r"(?<!\\)\|")
# Settings that the command of a card names only where they are not the recipe's.
SELDOM_CHANGED = ("patience", "schedule", "warm_up", "base_rate", "balance", "label_smoothing", "mixup")
SPLITS = {"val": "validation images, which the temperature was fitted on", "test": "test images"}


def write_card(folder: Path, info: ModelInfo) -> None:
    """Write ``model.json`` of the bundle in ``folder``, and the card and its diagram that are made from it."""
    (folder / bundle.INFO_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(info)) + b"\n")
    (folder / bundle.CARD_FILE).write_text(render_card(info), encoding="utf-8")
    if info.calibration:
        figure = figures.draw_reliability(info.calibration.before.reliability, info.calibration.after.reliability)
        figure.savefig(folder / DIAGRAM, dpi=100, metadata={"Software": None})


def render_card(info: ModelInfo) -> str:
    """``MODEL_CARD.md`` of the bundle whose ``model.json`` is ``info``; no link or picture of its texts survives."""
    parts = [
        f"# {info.name}",
        NOT_FOR,
        *_other_data(info),
        "## Data",
        _data(info.training_data),
        "## Recipe",
        _recipe(info),
        *_metrics(info),
        *_evidence(info),
        *_calibration(info.calibration),
        "## When it does not know",
        _in_distribution(info.in_distribution),
        *_prediction_sets(info),
    ]
    return "\n\n".join(part if part == DIAGRAM_LINK else strip_links(part) for part in parts) + "\n"


def headlines(info: ModelInfo) -> list[str]:
    """How far to trust the model, in sentences, the most sobering first.

    What it did on data it was not made for, the least accurate before the others, then its own test, and what it
    learned from.
    """
    data, metrics = info.training_data, info.metrics
    drawn = " synthetic" if data.synthetic else ""
    sentences = info.headlines
    for name, report in sorted(metrics.other.items(), key=lambda entry: entry[1].accuracy.value):
        sentences.append(f"{name}: accuracy {report.accuracy}. {_false_alarms(report)} {_misses(report)}".strip())
    if not sentences:
        sentences.append("It was never tested on the images of another hospital.")
    if metrics.test:
        sentences.append(f"On its own dataset's test images its accuracy is {metrics.test.accuracy}.")
    if data.images.train:
        sentences.append(f"It learned from {data.images.train}{drawn} images of {data.name}.")
    else:
        sentences.append("It was added without the images that it learned from.")
    if data.synthetic:
        sentences.append("These were drawn by a program, so it knows nothing of people.")
    return sentences


def trust_sentence(info: ModelInfo) -> str:
    """How far to trust the model, in one sentence without terms: what it did farthest from home."""
    if info.training_data.synthetic:
        return "It learned from drawings, and knows nothing of people."
    if elsewhere := info.metrics.other:
        worst = min((report.accuracy for report in elsewhere.values()), key=lambda accuracy: accuracy.value)
        return f"At another hospital {_of_100(worst)}."
    if test := info.metrics.test:
        return f"At home {_of_100(test.accuracy)}; at your hospital expect fewer."
    return "It was never tested: do not trust it."


def _of_100(accuracy: Interval) -> str:
    value, low, high = (f"{100 * share:.0f}" for share in (accuracy.value, accuracy.low, accuracy.high))
    return f"{value} of 100 were right ({low} to {high})"


def _false_alarms(report: Report) -> str:
    """What a model that looks for one class does to people without it, as counts that need no statistics to read."""
    classes, positive = report.classes, report.positive
    if positive is None or not report.specificity:
        return ""
    counts = [
        f"{sum(row)} images of {name} it calls {row[classes.index(positive)]} {positive}"
        for name, row in zip(classes, report.confusion, strict=True)
        if sum(row) and name != positive
    ]
    return f"Of {', of '.join(counts)}."


def _misses(report: Report) -> str:
    """What it does to people with that class."""
    if report.positive is None or not report.sensitivity:
        return ""
    positive = report.classes.index(report.positive)
    row = report.confusion[positive]
    return f"Of {sum(row)} images of {report.positive} it misses {sum(row) - row[positive]}."


def _other_data(info: ModelInfo) -> list[str]:
    """What the model does on data it was not made for: the first thing a reader should see."""
    parts = []
    for name, report in info.metrics.other.items():
        parts += [f"## {name}", f"Dataset: {report.dataset or name}. {_false_alarms(report)}"]
        parts += [summarize(report), flagged_sentence(report), *report.notes]
    return [part for part in parts if part]


def _data(data: TrainingData) -> str:
    counts = [
        f"{getattr(data.images, split)} images of {getattr(data.patients, split)} patients {purpose}"
        for split, purpose in (("train", "to train"), ("val", "to validate"), ("test", "to test"))
    ]
    lines = [f"Dataset: {data.name} ({', '.join(counts)})."]
    if data.synthetic:
        lines.append("**These images are synthetic**: drawn by a program, not taken of people.")
    lines.append(f"Fingerprint: `{data.fingerprint}`.")
    return "\n".join(lines + [f"- {note}" for note in data.notes])


def _recipe(info: ModelInfo) -> str:
    recipe, decision = info.recipe, info.decision
    command = recipe.command or (
        f"python -m covid_cnn train --data {shlex.quote(recipe.data)} --network {recipe.network} "
        f"--epochs {recipe.epochs} --batch-size {recipe.batch_size} --learning-rate {recipe.learning_rate} "
        f"--augmentation {recipe.augmentation} --seed {recipe.seed}{_changed(info)} --name {info.name}"
    )
    learning = f"{recipe.epochs_trained} epochs, of which {recipe.best_epoch} was the best by validation loss"
    threshold = "" if decision.threshold is None else f" {decision.positive} from {decision.threshold:.3f} on;"
    return "\n".join(
        [
            f"Network {info.network}, input {info.input_size[0]} x {info.input_size[1]} px, "
            f"{recipe.how or learning}. Make it again:",
            "",
            f"    {command}",
            "",
            f"Decision:{threshold} {decision.chosen}. "
            + (
                "Probabilities are as the network gives them."
                if info.temperature == 1
                else f"Probabilities are divided by a temperature of {info.temperature:.2f}, fitted on images kept "
                "from the training."
            ),
        ]
    )


def _changed(info: ModelInfo) -> str:
    """The options of the command line for the other settings that are not those of the network's recipe."""
    network, recipe = config.recipe_of(info.network), info.recipe
    if network is None:
        return ""
    learns = recipe.learns or network.choices[0]
    usual = {"learns": network.choices[0]} | {key: getattr(network.learning(learns), key) for key in SELDOM_CHANGED}
    changed = {key: getattr(recipe, key) for key in usual if getattr(recipe, key) not in (None, usual[key])}
    return "".join(f" --{key.replace('_', '-')} {value}" for key, value in changed.items())


def _metrics(info: ModelInfo) -> list[str]:
    parts = []
    for report, title in (
        (info.metrics.test, "Test: looked at once, after training"),
        (info.metrics.val, "Validation: what choices were made on"),
    ):
        if report:
            parts += [f"## {title}", summarize(report), flagged_sentence(report), *report.notes]
    return parts


def _evidence(info: ModelInfo) -> list[str]:
    parts = []
    for section in info.evidence or ():
        parts += [f"## {section.title}", section.headline, section.text]
        if section.table:
            parts.append(markdown_table(section.table.columns, section.table.rows))
    return [part for part in parts if part]


def _calibration(calibration: Calibration | None) -> list[str]:
    if not calibration:
        return []
    errors = (("Before", calibration.before.ece), ("After", calibration.after.ece))
    rows = [(title, f"{error.value:.3f}", error.bounds, error.n) for title, error in errors]
    return [
        "## Calibration",
        f"Measured on {calibration.n} {SPLITS[calibration.split]}, before and after the division by the temperature of "
        f"{calibration.temperature:.2f} (Guo et al. 2017).",
        markdown_table(("Temperature", "Expected calibration error", "95 % interval", "n"), rows),
        DIAGRAM_LINK,
    ]


def _prediction_sets(info: ModelInfo) -> list[str]:
    sets = info.prediction_sets
    if not sets:
        return []
    thresholds = zip(info.classes, sets.thresholds, strict=True)
    limits = ", ".join(f"{name} from {threshold:.3f} on" for name, threshold in thresholds)
    return [
        f"Each image also gets the set of the classes it could be of: {limits}. The method: {sets.method}, at a "
        f"level of {100 * sets.level:g} %, on {sets.chosen}. The tables above tell how often the true class was "
        "in the set."
    ]


def markdown_table(columns: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; cells may hold whatever a class or a dataset is called, escaped before or not."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(BARE_BAR.sub(r"\|", str(cell)) for cell in line) + " |" for line in lines)


def flagged_sentence(report: Report) -> str:
    """How many images the model took for unlike its training images."""
    return f"Flagged as unlike the training images: {report.out_of_distribution or 'not known'}."


def _in_distribution(statistics: InDistribution) -> str:
    if statistics.limit >= bundle.NO_LIMIT:
        return "It came without the images that it learned from, so that no image is flagged as unlike them."
    return (
        f"Each image gets a distance from the training images: {statistics.method}. "
        f"Beyond {statistics.limit:.3g} ({statistics.limit_chosen}) the image is flagged."
    )
