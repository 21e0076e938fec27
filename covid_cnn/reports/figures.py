"""Figures of training and evaluation: loss curves, confusion matrices, ROC, calibration.

Figures are bare `matplotlib.figure.Figure`s on a white ground, readable on light and dark pages; pyplot keeps global
state and is not for a web process with many threads. matplotlib is imported where it is used, since it takes longer to
load than a prediction takes.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from covid_cnn.common.statistics import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from covid_cnn.evaluation.cohorts import Shares
    from covid_cnn.evaluation.curves import Curve
    from covid_cnn.models.info import ReliabilityBin
    from covid_cnn.runs.events import Epoch


KINDS = ("png", "svg")  # of files


def _figure(width: float, height: float, layout: Literal["constrained", "compressed"] = "constrained") -> Figure:
    """An empty figure of so many inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), facecolor="white", layout=layout)


def draw_loss_curves(epochs: Sequence[Epoch]) -> Figure:
    """The loss of training and of validation against the epochs."""
    from matplotlib.ticker import MaxNLocator

    figure = _figure(6.4, 4)
    axes = figure.add_subplot()
    numbers = [one.epoch for one in epochs]
    axes.plot(numbers, [one.loss for one in epochs], marker="o", markersize=4, label="training")
    axes.plot(numbers, [one.val_loss for one in epochs], marker="s", markersize=4, label="validation")
    axes.set(xlabel="Epoch", ylabel="Loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def draw_confusion_matrix(
    matrix: np.ndarray | list[list[int]], classes: Sequence[str], truths: Sequence[str] = ()
) -> Figure:
    """Counts of images, int [R, K], by true class (rows) and answer (columns), each with its share of the row.

    The R rows have names of their own, ``truths``, where they are others than the K classes.
    """
    counts = np.asarray(matrix)
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    width, height = (2.4 + 0.9 * count for count in counts.shape[::-1])
    figure = _figure(width + 0.6, height, "compressed")
    axes = figure.add_subplot()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(counts.shape):
        text = f"{counts[row, column]}\n{percent(shares[row, column])}" if totals[row, 0] else "0"
        colour = "white" if shares[row, column] > 0.6 else "black"
        axes.text(column, row, text, ha="center", va="center", color=colour)
    axes.set(xlabel="Answer", ylabel="Truth")
    axes.set_xticks(range(len(classes)), classes, rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(truths or classes)), truths or classes)
    _write_names_plainly(axes)
    return figure


def _write_names_plainly(axes: Axes) -> None:
    for label in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        label.set_parse_math(False)  # a folder's name may hold dollar signs


