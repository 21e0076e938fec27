"""What a model answers to the images that are browsed: where it errs, how sure it is, what it finds alike."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import streamlit as st

from covid_cnn.app.evaluate import asking
from covid_cnn.app.evaluate.asking import EvaluationSet
from covid_cnn.app.shared import elements
from covid_cnn.app.shared.elements import escape_markdown
from covid_cnn.common.errors import CovidCnnError
from covid_cnn.data import overview
from covid_cnn.data.dataset import Dataset, Item
from covid_cnn.evaluation import predictions
from covid_cnn.models import bundle

NEIGHBOURS = 6
NO_MODEL = "None"


class AnswerOf(NamedTuple):
    """A model's answer to an image, the class and its probability; `right` is None where it knows no such class."""

    label: str
    probability: float
    right: bool | None


# Which answers to show; none for an image that could not be read.
KINDS: dict[str, Callable[[AnswerOf | None], bool]] = {
    "Any": lambda told: True,
    "Wrong": lambda told: told is not None and told.right is False,
    "Right": lambda told: told is not None and told.right is True,
}


def choose_answers(dataset: Dataset, width: int) -> tuple[str, str]:
    """Ask for a model and a kind of its answers; both are the first of their lists where there is no model."""
    models = list(bundle.discover_bundles()[0])
    if not models:
        return NO_MODEL, "Any"
    name = st.selectbox("Answers of model", [NO_MODEL, *models], key=f"dataset_model_{dataset.name}", width=width)
    if name == NO_MODEL:
        return name, "Any"
    kind = st.selectbox("Its answer", list(KINDS), key=f"dataset_answer_{dataset.name}", width=width)
    return name, kind


def answers_of(dataset: Dataset, name: str) -> dict[Path, AnswerOf] | None:
    """A model's answer to each image that can be read; None until they are there, and the way to them is drawn."""
    try:
        model = elements.load_bundle(name)
        answers = asking.cached_predictions(model, _whole(dataset))
    except CovidCnnError as error:
        st.error(escape_markdown(str(error)), icon=":material/error:")
        return None
    if answers is None:
        return None
    rows = zip(answers.items, answers.labels, answers.predicted, answers.probabilities, strict=True)
    return {
        item.path: AnswerOf(
            model.classes[said], float(shares[said]), None if true == predictions.UNKNOWN_CLASS else bool(true == said)
        )
        for item, true, said, shares in rows
    }


def alike_images(dataset: Dataset, item: Item) -> Sequence[Item] | None:
    """The images that a model finds most like one; None until it has answered, and the way to that is drawn."""
    models = list(bundle.discover_bundles()[0])
    if not models:
        return ()
    name = st.selectbox("The images most like it, as a model sees them", models, key="dataset_alike_model", width=320)
    try:
        answers = asking.cached_predictions(elements.load_bundle(name), _whole(dataset), embeddings=True)
    except CovidCnnError as error:
        st.error(escape_markdown(str(error)), icon=":material/error:")
        return ()
    if answers is None:
        return None
    paths = [other.path for other in answers.items]
    if item.path not in paths:  # it cannot be read
        return ()
    return [
        answers.items[n] for n in overview.nearest_neighbours(answers.embeddings, paths.index(item.path), NEIGHBOURS)
    ]


def _whole(dataset: Dataset) -> EvaluationSet:
    return EvaluationSet(dataset.name, dataset, "all", dataset.items)
