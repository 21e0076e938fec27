"""The report of one prediction that a person takes away: one A4 page, as PDF.

An image that is unlike those the network was trained on is given no label.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from covid_cnn.common.statistics import Interval
from covid_cnn.images import ops
from covid_cnn.models.info import ModelInfo
from covid_cnn.reports.prediction import summarize_prediction
from covid_cnn.reports.wording import NOTICE, coverage_sentence, likeness_sentence, possible_classes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from covid_cnn.images.radiograph import Radiograph
    from covid_cnn.models.bundle import Prediction


def render_report(
    radiograph: Radiograph,
    prediction: Prediction,
    model: ModelInfo,
    heatmap_class: str,
    software_version: str,
    time: datetime,
) -> bytes:
    """The report as the bytes of a PDF of one A4 page; the same arguments give the same bytes.

    Parameters
    ----------
    heatmap_class : the class whose Grad-CAM is shown.

    The others are those of `summarize_prediction`.
    """
    metadata = {
        "Title": f"Covid CNN report. {NOTICE}",
        "Creator": f"Covid CNN {software_version}",
        "CreationDate": time.astimezone(UTC),
    }
    file = BytesIO()
    sheet = draw_page(radiograph, prediction, model, heatmap_class, software_version, time)
    sheet.savefig(file, format="pdf", metadata=metadata)
    return file.getvalue()


# The page. Everything is placed in millimetres from the upper left corner of the sheet, on one axes that covers it.

WIDTH, HEIGHT = 210, 297
MARGIN, GUTTER, BANNER = 16, 8, 10
COLUMN = (WIDTH - 2 * MARGIN - GUTTER) / 2
RIGHT = MARGIN + COLUMN + GUTTER
MM_PER_POINT = 25.4 / 72
INK, QUIET, RULE = "#1a1a1a", "#5f6368", "#d0d4d9"
ACCENT, ALERT = "#1f4e79", "#8a4b00"
# What the fixed parts of the page have room for; the dict always holds everything.
MOST_CLASSES = 6
MOST_ALERT_LINES = 12
MOST_HEADLINE_LINES = 7
HEADLINES = {
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "auroc_positive": "AUROC, {positive}",
    "auroc": "AUROC",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
}


class _Block(NamedTuple):
    """A part of the page: how high it is, and how to draw it with its upper edge at a given y (mm)."""

    height: float
    draw: Callable[[float], None]


def draw_page(
    radiograph: Radiograph,
    prediction: Prediction,
    model: ModelInfo,
    heatmap_class: str,
    software_version: str,
    time: datetime,
) -> Figure:
    """The report as a figure the size of an A4 page; arguments as for `render_report`."""
    from matplotlib.figure import Figure

    facts = summarize_prediction(radiograph, prediction, model, software_version, time)
    figure = Figure(figsize=(WIDTH / 25.4, HEIGHT / 25.4), facecolor="white")
    sheet = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(HEIGHT, 0), autoscale_on=False)
    sheet.axis("off")

    for y in (0.0, HEIGHT - BANNER):
        _box(sheet, 0, y, WIDTH, BANNER, ACCENT)
        _write(sheet, WIDTH / 2, y + BANNER / 2, NOTICE, 11, "white", weight="bold", ha="center", va="center")

    answer, alerts = _answer(sheet, facts, prediction), _alerts(sheet, facts, prediction)
    # The warning comes before all else that is said of an image that the network does not know.
    above = [_heading(sheet, facts), *((answer, alerts) if prediction.in_distribution else (alerts, answer))]
    below = _beside(_probabilities(sheet, facts), _test_figures(sheet, facts))
    end = _provenance(sheet, facts)
    bottom = HEIGHT - BANNER - 3 - end.height
    end.draw(bottom)
    # The images take what height the words leave them.
    room = bottom - BANNER - 6 - sum(block.height for block in (*above, below))
    y = BANNER + 6.0
    for block in (*above, _images(sheet, radiograph, prediction, heatmap_class, room), below):
        block.draw(y)
        y += block.height
    return figure


def _heading(sheet: Axes, facts: dict) -> _Block:
    time = facts["time"].replace("T", " ").replace("+00:00", " UTC")

    def draw(y: float) -> None:
        _write(sheet, MARGIN, y, "Chest X-ray classification", 15, weight="bold")
        _write(sheet, WIDTH - MARGIN, y + 1.2, time, 9, QUIET, ha="right")

    return _Block(11, draw)


def _answer(sheet: Axes, facts: dict, prediction: Prediction) -> _Block:
    answer = facts["prediction"]
    colour = ACCENT if prediction.in_distribution else INK
    label = _wrap(f"Answer: {answer['label'] or 'none'}", 14, WIDTH - 2 * MARGIN, "bold")[:2]
    sentences = [answer["sentence"]]
    if prediction.in_distribution:
        if could_be := possible_classes(prediction):
            sentences.append(f"Could be {could_be}. {coverage_sentence(prediction)}")
        sentences.append(likeness_sentence(prediction))
    text = [line for told in sentences for line in _wrap(told, 10, WIDTH - 2 * MARGIN)]

    def draw(y: float) -> None:
        y = _write_lines(sheet, MARGIN, y, label, 14, colour, weight="bold")
        _write_lines(sheet, MARGIN, y + 1, text, 10)

    return _Block(_height(label, 14) + 1 + _height(text, 10) + 4, draw)


def _alerts(sheet: Axes, facts: dict, prediction: Prediction) -> _Block:
    """A box with what speaks against trusting the answer; nothing where nothing does."""
    alerts = [*facts["image"]["warnings"]]
    if not prediction.in_distribution:
        alerts.insert(0, likeness_sentence(prediction))
    if not alerts:
        return _Block(0, lambda y: None)
    lines = []
    for alert in alerts:
        first, *rest = _wrap(alert, 9, WIDTH - 2 * MARGIN - 12)
        lines += [f"•  {first}", *(f"    {line}" for line in rest)]
    if len(lines) > MOST_ALERT_LINES:
        lines = [*lines[: MOST_ALERT_LINES - 1], "…  More warnings stand in the JSON report."]
    height = 12.5 + _height(lines, 9)

    def draw(y: float) -> None:
        _box(sheet, MARGIN, y, WIDTH - 2 * MARGIN, height - 4.5, "#fff4e0")
        _box(sheet, MARGIN, y, 1.2, height - 4.5, ALERT)
        _write(sheet, MARGIN + 4, y + 1.8, "Read with care", 9, ALERT, weight="bold")
        _write_lines(sheet, MARGIN + 4, y + 6.3, lines, 9)

    return _Block(height, draw)


def _images(sheet: Axes, radiograph: Radiograph, prediction: Prediction, heatmap_class: str, room: float) -> _Block:
    """The X-ray and the Grad-CAM over it, side by side with their captions, as large as fits in `room` mm of height."""
    pixels = ops.fit_within(radiograph.pixels, 768)
    heatmap = prediction.heatmaps[..., prediction.classes.index(heatmap_class)]
    told = (
        f"Grad-CAM (Selvaraju et al. 2017): bright colour marks what raised the score of {heatmap_class}. "
        "It shows where the network looked, not where disease is."
        if heatmap.any()
        else f"Grad-CAM (Selvaraju et al. 2017): nothing in the image raised the score of {heatmap_class}."
    )
    images = (ops.overlay(pixels, heatmap, opacity=0), ops.overlay(pixels, heatmap))
    captions = [_wrap(f"The X-ray as read: {_as_read(radiograph)}", 8, COLUMN), _wrap(told, 8, COLUMN)]
    below = max(_height(caption, 8) for caption in captions) + 6
    scale = min(COLUMN / pixels.shape[1], (room - below) / pixels.shape[0])
    height, width = scale * pixels.shape[0], scale * pixels.shape[1]

    def draw(y: float) -> None:
        for x, image, caption in zip((MARGIN, RIGHT), images, captions, strict=True):
            _box(sheet, x, y, COLUMN, height, "black")
            left = x + (COLUMN - width) / 2
            extent = (left, left + width, y + height, y)
            sheet.imshow(image, extent=extent, aspect="auto", interpolation="none", zorder=2)
            _write_lines(sheet, x, y + height + 1.5, caption, 8, QUIET)

    return _Block(height + below, draw)


def _as_read(radiograph: Radiograph) -> str:
    """What the file was, and what of it was chosen where there was a choice."""
    frame = f"frame {radiograph.frame + 1} of {radiograph.frames}" if radiograph.frames > 1 else ""
    window = radiograph.window and f"shown {'with ' * radiograph.window.startswith('centre')}{radiograph.window}"
    return "; ".join(part for part in (radiograph.origin, frame, window) if part)


def _beside(left: _Block, right: _Block) -> _Block:
    def draw(y: float) -> None:
        left.draw(y)
        right.draw(y)

    return _Block(max(left.height, right.height), draw)


def _probabilities(sheet: Axes, facts: dict) -> _Block:
    """A bar for each class, the most probable first, with the threshold on that of the positive class.

    For an image that the network does not know they are grey, and without a threshold to reach.
    """
    answer = facts["prediction"]
    known = answer["in_distribution"]
    bars = sorted(answer["probabilities"].items(), key=lambda entry: -entry[1])
    shown, left_out = bars[:MOST_CLASSES], bars[MOST_CLASSES:]
    step = 10.5
    if not known:
        note = "These numbers mean little."
    elif left_out:
        note = f"Less probable classes left out: {len(left_out)}."
    elif answer["threshold"] is not None:
        note = f"The upright mark is the decision threshold, {answer['threshold']:.3f}."
    else:
        note = ""

    def draw(y: float) -> None:
        _title(sheet, MARGIN, y, "Probabilities" if known else "What it would answer anyway")
        y += 7.5
        for name, probability in shown:
            _write(sheet, MARGIN, y, _shorten(name, 9, COLUMN - 14), 9)
            _write(sheet, MARGIN + COLUMN, y, f"{probability:.3f}", 9, ha="right")
            _box(sheet, MARGIN, y + 4.6, COLUMN, 2.4, "#eceff2")
            _box(sheet, MARGIN, y + 4.6, COLUMN * probability, 2.4, ACCENT if known else QUIET)
            if known and name == answer["positive"] and answer["threshold"] is not None:
                x = MARGIN + COLUMN * answer["threshold"]
                _box(sheet, x - 0.3, y + 3.9, 0.6, 3.8, INK)
            y += step
        _write(sheet, MARGIN, y - 1, note, 8, QUIET)

    return _Block(7.5 + step * len(shown) + 7, draw)


def _test_figures(sheet: Axes, facts: dict) -> _Block:
    """The model's name, its training data, its most sobering figure, and its own test's with their intervals."""
    model = facts["model"]
    about = _wrap(f"{model['name']}, trained on {model['trained_on']}", 9, COLUMN)[:3]
    sobering = _wrap(model["headlines"][0], 9, COLUMN)
    if len(sobering) > MOST_HEADLINE_LINES:
        sobering = [*sobering[: MOST_HEADLINE_LINES - 1], "…  The JSON report has it whole."]
    test = model["test"] or {}
    titles = {key: title.format(positive=test.get("positive")) for key, title in HEADLINES.items()}
    if "auroc_positive" in test:
        titles |= {"auroc": "AUROC, all classes"}
    lines = [(_shorten(title, 9, 34), test[key]) for key, title in titles.items() if test.get(key)]

    def draw(y: float) -> None:
        _title(sheet, RIGHT, y, "The model")
        y = _write_lines(sheet, RIGHT, y + 7.5, about, 9) + 1.5
        y = _write_lines(sheet, RIGHT, y, sobering, 9, ALERT) + 1.5
        if not lines:
            _write(sheet, RIGHT, y, "It carries no figures from a test set.", 9)
            return
        _write(sheet, RIGHT, y, "On its test set", 8, QUIET)
        _write(sheet, RIGHT + COLUMN - 12, y, "95 % interval", 8, QUIET, ha="right")
        _write(sheet, RIGHT + COLUMN, y, "n", 8, QUIET, ha="right")
        for title, metric in lines:
            y += 4.6
            _write(sheet, RIGHT, y, title, 9)
            _write(sheet, RIGHT + 44, y, f"{metric['value']:.3f}", 9, weight="bold", ha="right")
            _write(sheet, RIGHT + COLUMN - 12, y, msgspec.convert(metric, Interval).bounds, 9, ha="right")
            _write(sheet, RIGHT + COLUMN, y, str(metric["n"]), 9, ha="right")

    return _Block(7.5 + _height(about, 9) + _height(sobering, 9) + 3 + 4.6 * (len(lines) + 1) + 4, draw)


def _provenance(sheet: Axes, facts: dict) -> _Block:
    image = facts["image"]
    told = {"File": image["sha256"], "Pixels as read": image["pixels_sha256"]}
    digests = [f"{what}, SHA-256: {digest}" for what, digest in told.items() if digest]

    def draw(y: float) -> None:
        _box(sheet, MARGIN, y, WIDTH - 2 * MARGIN, 0.25, RULE)
        _write_lines(sheet, MARGIN, y + 1.8, digests, 7.5, QUIET)
        _write(sheet, WIDTH - MARGIN, y + 1.8, facts["software"], 7.5, QUIET, ha="right")

    return _Block(2.4 + _height(digests, 7.5), draw)


def _title(sheet: Axes, x: float, y: float, text: str) -> None:
    _write(sheet, x, y, text, 11, weight="bold")


def _box(sheet: Axes, x: float, y: float, width: float, height: float, colour: str) -> None:
    from matplotlib.patches import Rectangle

    sheet.add_patch(Rectangle((x, y), width, height, facecolor=colour, linewidth=0))


def _write(sheet: Axes, x: float, y: float, text: str, size: float, colour: str = INK, **style: Any) -> None:
    # Names of classes and models come from folders, where a dollar sign is no mathematics.
    sheet.text(x, y, text, fontsize=size, color=colour, parse_math=False, **{"va": "top"} | style)


def _write_lines(
    sheet: Axes, x: float, y: float, lines: list[str], size: float, colour: str = INK, **style: Any
) -> float:
    """Writes lines below each other; the y below the last."""
    for i, line in enumerate(lines):
        _write(sheet, x, y + _height(lines[:i], size), line, size, colour, **style)
    return y + _height(lines, size)


def _height(lines: list[str], size: float) -> float:
    return 1.35 * size * MM_PER_POINT * len(lines)


@cache
def _advance(character: str, weight: str) -> float:
    """The width of a character as a share of the font size."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    return (
        text_to_path.get_text_width_height_descent(character, FontProperties(size=100, weight=weight), False)[0] / 100
    )


def _width(text: str, size: float, weight: str = "normal") -> float:
    """In mm; without kerning, which makes it a hair too wide and ten times as fast as laying out each attempt."""
    return size * MM_PER_POINT * sum(_advance(character, weight) for character in text)


def _wrap(text: str, size: float, width: float, weight: str = "normal") -> list[str]:
    """The lines of a text, none wider than `width` mm."""
    for columns in range(len(text), 1, -1):
        lines = textwrap.wrap(text, columns)
        if all(_width(line, size, weight) <= width for line in lines):
            return lines
    return [text]


def _shorten(text: str, size: float, width: float) -> str:
    """The text, its end cut off with an ellipsis where it is wider than `width` mm."""
    shown = text
    while _width(shown, size) > width:
        text = text[:-1]
        shown = f"{text}…"
    return shown