def draw_curve(curve: Curve, kind: str, threshold: float | None = None, title: str = "") -> Figure:
    """A curve, of the kind "roc" or "precision_recall", with its 95 % band and a mark at a threshold."""
    figure = _figure(5, 4.6)
    axes = figure.add_subplot()
    axes.fill_between(curve.grid, curve.low, curve.high, color="#0072B2", alpha=0.18, linewidth=0, label="95 % band")
    axes.plot(curve.x, curve.y, color="#0072B2", linewidth=2)
    if kind == "roc":
        axes.plot((0, 1), (0, 1), color="gray", linestyle="--", linewidth=1, label="chance")
    if threshold is not None and (curve.thresholds >= threshold).any():
        last = int(np.flatnonzero(curve.thresholds >= threshold)[-1])
        axes.plot(curve.x[last], curve.y[last], "o", color="#D55E00", markersize=8, label=f"threshold {threshold:.3f}")
    names = {"roc": ("1 - specificity", "Sensitivity"), "precision_recall": ("Recall (sensitivity)", "Precision")}
    axes.set(xlabel=names[kind][0], ylabel=names[kind][1], xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    axes.set_title(title, parse_math=False)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right" if kind == "roc" else "lower left")
    return figure


def draw_calibration(bins: Sequence[ReliabilityBin]) -> Figure:
    """How often the more probable answer is right, against how probable it was; bins of `calibration.reliability`."""
    figure = _figure(5, 4.6)
    axes = figure.add_subplot()
    _plot_reliability(axes, bins, "o", "#0072B2", "measured, on so many images")
    for one in bins:
        axes.annotate(
            str(one.n),
            (one.confidence, one.accuracy.low),
            (0, -4),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=8,
        )
    axes.set(xlabel="Probability of the more probable answer", ylabel="Share that is right, with its 95 % interval")
    axes.set(xlim=(0, 1.03), ylim=(-0.06, 1.03))
    return figure


def draw_shares(lines: Sequence[Shares]) -> Figure:
    """Sensitivity and specificity as dots with their 95 % intervals, and how many images stand behind each.

    Each of the lines is a row, from the top; where an interval is None, nobody could tell it, and there is no dot.
    """
    from matplotlib.ticker import PercentFormatter

    figure = _figure(9, 1.6 + 0.5 * len(lines))
    axes = figure.add_subplot()
    sides = (
        ("Sensitivity", "#0072B2", "o", -0.16, [line.sensitivity for line in lines]),
        ("Specificity", "#D55E00", "s", 0.16, [line.specificity for line in lines]),
    )
    for name, colour, marker, apart, intervals in sides:
        known = [(row + apart, one) for row, one in enumerate(intervals) if one]
        axes.errorbar(
            [one.value for _, one in known],
            [row for row, _ in known],
            xerr=([one.value - one.low for _, one in known], [one.high - one.value for _, one in known]),
            fmt=marker,
            color=colour,
            capsize=3,
            label=name,
        )
        for row, one in known:
            place = axes.get_yaxis_transform()  # beside the axes, at the height of the dot
            axes.text(1.01, row, f"n = {one.n}", transform=place, va="center", fontsize=7, color=colour)
    axes.set_yticks(range(len(lines)), [line.name for line in lines])
    _write_names_plainly(axes)
    axes.set(xlim=(-0.02, 1.02), ylim=(len(lines) - 0.5, -0.5), xlabel="Share that is called right")
    axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.grid(alpha=0.3)
    figure.legend(loc="outside upper right", ncols=2, frameon=False)
    return figure


def encode_figure(figure: Figure, kind: str) -> bytes:
    """A figure as the bytes of a file of one of the `KINDS`."""
    file = io.BytesIO()
    figure.savefig(file, format=kind, dpi=200)
    return file.getvalue()


def _plot_reliability(axes: Axes, bins: Sequence[ReliabilityBin], marker: str, colour: str, label: str) -> None:
    """The points of a diagram of calibration with their intervals, and the diagonal that they should lie on."""
    accuracy = [one.accuracy for one in bins]
    error = ([one.value - one.low for one in accuracy], [one.high - one.value for one in accuracy])
    heights, places = [one.value for one in accuracy], [one.confidence for one in bins]
    axes.plot((0, 1), (0, 1), color="gray", linestyle="--", linewidth=1, label="calibrated")
    axes.errorbar(places, heights, error, fmt=marker, color=colour, capsize=3, label=label)
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")


def draw_reliability(before: Sequence[ReliabilityBin], after: Sequence[ReliabilityBin]) -> Figure:
    """How often a classifier is right against how sure it is, before and after its temperature, with the counts.

    A calibrated classifier is right in 7 of 10 images that it gives 0.7 to, and its points lie on the diagonal; below
    it the classifier claims too much. The bars below show how many images stand behind each point.
    """
    figure = _figure(8, 5)
    axes = figure.subplots(2, 2, sharex=True, sharey="row", height_ratios=(3, 1))
    # Two of Okabe and Ito's colours, which colour-blind eyes tell apart; titles and markers tell them apart as well.
    sides = (("Before the temperature", before, "#D55E00", "o"), ("After the temperature", after, "#0072B2", "s"))
    for (title, bins, colour, marker), (diagram, counts) in zip(sides, axes.T, strict=True):
        _plot_reliability(diagram, bins, marker, colour, "measured")
        diagram.set(title=title, xlim=(0, 1.03), ylim=(-0.03, 1.03))
        bars = counts.bar([one.confidence for one in bins], [one.n for one in bins], width=0.04, color=colour)
        counts.bar_label(bars, fontsize=8)
        counts.margins(y=0.35)
        counts.set(xlabel="Probability of the most probable class")
    axes[0, 0].set_ylabel("Share that is right,\nwith its 95 % interval")
    axes[1, 0].set_ylabel("Images")
    return figure
