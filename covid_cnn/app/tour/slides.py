"""The slides of the tour: of each its message and its one picture, from what was made beforehand and is measured.

The drawn pictures and their figures are made by ``python -m docs.tour``. What is told of the shipped models stands in
their ``model.json``, and the answers about a film are those of the default model that is here.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from covid_cnn.app.shared import elements
from covid_cnn.common.statistics import Interval, percent, wilson
from covid_cnn.data.samples import SAMPLES, Sample
from covid_cnn.images import ops
from covid_cnn.models import bundle
from covid_cnn.models.info import ModelInfo
from covid_cnn.reports import card, wording
from covid_cnn.reports.html import embed

PICTURES = Path(__file__).with_name("slides")
FIGURES = PICTURES / "figures.json"
STYLES = Path(__file__).with_name("styles.json")  # which ``python -m benchmarks.styles`` writes
PERFECT = "efficientnet_lite0"  # of the shipped models, the one with the perfect score
OLDER = ("notebook_cnn", PERFECT)  # those that know the notebook's images alone
CHILD, ADULT, GUESSED = "healthy_child", "covid_severe", "healthy_adult"  # real films
LETTER = (0.02, 0.02, 0.12)  # left, top and size of the R on the guessed film
DRAWN = "Drawn by the program; they show no patient."
MORAL = "A perfect score at home says nothing about the next hospital."
TAKE_AWAYS = (
    "Ask where the images come from: what tells the hospitals apart tells the classes apart.",
    "Ask for another hospital, with the number of people and the interval.",
    "Change what should not matter: a letter in the corner must not change the answer.",
)
Slide = dict[str, Any]  # as ``deck.js`` takes it


def make_slides(models: Mapping[str, ModelInfo], own: Sequence[Slide] = ()) -> list[Slide]:
    """All slides in order; those about a shipped model only where that is here, and ``own`` before the last."""
    slides = [*_scores(models), *_trick(), *_hospitals(models), *_letter(), *_styles()]
    if default := models.get(bundle.DEFAULT_MODEL):
        slides += [_default(default, default.sha256), _guess(default.sha256)]
    return [*slides, *own, {"title": "What to take home", "message": MORAL, "points": TAKE_AWAYS}]


def _scores(models: Mapping[str, ModelInfo]) -> Iterator[Slide]:
    perfect = models.get(PERFECT)
    if perfect and perfect.metrics.test:
        right = perfect.metrics.test.accuracy
        yield {
            "title": "A perfect score",
            "message": f"A network was tested on {right.n} X-rays that it never saw. Would you trust it?",
            "number": f"{percent(right.value)} right",
            "note": f"{PERFECT}: {right}.",
        }
    films = [SAMPLES[key] for key in (CHILD, ADULT)]
    yield {
        "title": "What it learned from",
        "message": "The healthy are children of one hospital. Most of the ill are adults of others. What did it learn?",
        "pictures": [describe_picture(film.read().pixels, film.title) for film in films],
        "note": " ".join(f"{film.title}: {_credit(film)}." for film in films),
    }


def _trick() -> Iterator[Slide]:
    figures = _figures()
    yield {
        "title": "The same, drawn",
        "message": f"{figures['learned']} X-rays to learn from. Can you tell the rows apart without any medicine?",
        "pictures": [_picture("healthy_row", "Healthy"), _picture("ill_row", "Ill")],
        "note": DRAWN,
        "stacked": True,
    }
    right = wilson(figures["home"]["right"], figures["home"]["n"])
    yield {
        "title": "16 x 16 pixels are enough",
        "message": f"A classifier that sees no lung at all answers {_of(right)} right.",
        "pictures": [_picture("sharp", "The X-ray"), _picture("blurred", "All that it sees")],
        "note": f"{right}. {DRAWN}",
    }
    yield {
        "title": "The average shows the trick",
        "message": "Lay all images of a class over each other: anatomy blurs, and what is always there stays sharp.",
        "pictures": [
            _picture("healthy_mean", "Healthy"),
            _picture("ill_mean", "Ill"),
            _picture("difference", "Difference"),
        ],
        "note": f"{figures['learned'] // 2} images of each class. {DRAWN}",
        "link": {"page": "dataset", "words": "The mean images of your dataset"},
    }
    yield {
        "title": "The audit finds it",
        "message": "What should not tell the classes apart, and does: 0.5 is chance, 1 is perfect.",
        "bars": [{"name": one["what"], **_bar(one, f"{one['value']:.2f}")} for one in figures["shortcuts"]],
        "note": f"AUROC with its 95 % interval. {DRAWN}",
        "link": {"page": "dataset", "words": "The audit of your dataset"},
    }


def _hospitals(models: Mapping[str, ModelInfo]) -> Iterator[Slide]:
    figures = _figures()
    shares = {name: wilson(figures[name]["right"], figures[name]["n"]) for name in ("home", "away")}
    yield {
        "title": "Another hospital",
        "message": "Here the letter is put on the healthy. The same classifier, the same disease:",
        "bars": [
            {"name": name, **describe_bar(shares[key])}
            for key, name in (("home", "Right at home"), ("away", "Right at the other hospital"))
        ],
        "note": f"With 95 % intervals. {DRAWN}",
    }
    bars = []
    for name in OLDER:
        if (info := models.get(name)) and info.metrics.test and info.metrics.other:
            away = next(iter(info.metrics.other.values()))
            for where, report in (("at home", info.metrics.test), ("away", away)):
                if isinstance(report.specificity, Interval):
                    bars.append({"name": f"{name}, {where}", **describe_bar(report.specificity)})
    if bars:
        yield {
            "title": "And with real X-rays",
            "message": "How many healthy people are called healthy: at home, and at another hospital.",
            "bars": bars,
            "note": "With 95 % intervals. Away: adults of the NIH Clinical Center.",
            "link": {"page": "evaluate", "words": "Your model at home and away"},
        }


def _letter() -> Iterator[Slide]:
    figures = _figures()["stamp"]
    yield {
        "title": "One letter turns the answer",
        "message": f"The same patient, and an {figures['letter']} stamped on: from {percent(figures['before'])} ill "
        f"to {percent(figures['after'])}.",
        "pictures": [_picture("before", "As it is"), _picture("after", f"With an {figures['letter']}")],
        "note": f"Some letter turns the answer of {figures['turned']} of {figures['n']} healthy. {DRAWN}",
        "link": {"page": "predict", "words": "What if? on your X-ray"},
    }


def _styles() -> Iterator[Slide]:
    """What it changes that training images wear the style of other sources; nothing where it was not measured."""
    if not STYLES.is_file():
        return
    measured = json.loads(STYLES.read_text(encoding="utf-8"))
    used = {"styles": "with", "notebook": "without"}
    yield {
        "title": "Training in other styles",
        "message": "The notebook's CNN again, its training images in the tones of other sources, and not. Did it help?",
        "bars": [
            {"name": f"{one['figure']}, {used[one['augmentation']]}"}
            | _bar(one["share"], percent(one["share"]["value"]))
            for one in measured["figures"]
        ],
        "note": f"Means of {measured['seeds']} trainings each, with 95 % intervals over patients.",
        "link": {"page": "train", "words": "Train with other styles"},
    }


@st.cache_data(max_entries=2, show_spinner=False)
def _default(_info: ModelInfo, digest: str) -> Slide:
    """What was measured of the default model, beside where it looks on a real film."""
    film, pixels = SAMPLES[ADULT], SAMPLES[ADULT].read().pixels
    prediction = elements.load_bundle(bundle.DEFAULT_MODEL).predict(pixels)
    overlay = ops.overlay(pixels, prediction.heatmap())
    measured = [section.headline for section in _info.evidence or () if section.headline] or card.headlines(_info)
    return {
        "title": "Better, and not good",
        "message": measured[-1],
        "pictures": [
            describe_picture(pixels, film.title),
            describe_picture(overlay, f"Where {bundle.DEFAULT_MODEL} looks", f"{film.title}, with heat"),
        ],
        "note": " ".join([*measured[:-1], f"Film: {_credit(film)}."]),
    }


@st.cache_data(max_entries=2, show_spinner=False)
def _guess(digest: str) -> Slide:
    """A real film: the audience says what it shows, then the model, then the model with an R in the corner."""
    film, model = SAMPLES[GUESSED], elements.load_bundle(bundle.DEFAULT_MODEL)
    pixels = film.read().pixels
    stamped = ops.stamp(pixels, *LETTER)
    answers = []
    for image, who in ((pixels, "The model says"), (stamped, "With an R in the corner it says")):
        prediction = model.predict(image)
        shares = ", ".join(f"{name} {percent(share)}" for name, share in prediction.by_class().items())
        answers.append(describe_picture(image, f"{who}: {wording.verdict(prediction)}.") | {"shares": shares})
    return {
        "title": "Your guess",
        "message": "A real film. Is this person ill? Decide before the model does.",
        "guess": {
            "choices": ["Ill", "Healthy", "Cannot tell"],
            "truth": f"The truth: {film.provenance.truth if film.provenance else ''}.",
            "answers": answers,
        },
        "note": f"{_credit(film)}.",
    }


@cache
def _figures() -> dict[str, Any]:
    return json.loads(FIGURES.read_text(encoding="utf-8"))


@cache
def _picture(name: str, words: str) -> dict[str, str]:
    source = embed((PICTURES / f"{name}.webp").read_bytes(), "webp")
    return {"source": source, "alt": f"{words}: drawn chest X-ray", "words": words}


def describe_picture(pixels: np.ndarray, words: str, alt: str = "") -> dict[str, str]:
    """A picture with its words, which are what is heard of it as well where nothing else is given."""
    return {"source": elements.data_address(pixels), "alt": alt or words, "words": words}


def describe_bar(share: Interval, words: str = "") -> dict[str, Any]:
    """A bar with its interval; beside it these words, or how many of how many it is."""
    return {"words": words or _of(share), "value": share.value, "low": share.low, "high": share.high}


def _bar(ends: dict[str, Any], words: str) -> dict[str, Any]:
    return {"words": words, **{key: ends[key] for key in ("value", "low", "high")}}


def _credit(film: Sample) -> str:
    assert film.provenance  # it is a real film
    return f"{film.provenance.credit}, {film.provenance.licence}"


def _of(share: Interval) -> str:
    return f"{round(share.value * share.n)} of {share.n}"
