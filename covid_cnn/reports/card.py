"""The model card of a bundle (Mitchell et al. 2019), made from its ``model.json``."""

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from covid_cnn.common.statistics import Interval
from covid_cnn.evaluation.metrics import summarize
from covid_cnn.evaluation.own_network import BY_OCCLUSION
from covid_cnn.models import bundle
from covid_cnn.models.faithfulness import CELLS
from covid_cnn.models.info import ModelInfo, Report
from covid_cnn.reports import figures
from covid_cnn.reports.wording import strip_links
from covid_cnn.runs import config

DIAGRAM = "reliability.png"
DIAGRAM_LINK = f"![Reliability before and after the temperature]({DIAGRAM})"
_DIAGRAM_PLACE = "\0"  # where it goes once all links are stripped
BARE_BAR = re.compile(r"(?<!\\)\|")
# Settings that the command of a card names, and those that it names only where they are not the recipe's.
ALWAYS_NAMED = ("data", "network", "epochs", "batch_size", "learning_rate", "augmentation", "seed")
SELDOM_CHANGED = ("patience", "schedule", "warm_up", "base_rate", "balance", "label_smoothing", "mixup")


def write_card(folder: Path, info: ModelInfo) -> None:
    """Write ``model.json`` of the bundle in ``folder``, and the card and its diagram that are made from it."""
    (folder / bundle.INFO_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(info)) + b"\n")
    (folder / bundle.CARD_FILE).write_text(render_card(info), encoding="utf-8")
    if info.calibration:
        figure = figures.draw_reliability(info.calibration.before.reliability, info.calibration.after.reliability)
        figure.savefig(folder / DIAGRAM, dpi=100, metadata={"Software": None})


def render_card(info: ModelInfo) -> str:
    """``MODEL_CARD.md`` of the bundle whose ``model.json`` is ``info``; no link or picture of its texts survives."""
    from covid_cnn.reports.html import render_template

    card = render_template(
        "card.md",
        info=info,
        command=info.recipe.command or _command(info),
        no_limit=bundle.NO_LIMIT,
        by_occlusion=BY_OCCLUSION,
        cells=CELLS,
        zip=zip,
        diagram=_DIAGRAM_PLACE,
        summarize=summarize,
        flagged_sentence=flagged_sentence,
        false_alarms=_false_alarms,
        markdown_table=markdown_table,
    )
    card = re.sub(r"\n{3,}", "\n\n", strip_links(card)).strip() + "\n"
    return card.replace(_DIAGRAM_PLACE, DIAGRAM_LINK)


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


def _command(info: ModelInfo) -> str:
    """The command line that trains such a model again."""
    network, recipe = config.recipe_of(info.network), info.recipe
    settings = {key: getattr(recipe, key) for key in ALWAYS_NAMED}
    if network:
        learns = recipe.learns or network.choices[0]
        usual = {"learns": network.choices[0]} | {key: getattr(network.learning(learns), key) for key in SELDOM_CHANGED}
        settings |= {key: getattr(recipe, key) for key in usual if getattr(recipe, key) not in (None, usual[key])}
    return config.train_command(settings | {"name": info.name})


def markdown_table(columns: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; cells may hold whatever a class or a dataset is called, escaped before or not."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(BARE_BAR.sub(r"\|", str(cell)) for cell in line) + " |" for line in lines)


def flagged_sentence(report: Report) -> str:
    """How many images the model took for unlike its training images."""
    return f"Flagged as unlike the training images: {report.out_of_distribution or 'not known'}."
