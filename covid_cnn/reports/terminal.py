"""What the command line prints: predictions, the progress of a training, evaluations."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from covid_cnn.common.jobs import Progress, unwatched
from covid_cnn.common.statistics import percent
from covid_cnn.data.dataset import Dataset
from covid_cnn.data.importer import Offer
from covid_cnn.data.metadata import ClassMapping
from covid_cnn.evaluation import metrics, own_network
from covid_cnn.evaluation.own_network import Example, Trial
from covid_cnn.models.info import Report
from covid_cnn.reports import card


def prediction_line(row: Mapping[str, Any], classes: Sequence[str]) -> str:
    """One row of the table of predictions (``models.batch.to_row``) as a line of text."""
    if row["error"]:
        return f"{row['path']}: {row['error']}"
    if row["in_distribution"] is False:
        return f"{row['path']}: unlike a chest X-ray the model knows. {row['warning']}"
    details = ", ".join(f"{name} {row[f'p_{name}']:.3f}" for name in classes)
    if row["prediction_set"]:
        details += f"; could be {' or '.join(row['prediction_set'])}"
    return f"{row['path']}: {row['label']} ({details}) {row['warning']}".rstrip()


def evaluation_text(report: Report) -> str:
    """The report of one model as lines of text."""
    lines = [metrics.summarize(report)]
    if worth := report.at_prevalence:
        ppv, npv = (value or "undefined" for value in (worth.ppv, worth.npv))
        lines.append(f"\nWhere {percent(worth.prevalence, 2)} are {report.positive}: positive predictive value {ppv},")
        lines.append(f"negative predictive value {npv}.")
    return "\n".join([*lines, "\n" + card.flagged_sentence(report), *report.notes])


def dataset_line(dataset: Dataset) -> str:
    """The name of a dataset, and how many images of each class are in each split."""
    counts = "; ".join(
        f"{split or 'all'}: " + ", ".join(f"{n} {label}" for label, n in by_class.items())
        for split, by_class in dataset.counts.items()
    )
    return f"{dataset.name}{' (synthetic)' if dataset.synthetic else ''}: {counts}"


def offer_text(offer: Offer, choice: ClassMapping) -> str:
    """What a source is understood as: a table, and what is left out and why."""
    lines = [
        f"    {n:5} {finding or 'no finding'}: {choice.classes[finding] or 'left out'}"
        for finding, n in offer.sheet.findings().items()
        if choice.classes[finding] != finding
    ]
    rows = offer.summary(choice)
    table = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)] if rows else []
    for cells in table:
        lines.append(f"    {cells[0]:12}{cells[1]:32}{cells[2]:>8}{cells[3]:>10}")
    return "\n".join([*lines, *offer.notes(choice)])


def print_event(event: dict[str, Any]) -> None:
    """Print an event of a run in a terminal: a bar for the steps, a line for each epoch and sentence."""
    if event["type"] == "progress":
        end = "\n" if event["done"] == event["total"] else ""
        print(f"\r{event['what']}: {event['done']} of {event['total']}", end=end, flush=True)
    elif event["type"] == "step":
        share = event["step"] / event["steps"]
        bar = "#" * round(30 * share)
        text = f"\r[{bar:<30}] {share:4.0%} step {event['step']} of {event['steps']}, loss {event['loss']:.4f} "
        print(text, end="", flush=True)
    elif event["type"] == "epoch":
        values = {key: event[key] for key in ("loss", "accuracy", "val_loss", "val_accuracy")}
        text = ", ".join(f"{key} {value:.4f}" for key, value in values.items())
        print(f"\rEpoch {event['epoch']}: {text}".ljust(90))
    elif event["type"] == "test":
        print(metrics.summarize(msgspec.convert(event["metrics"], Report)))
    elif "message" in event:
        print(event["message"])


def show_progress() -> Progress:
    """Make what shows the part done and a line about it in a terminal, the last alone, where somebody looks."""

    def show(share: float, message: str) -> None:
        print(f"\r{share:4.0%} {message}".ljust(79), end="\n" if share == 1 else "", file=sys.stderr, flush=True)

    return show if sys.stderr.isatty() else unwatched


def trials_text(trials: Sequence[Trial], examples: Sequence[Example], classes: Sequence[str]) -> str:
    """What a network answers to three images of each class under each guess at its scale, and which guess fits."""
    lines = [f"{'Answers under each scale:':34}" + "".join(f"{trial.scale:>18}" for trial in trials)]
    for place in own_network.few(examples):
        answers, example = [trial.probabilities[place] for trial in trials], examples[place]
        cells = "".join(f"{classes[row.argmax()][:11]:>13} {row.max():.2f}" for row in answers)
        lines.append(f"{example.label[:12]:13}{example.name[-20:]:21}{cells}")
    if trials[0].right:
        shares = "".join(f"{trial.right.value if trial.right else 0:18.1%}" for trial in trials)
        lines.append(f"{f'right, of {trials[0].right.n} images':34}{shares}")
    return "\n".join([*lines, own_network.verdict(trials, classes)])
