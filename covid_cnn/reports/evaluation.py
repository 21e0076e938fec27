"""The reports of an evaluation that a person takes away: HTML files that need nothing else.

They hold no patient's key and no file name: a file's name may tell who it is of.
"""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from csv import writer
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from msgspec import structs

from covid_cnn.common.errors import CovidCnnError
from covid_cnn.evaluation import calibration, cohorts, curves
from covid_cnn.evaluation import metrics as evaluation_metrics
from covid_cnn.evaluation.binary import BinaryPredictions
from covid_cnn.evaluation.cohorts import Shares
from covid_cnn.evaluation.predictions import DatasetPredictions
from covid_cnn.images import ops, reader
from covid_cnn.models.bundle import Bundle
from covid_cnn.models.info import Report
from covid_cnn.reports import figures
from covid_cnn.reports.html import embed, embed_pixels, render_page

if TYPE_CHECKING:
    from matplotlib.figure import Figure


ERRORS = 12  # that a report shows, the worst
ERROR_SIZE = 320  # pixels, longest side of an error's picture
# The figures of an evaluation and their titles. Not every evaluation has each: see `figure_names`.
TITLES = {
    "confusion": "Confusion matrix",
    "classes": "Confusion of all classes",
    "roc": "ROC",
    "precision_recall": "Precision and recall",
    "calibration": "Calibration",
    "subgroups": "Subgroups",
}
PROPORTIONS = (
    "Proportions carry Wilson's 95 % interval for as many images as these are worth where patients have several (Rao "
    "and Scott 1992); all else is bootstrapped over patients. Without an error no resample tells an interval: that of "
    "an AUROC of 1 is then Newcombe's."
)


class Confusion(NamedTuple):
    """Counts of images by true class (rows) and answer, int ``[R, K]``, the K classes, and the R names of the rows."""

    counts: np.ndarray
    classes: list[str]
    truths: list[str]


def count_confusion(bundle: Bundle, answers: DatasetPredictions) -> Confusion | None:
    """The images by the model's own decision; None where a question tells as much, or of no image.

    A class of the dataset that the model does not know is a row below the others: no answer to it can be right.
    """
    unknown = sorted({item.label for item, label in zip(answers.items, answers.labels, strict=True) if label < 0})
    if (len(bundle.classes) < 3 and not unknown) or not answers.items:
        return None
    truths = [*bundle.classes, *unknown]
    rows = [
        len(bundle.classes) + unknown.index(item.label) if label < 0 else label
        for item, label in zip(answers.items, answers.labels, strict=True)
    ]
    counts = np.zeros((len(truths), len(bundle.classes)), int)
    np.add.at(counts, (np.array(rows), answers.predicted), 1)
    names = [*bundle.classes, *(f"{name} (unknown to it)" for name in unknown)]
    return Confusion(counts, list(bundle.classes), names)


def figure_names(answers: BinaryPredictions, classes: Confusion | None = None) -> list[str]:
    """Which of the figures an evaluation has, by their names.

    Curves need images of both kinds, and subgroups metadata that part the images.
    """
    both = bool(answers.labels.any() and not answers.labels.all())
    there = {
        "classes": classes is not None,
        "roc": both,
        "precision_recall": both,
        "subgroups": bool(cohorts.find_cohorts(answers)),
    }
    return [name for name in TITLES if there.get(name, True)]


def draw_figure(name: str, answers: BinaryPredictions, report: Report, classes: Confusion | None = None) -> "Figure":
    """One of the figures that an evaluation has."""
    labels, scores, patients = answers.labels, answers.scores, answers.patients
    if name == "confusion":
        return figures.draw_confusion_matrix(report.confusion, report.classes)
    if name == "classes":
        assert classes
        return figures.draw_confusion_matrix(*classes)
    if name == "subgroups":
        return figures.draw_shares(cohorts.find_cohorts(answers))
    if name == "calibration":
        return figures.draw_calibration(calibration.reliability(labels.astype(int), answers.probabilities))
    curve = (curves.roc_curve if name == "roc" else curves.precision_recall_curve)(labels, scores, patients)
    assert curve  # there are images of both kinds
    return figures.draw_curve(curve, name, answers.threshold, TITLES[name])


def metric_values(report: Report) -> Iterator[Sequence[object]]:
    """The table of all metrics in full precision, for other programs."""
    yield "metric", "value", "low", "high", "n"
    for title, interval in evaluation_metrics.metric_rows(report):
        yield title, *(structs.astuple(interval) if interval else ("",) * 4)


