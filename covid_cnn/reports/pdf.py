"""The report of one prediction that a person takes away: one A4 page, as PDF.

An image that is unlike those the network was trained on is given no label.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from fpdf import FPDF
from PIL import Image

from covid_cnn.common.statistics import Interval
from covid_cnn.images import ops
from covid_cnn.reports.prediction import summarize_prediction
from covid_cnn.reports.wording import NOTICE, coverage_sentence, likeness_sentence, possible_classes, verdict

if TYPE_CHECKING:
    from covid_cnn.images.radiograph import Radiograph
    from covid_cnn.models.bundle import Prediction
    from covid_cnn.models.info import ModelInfo

# In millimetres.
WIDTH, HEIGHT = 210, 297
MARGIN, GUTTER, BANNER = 16, 8, 10
COLUMN = (WIDTH - 2 * MARGIN - GUTTER) / 2
RIGHT = MARGIN + COLUMN + GUTTER
BAR = 10.5  # the height of a class with its bar
LINE = 1.35 * 25.4 / 72  # the height of a line of a font size of one point
INK, QUIET, RULE = "#1a1a1a", "#5f6368", "#d0d4d9"
ACCENT, ALERT = "#1f4e79", "#8a4b00"
# What the page has room for; the JSON report always holds everything.
MOST_CLASSES, MOST_ALERT_LINES, MOST_HEADLINE_LINES = 6, 12, 7
HEADLINES = {
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "auroc_positive": "AUROC, {positive}",
    "auroc": "AUROC",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
}


def render_report(
    radiograph: Radiograph,
    prediction: Prediction,
    model: ModelInfo,
    heatmap_class: str,
    software_version: str,
    time: datetime,
) -> bytes:
    """The report as the bytes of a PDF of one A4 page, with the heatmap of one class; the same at every call."""
    facts = summarize_prediction(radiograph, prediction, model, software_version, time)
    page = _Page(f"Covid CNN {software_version}", time.astimezone(UTC))
    _write_heading(page, facts)
    # The warning comes before all else that is said of an image that the network does not know.
    parts = (_write_answer, _write_alerts) if prediction.in_distribution else (_write_alerts, _write_answer)
    for write in parts:
        write(page, facts, prediction)

    bottom = HEIGHT - BANNER - 3 - page.measure(partial(_write_provenance, page, facts))
    # The images take what height the words leave them.
    columns = max(page.measure(partial(write, page, facts)) for write in (_draw_probabilities, _write_model))
    _draw_images(page, radiograph, prediction, heatmap_class, bottom - 4 - columns - page.get_y())
    y = page.get_y()
    for draw, top in ((_draw_probabilities, y), (_write_model, y), (_write_provenance, bottom)):
        page.set_y(top)
        draw(page, facts)
    return bytes(page.output())


class _Page(FPDF):
    """An A4 page between two banners, on which words are written below each other."""

    def __init__(self, software: str, time: datetime) -> None:
        super().__init__()
        # The fonts that matplotlib brings, found without importing it: they know the letters of class names.
        (folder,) = importlib.util.find_spec("matplotlib").submodule_search_locations  # type: ignore[union-attr, misc]
        for style, file in (("", "DejaVuSans.ttf"), ("B", "DejaVuSans-Bold.ttf")):
            self.add_font("DejaVu", style, Path(folder) / "mpl-data" / "fonts" / "ttf" / file)
        self.set_title(f"Covid CNN report. {NOTICE}")
        self.set_creator(software)
        self.set_creation_date(time)
        self.set_margin(0)
        self.c_margin = 0
        self.set_auto_page_break(False)
        self.add_page()
        for y in (0, HEIGHT - BANNER):
            self.box(0, y, WIDTH, BANNER, ACCENT)
            self.set_y(y + BANNER / 2 - 11 * LINE / 2)
            self.write_text(NOTICE, 11, "#ffffff", x=0, width=WIDTH, bold=True, align="C")
        self.set_y(BANNER + 6)

    def box(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """A filled rectangle; its corner and its sides in mm."""
        self.set_fill_color(colour)
        self.rect(x, y, width, height, style="F")

    def write_text(
        self,
        text: str,
        size: float,
        colour: str = INK,
        x: float = MARGIN,
        width: float = WIDTH - 2 * MARGIN,
        bold: bool = False,
        align: str = "L",
        most: int = 0,
        instead: str = "…",
    ) -> None:
        """Write a text below the last, in letters of so many points, on as many lines as it takes.

        After ``most`` lines the last is ``instead`` of what is left; 0 is no limit.
        """
        text = text.encode(errors="backslashreplace").decode()  # a folder's name may hold what is no Unicode
        self.set_font("DejaVu", "B" if bold else "", size)
        self.set_text_color(colour)
        self.set_x(x)
        lines = self.multi_cell(width, size * LINE, text, dry_run=True, output="LINES")
        assert isinstance(lines, list)
        if most and len(lines) > most:
            text = "\n".join([*lines[: most - 1], instead if instead != "…" else self._shorten(lines[most - 1], width)])
        self.multi_cell(width, size * LINE, text, align=align, new_x="LEFT", new_y="NEXT")

    def _shorten(self, line: str, width: float) -> str:
        """A line with its end cut off and an ellipsis in place of it, so that it fits."""
        while self.get_string_width(f"{line}…") > width:
            line = line[:-1]
        return f"{line}…"

    def measure(self, draw: Callable[[], None]) -> float:
        """How high, in mm, something would be if it were drawn now."""
        start = self.get_y()
        with self.offset_rendering():
            draw()
            return self.get_y() - start


def _write_heading(page: _Page, facts: dict[str, Any]) -> None:
    y = page.get_y()
    page.set_y(y + 1.2)
    page.write_text(facts["time"].replace("T", " ").replace("+00:00", " UTC"), 9, QUIET, align="R")
    page.set_y(y)
    page.write_text("Chest X-ray classification", 15, bold=True)
    page.set_y(y + 11)


def _write_answer(page: _Page, facts: dict[str, Any], prediction: Prediction) -> None:
    answer = facts["prediction"]
    colour = ACCENT if prediction.in_distribution else INK
    said = verdict(prediction) if prediction.in_distribution else "none"
    page.write_text(f"Answer: {said}", 14, colour, bold=True, most=2)
    page.ln(1)
    page.write_text(answer["sentence"], 10)
    if prediction.in_distribution:
        if could_be := possible_classes(prediction):
            page.write_text(f"Could be {could_be}. {coverage_sentence(prediction)}", 10)
        page.write_text(likeness_sentence(prediction), 10)
    page.ln(4)


def _write_alerts(page: _Page, facts: dict[str, Any], prediction: Prediction) -> None:
    """A box with what speaks against trusting the answer; nothing where nothing does."""
    alerts = facts["image"]["warnings"]
    if not prediction.in_distribution:
        alerts = [likeness_sentence(prediction), *alerts]
    if not alerts:
        return

    def write() -> None:
        page.ln(1.8)
        page.write_text("Read with care", 9, ALERT, x=MARGIN + 4, bold=True)
        text, more = "\n".join(f"•  {alert}" for alert in alerts), "…  More warnings stand in the JSON report."
        page.write_text(text, 9, x=MARGIN + 4, width=WIDTH - 2 * MARGIN - 8, most=MOST_ALERT_LINES, instead=more)
        page.ln(1.8)

    y, height = page.get_y(), page.measure(write)
    page.box(MARGIN, y, WIDTH - 2 * MARGIN, height, "#fff4e0")
    page.box(MARGIN, y, 1.2, height, ALERT)
    write()
    page.ln(4.5)


def _draw_images(page: _Page, radiograph: Radiograph, prediction: Prediction, heatmap_class: str, room: float) -> None:
    """The X-ray and the heatmap over it, side by side with their captions, as large as fits in `room` mm of height."""
    pixels = ops.fit_within(radiograph.pixels, 768)
    heatmap = prediction.heatmap(heatmap_class)
    meaning = (
        f"bright colour marks what raised the score of {heatmap_class}. "
        "It shows where the network looked, not where disease is."
        if heatmap.any()
        else f"nothing in the image raised the score of {heatmap_class}."
    )
    sides = (
        (MARGIN, ops.overlay(pixels, heatmap, opacity=0), f"The X-ray as read: {_describe_origin(radiograph)}"),
        (RIGHT, ops.overlay(pixels, heatmap), f"{prediction.explained_by}: {meaning}"),
    )
    y = page.get_y()

    def write_captions(y: float) -> None:
        ends = []
        for x, _, caption in sides:
            page.set_y(y)
            page.write_text(caption, 8, QUIET, x=x, width=COLUMN)
            ends.append(page.get_y())
        page.set_y(max(ends) + 4.5)

    words = page.measure(lambda: write_captions(y)) + 1.5
    scale = min(COLUMN / pixels.shape[1], (room - words) / pixels.shape[0])
    height, width = scale * pixels.shape[0], scale * pixels.shape[1]
    for x, image, _ in sides:
        page.box(x, y, COLUMN, height, "#000000")
        page.image(Image.fromarray(image), x + (COLUMN - width) / 2, y, width, height)
    write_captions(y + height + 1.5)


def _describe_origin(radiograph: Radiograph) -> str:
    """What the file was, and what of it was chosen where there was a choice."""
    frame = f"frame {radiograph.frame + 1} of {radiograph.frames}" if radiograph.frames > 1 else ""
    window = radiograph.window and f"shown {'with ' * radiograph.window.startswith('centre')}{radiograph.window}"
    return "; ".join(part for part in (radiograph.origin, frame, window) if part)


def _draw_probabilities(page: _Page, facts: dict[str, Any]) -> None:
    """A bar for each class, the most probable first, with the threshold on that of the positive class.

    For an image that the network does not know they are grey, and without a threshold to reach.
    """
    answer = facts["prediction"]
    known, threshold = answer["in_distribution"] is not False, answer["threshold"]
    bars = sorted(answer["probabilities"].items(), key=lambda entry: -entry[1])
    page.write_text("Probabilities" if known else "What it would answer anyway", 11, width=COLUMN, bold=True)
    page.ln(2)
    for name, probability in bars[:MOST_CLASSES]:
        y = page.get_y()
        page.write_text(name, 9, width=COLUMN - 14, most=1)
        page.set_y(y)
        page.write_text(f"{probability:.3f}", 9, width=COLUMN, align="R")
        page.box(MARGIN, y + 4.6, COLUMN, 2.4, "#eceff2")
        page.box(MARGIN, y + 4.6, COLUMN * probability, 2.4, ACCENT if known else QUIET)
        if known and name == answer["positive"] and threshold is not None:
            page.box(MARGIN + COLUMN * threshold - 0.3, y + 3.9, 0.6, 3.8, INK)
        page.set_y(y + BAR)
    if not known:
        note = "These numbers mean little."
    elif len(bars) > MOST_CLASSES:
        note = f"Less probable classes left out: {len(bars) - MOST_CLASSES}."
    else:
        note = "" if threshold is None else f"The upright mark is the decision threshold, {threshold:.3f}."
    page.write_text(note, 8, QUIET, width=COLUMN)


def _write_model(page: _Page, facts: dict[str, Any]) -> None:
    """The model's name, its training data, its most sobering figure, and its own test's with their intervals."""
    model, test = facts["model"], facts["model"]["test"] or {}
    page.write_text("The model", 11, x=RIGHT, width=COLUMN, bold=True)
    page.ln(2)
    page.write_text(f"{model['name']}, trained on {model['trained_on']}", 9, x=RIGHT, width=COLUMN, most=3)
    page.ln(1.5)
    more = "…  The JSON report has it whole."
    page.write_text(model["headlines"][0], 9, ALERT, RIGHT, COLUMN, most=MOST_HEADLINE_LINES, instead=more)
    page.ln(1.5)
    titles = {key: title.format(positive=test.get("positive")) for key, title in HEADLINES.items() if test.get(key)}
    if not titles:
        page.write_text("It carries no figures from a test set.", 9, x=RIGHT, width=COLUMN)
        return
    if "auroc_positive" in test:
        titles["auroc"] = "AUROC, all classes"
    _write_row(page, 8, QUIET, ("On its test set", "", "95 % interval", "n"))
    for key, title in titles.items():
        interval = msgspec.convert(test[key], Interval)
        _write_row(page, 9, INK, (title, f"{interval.value:.3f}", interval.bounds, str(interval.n)))


def _write_row(page: _Page, size: float, colour: str, cells: tuple[str, str, str, str]) -> None:
    y = page.get_y()
    title, value, bounds, n = cells
    page.write_text(title, size, colour, RIGHT, 34, most=1)
    for text, end, bold in ((value, 44, True), (bounds, COLUMN - 12, False), (n, COLUMN, False)):
        page.set_y(y)
        page.write_text(text, size, colour, RIGHT, end, bold=bold, align="R")
    page.set_y(y + 4.6)


def _write_provenance(page: _Page, facts: dict[str, Any]) -> None:
    image, y = facts["image"], page.get_y()
    page.box(MARGIN, y, WIDTH - 2 * MARGIN, 0.25, RULE)
    page.set_y(y + 1.8)
    page.write_text(facts["software"], 7.5, QUIET, align="R")
    page.set_y(y + 1.8)
    for what, digest in (("File", image["sha256"]), ("Pixels as read", image["pixels_sha256"])):
        if digest:
            page.write_text(f"{what}, SHA-256: {digest}", 7.5, QUIET)
