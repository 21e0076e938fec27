"""The report of an evaluation that a person takes away: one HTML file that needs nothing else."""

import base64
import html
import io
from collections.abc import Iterable, Iterator, Sequence
from csv import writer
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from covid_cnn import curves, evaluation, figures, subgroups
from covid_cnn.bundle import Bundle
from covid_cnn.questions import Verdicts
from covid_cnn.report import NOTICE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVES = ("roc", "precision_recall")  # the figures that need images of both kinds
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #12262b }
.notice { background: #fff4e0; border-left: 4px solid #8a4b00; padding: .6rem 1rem; font-weight: 600 }
table { border-collapse: collapse; margin: 1rem 0 }
td, th { padding: .25rem .9rem .25rem 0; text-align: left; border-bottom: 1px solid #d0d4d9 }
caption { text-align: left; font-weight: 600 }
.figures { display: flex; flex-wrap: wrap; gap: 1rem }
.figures img { max-width: 30rem; width: 100% }
"""


def drawings(asked: Verdicts, report: dict) -> dict[str, "Figure"]:
    """The figures of an evaluation by their names; without curves where all images are of one kind."""
    labels, scores, patients = asked.labels, asked.scores, asked.patients
    drawn = {"confusion": figures.confusion_matrix(report["confusion"], report["classes"])}
    if (roc := curves.roc(labels, scores, patients)) is not None:
        drawn["roc"] = figures.curve(roc, "roc", asked.threshold, "ROC")
    if (told := curves.precision_recall(labels, scores, patients)) is not None:
        drawn["precision_recall"] = figures.curve(told, "precision_recall", asked.threshold, "Precision and recall")
    bins = evaluation.reliability(labels.astype(int), np.stack([1 - scores, scores], axis=1))
    return drawn | {"calibration": figures.calibration_diagram(bins)}


def metrics(report: dict) -> list[Sequence[str]]:
    """The table of all metrics as a person reads it, its head first."""
    rows: list[Sequence[str]] = [("Metric", "Value", "95 % interval", "n")]
    for title, interval in evaluation.rows(report):
        if interval:
            bounds = f"{interval.low:.3f} to {interval.high:.3f}"
            rows.append((title, f"{interval.value:.3f}", bounds, str(interval.n)))
        else:
            rows.append((title, "undefined", "", ""))
    return rows


def numbers(report: dict) -> Iterator[Sequence[object]]:
    """The same in full precision, for other programs."""
    yield "metric", "value", "low", "high", "n"
    for title, interval in evaluation.rows(report):
        yield title, *(interval.to_dict().values() if interval else ("",) * 4)


def groups(asked: Verdicts) -> list[Sequence[object]]:
    """The table of the subgroups, its head first."""
    return [("Group", *subgroups.COLUMNS), *(line.cells() for line in subgroups.subgroups(asked))]


def answers(asked: Verdicts, root: Path) -> Iterator[Sequence[object]]:
    """A line for each image, by its path below ``root``."""
    yield "image", "class", f"is {asked.yes}", f"p {asked.yes}", "called", "flagged"
    answered = asked.items, asked.labels, asked.scores, asked.predicted, asked.flagged
    for item, label, score, said, flagged in zip(*answered, strict=True):
        path = item.path.relative_to(root).as_posix()
        yield path, item.label, bool(label), round(float(score), 6), bool(said), bool(flagged)


def csv(rows: Iterable[Sequence[object]]) -> bytes:
    """A table as the bytes of a CSV file."""
    file = io.StringIO()
    writer(file).writerows(rows)
    return file.getvalue().encode("utf-8", "surrogateescape")


def page(
    bundle: Bundle,
    place: str,
    asked: Verdicts,
    report: dict,
    version: str,
) -> bytes:
    """The report as the bytes of an HTML file.

    Parameters
    ----------
    place : the dataset and its split, in words.
    asked, report : verdicts and what `questions.report` tells of them.
    version : of this package.
    """
    facts = [
        f"Model {bundle.name} (SHA-256 {bundle.info['sha256']}) on {place}.",
        f"{report['n']} images of {report['n_patients']} patients: {int(asked.labels.sum())} {asked.yes}, "
        f"{int((~asked.labels).sum())} {asked.no}. Called {asked.yes} from a probability of {asked.threshold:.3f} on.",
        "Proportions carry Wilson's intervals; the other metrics are bootstrapped over patients.",
        *report["notes"],
    ]
    pictures = "".join(
        f'<img alt="{name}" src="data:image/svg+xml;base64,{base64.b64encode(figures.encoded(drawn, "svg")).decode()}">'
        for name, drawn in drawings(asked, report).items()
    )
    tables: dict[str, list[Sequence[object]]] = {"Metrics": [*metrics(report)], "Subgroups": groups(asked)}
    told = "".join(_table(title, rows) for title, rows in tables.items() if len(rows) > 1)
    words = "".join(f"<p>{html.escape(fact)}</p>" for fact in facts)
    time = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Evaluation of {html.escape(bundle.name)}</title>"
        f"<style>{STYLE}</style><h1>Evaluation of {html.escape(bundle.name)}</h1><p class=notice>{NOTICE}</p>{words}"
        f"<div class=figures>{pictures}</div>{told}<p>Covid CNN {html.escape(version)}, {time}</p></html>"
    ).encode()


def _table(title: str, rows: Sequence[Sequence[object]]) -> str:
    def line(cells: Sequence[object], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

    head, *body = rows
    lines = "".join([line(head, "th"), *(line(cells, "td") for cells in body)])
    return f"<table><caption>{html.escape(title)}</caption>{lines}</table>"