def group_rows(groups: Iterable[Shares]) -> list[Sequence[object]]:
    """The table of the subgroups, its head first."""
    return [("Group", *cohorts.COLUMNS), *(line.cells() for line in groups)]


def answer_rows(answers: BinaryPredictions, root: Path) -> Iterator[Sequence[object]]:
    """A line for each image, by its path below ``root``."""
    yield "image", "class", f"is {answers.yes}", f"p {answers.yes}", "called", "flagged"
    answered = answers.items, answers.labels, answers.scores, answers.predicted, answers.flagged
    for item, label, score, said, flagged in zip(*answered, strict=True):
        path = item.path.relative_to(root).as_posix()
        yield path, item.label, bool(label), round(float(score), 6), bool(said), bool(flagged)


def csv(rows: Iterable[Sequence[object]]) -> bytes:
    """A table as the bytes of a CSV file."""
    file = io.StringIO()
    writer(file).writerows(rows)
    return file.getvalue().encode("utf-8", "surrogateescape")


def render_evaluation(
    bundle: Bundle,
    place: str,
    answers: BinaryPredictions,
    report: Report,
    version: str,
    classes: Confusion | None = None,
) -> bytes:
    """The report as the bytes of an HTML file, with its worst errors and where the model looked at them.

    The ``place`` is the dataset and its split, in words; ``version`` that of this package.
    """
    facts = [
        f"Model {bundle.name} (SHA-256 {bundle.info.sha256}) on {place}.",
        f"{evaluation_metrics.count_patients(report)} {int(answers.labels.sum())} images of {answers.yes}, "
        f"{int((~answers.labels).sum())} of {answers.no}.",
        f"Called {answers.yes} from a probability of {answers.threshold:.3f} on.",
        PROPORTIONS,
        *evaluation_metrics.cautions(report),
        *report.notes,
    ]
    pictures = {TITLES[name]: draw_figure(name, answers, report, classes) for name in figure_names(answers, classes)}
    tables: dict[str, Sequence[Sequence[object]]] = {
        "Metrics": evaluation_metrics.cells(report),
        "Subgroups": group_rows(cohorts.find_cohorts(answers)),
    }
    wrong = answers.worst()
    errors = [_error(bundle, answers, int(i)) for i in wrong[:ERRORS]]
    return _render(f"Evaluation of {bundle.name}", facts, pictures, tables, version, errors, len(wrong))


def render_comparison(
    models: Mapping[str, str],
    lines: Sequence[Shares],
    tables: Mapping[str, Sequence[Sequence[object]]],
    notes: Sequence[str],
    version: str,
) -> bytes:
    """The report of several models or several places, as the bytes of an HTML file.

    Of the models it takes the SHA-256 by name, of the tables the rows by title, the head first.
    """
    facts = [f"Model {name} (SHA-256 {digest})." for name, digest in models.items()]
    pictures = {"Sensitivity and specificity, at home and away": figures.draw_shares(lines)}
    return _render("Home and away", [*facts, *notes], pictures, tables, version)


class _Error(NamedTuple):
    """A wrong answer: what it was, and its pictures by their names."""

    sentence: str
    pictures: dict[str, str]


def _render(
    title: str,
    facts: Sequence[str],
    pictures: Mapping[str, "Figure"],
    tables: Mapping[str, Sequence[Sequence[object]]],
    version: str,
    errors: Sequence[_Error] = (),
    wrong: int = 0,
) -> bytes:
    page = render_page(
        "evaluation.html",
        title,
        facts=facts,
        pictures={name: embed(figures.encode_figure(one, "svg"), "svg+xml") for name, one in pictures.items()},
        tables=tables,
        errors=errors,
        wrong=wrong,
        version=version,
        time=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    )
    return page.encode()


def _error(bundle: Bundle, answers: BinaryPredictions, i: int) -> _Error:
    """A wrong answer beside its heatmap."""
    item = answers.items[i]
    sentence = (
        f"{item.label}, called {answers.no if answers.labels[i] else answers.yes}: probability of {answers.yes} "
        f"{answers.scores[i]:.3f}{', flagged as unlike the training images' if answers.flagged[i] else ''}. "
        f"Source: {item.source}. Licence: {item.licence}."
    )
    try:
        pixels = reader.read(item.path).pixels
        answer = bundle.predict(pixels)
    except CovidCnnError as error:
        return _Error(f"{sentence} {error}", {})
    small = ops.fit_within(pixels, ERROR_SIZE)
    overlay = ops.overlay(small, answer.heatmap())
    xray = np.rint(255 * small).astype(np.uint8)
    return _Error(sentence, {"X-ray": embed_pixels(xray), "Heatmap": embed_pixels(overlay)})
