"""The words for a prediction and for every metric, the same on pages, in reports and on the command line."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from covid_cnn.common.statistics import percent, wilson
from covid_cnn.data.classes import matching_class
from covid_cnn.models.info import Report

if TYPE_CHECKING:
    from covid_cnn.models.bundle import Prediction


# Those of an evaluation, in the order of its table.
FIGURES = (
    *("sensitivity", "specificity", "auroc", "accuracy", "balanced_accuracy", "predictive_values", "likelihood_ratio"),
    *("f1", "average_precision", "mcc", "brier", "ece"),
)


@dataclass(frozen=True)
class Term:
    """A term of the field, as ``terms.toml`` has it."""

    name: str  # what it is called
    plain: str  # what it says, in one or two sentences that need no statistics
    definition: str  # how it is defined, Markdown with formulas between dollar signs
    formula: str  # in LaTeX
    paper: str  # where it comes from: authors, year, title, place


@functools.cache
def read_terms() -> dict[str, Term]:
    """All terms by their keys, in the order of ``terms.toml``."""
    tables = tomllib.loads(Path(__file__).with_name("terms.toml").read_text(encoding="utf-8"))
    return {
        key: Term(**{name: " ".join(text.split()) for name, text in table.items()}) for key, table in tables.items()
    }


NOTICE = "Research and teaching only. Not for diagnosis."
UNKNOWN_KIND = "No chest X-ray: no answer"
UNKNOWN_KIND_WHY = "Unlike the films that it learned from: no chest X-ray, or one shown in another way."
LEARNED_FROM = "This image was in its training; its answer proves nothing."


def open_classes(prediction: Prediction) -> tuple[str, ...]:
    """The classes between which an answer does not decide, the most probable first; none of an unknown kind of image.

    These are the prediction set and the label, which where two rules disagree is not in it.
    """
    if not prediction.in_distribution:
        return ()
    named = {*(prediction.prediction_set or ()), prediction.label}
    probability = prediction.by_class()
    return tuple(sorted(named, key=lambda name: -probability[name]))


def verdict(prediction: Prediction) -> str:
    """The answer in one line, as the prediction set has it: "Not sure: normal or other pneumonia (45 %, 39 %)"."""
    classes = open_classes(prediction)
    if not classes:
        return UNKNOWN_KIND
    probability = prediction.by_class()
    shares = ", ".join(f"{percent(probability[name])}" for name in classes)
    *others, last = classes
    return f"Not sure: {', '.join(others)} or {last} ({shares})" if others else f"{last} ({shares})"


def decision_sentence(prediction: Prediction) -> str:
    """What the network answered, and by which rule."""
    if not prediction.in_distribution:
        return "The image is unlike those that the network was trained on, so that it is given no label."
    probability = prediction.by_class()
    if prediction.positive is None or prediction.threshold is None:
        return (
            f"{prediction.label} is the most probable of {len(prediction.classes)} classes, "
            f"with a probability of {probability[prediction.label]:.3f}."
        )
    positive = prediction.label == prediction.positive
    sentence = (
        f"The probability of {prediction.positive}, {probability[prediction.positive]:.3f}, "
        f"{'reaches' if positive else 'stays below'} the decision threshold of {prediction.threshold:.3f}"
    )
    most_probable = max(probability, key=lambda name: probability[name])
    if positive and most_probable != prediction.positive:
        sentence += f", though {most_probable} is more probable, with {probability[most_probable]:.3f}"
    elif not positive and len(probability) > 2:
        sentence += (
            f"; of the other classes, {prediction.label} is the most probable, with {probability[prediction.label]:.3f}"
        )
    return f"{sentence}."


def possible_classes(prediction: Prediction) -> str:
    """The prediction set in words, to stand after "could be"; empty where the model has no prediction sets."""
    if not prediction.prediction_set:
        return ""
    *others, last = prediction.prediction_set
    return f"{', '.join(others)} or {last}" if others else f"{last} alone"


def coverage_sentence(prediction: Prediction) -> str:
    """What a prediction set promises, and whether it agrees with the answer; empty where the model has none."""
    if prediction.prediction_set is None or prediction.set_level is None:
        return ""
    if not prediction.in_distribution:
        return "Of such an image the model knows nothing."
    sentence = (
        f"Of 100 images like those the model was tuned on, at least {100 * prediction.set_level:g} have their true "
        "class in such a set; at another hospital it may be fewer."
    )
    if prediction.label not in prediction.prediction_set:
        sentence += f" The answer, {prediction.label}, is not among them: the two rules disagree, so rely on neither."
    return sentence


def likeness_sentence(prediction: Prediction) -> str:
    """Whether the image resembles those that the network was trained on."""
    if prediction.resembles_training is None:
        return "Whether the image resembles those that the network was trained on is unknown: it came without them."
    numbers = f"distance {prediction.distance:.1f}, limit {prediction.distance_limit:.1f}"
    if prediction.in_distribution:
        return f"The image resembles the images that the network was trained on ({numbers})."
    return f"The image is unlike those that the network was trained on ({numbers}): its answer means little here."


_LINK = re.compile(r"!?\[([^\[\]]*)\](?:\([^()]*\)|\[[^\[\]]*\])")
_ADDRESS = re.compile(r"(?<!`)\b(?:[a-z][a-z0-9+.-]*://|www\.)[^\s`<>]+", re.IGNORECASE)


def strip_links(markdown: str) -> str:
    """Markdown in which no link, picture or HTML is left: of a link its words, of an address the address as code.

    For texts of strangers: a picture in Markdown makes the reader's browser call whom it names.
    """
    while (stripped := _LINK.sub(r"\1", markdown)) != markdown:  # a picture may be the words of a link
        markdown = stripped
    markdown = re.sub(r"(?<!\\)([\[\]<])", r"\\\1", markdown)
    return _ADDRESS.sub(lambda address: f"`{address[0]}`", markdown)


def describe_errors(missed: int, ill: int, alarms: int, healthy: int, who: str = "ill") -> str:
    """How many were missed and how many alarmed in vain: ``missed 9 of 25 ill, no false alarm among 25 healthy``.

    ``who`` is what stands for ill, as a class that a model looks for.
    """
    parts = []
    if ill:
        parts.append(f"missed {missed or 'none'} of {ill} {who}")
    if healthy:
        named = "healthy" if who == "ill" else "others"
        alarm = f"{alarms} false alarm{'s' if alarms != 1 else ''}" if alarms else "no false alarm"
        parts.append(f"{alarm} among {healthy} {named}")
    return ", ".join(parts)


def describe_report(report: Report) -> tuple[str, str]:
    """A report as a sentence in people, and one with its intervals."""
    confusion, classes = np.asarray(report.confusion, int), report.classes
    healthy = matching_class("normal", classes)
    right, n = int(np.trace(confusion)), int(confusion.sum())
    if healthy is None:
        return f"Right for {right} of {n} images.", _intervals([("right", right, n)])
    h = classes.index(healthy)
    well, ill = int(confusion[h].sum()), n - int(confusion[h].sum())
    missed, alarms = int(confusion[:, h].sum() - confusion[h, h]), well - int(confusion[h, h])
    sentence = describe_errors(missed, ill, alarms, well)
    shares = [("of the ill called ill", ill - missed, ill), ("of the healthy called healthy", well - alarms, well)]
    if len(classes) > 2:
        sentence += f"; the right class for {right} of {n}"
        shares.append(("called the right class", right, n))
    return f"{sentence[0].upper()}{sentence[1:]}.", _intervals(shares)


def _intervals(shares: Sequence[tuple[str, int, int]]) -> str:
    """Shares with Wilson's intervals, in percent."""
    intervals = [(what, wilson(k, n)) for what, k, n in shares if n]
    parts = [
        f"{percent(i.value)} {what} (95 % interval {percent(i.low)} to {percent(i.high)}, n = {i.n})"
        for what, i in intervals
    ]
    return "; ".join(parts) + "." if parts else ""
