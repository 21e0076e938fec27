"""The map of a dataset: every image where a model sees it, coloured by class, source or split."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from covid_cnn.app.dataset import images
from covid_cnn.app.shared import background, elements, library
from covid_cnn.app.shared.elements import COLOURS, escape_markdown
from covid_cnn.common.jobs import Progress
from covid_cnn.common.storage import Cache
from covid_cnn.data import overview
from covid_cnn.data.dataset import Dataset, Item
from covid_cnn.evaluation import predictions
from covid_cnn.evaluation.predictions import DatasetPredictions
from covid_cnn.models import bundle

NEIGHBOURS = 6
OTHERS = "others"  # all values of a colouring but those with the most images, as there are no more colours
_component = elements.register_component(Path(__file__).with_name("map"))


def explain_map(plain: bool) -> str:
    """What lies close on the map, and what to do there; ``plain`` is a model that shows none of its features."""
    alike = (
        "This model shows nothing of what it finds alike: what lies close looks alike in 16 x 16 pixels."
        if plain
        else "What the model finds alike lies close. Where the colours of the classes and those of the sources part "
        "the map in the same way, it may have learned the source."
    )
    return (
        f"{alike} Click a point to see its image; draw a line around points to have the gallery show these images "
        "alone, with Shift besides those before."
    )


@st.fragment
def draw_map(dataset: Dataset) -> None:
    """Choose a model, see where it sees each image, and click a point to see the X-ray and those it finds like it."""
    models, _ = bundle.discover_bundles()
    if not models:
        library.offer_training()
        return
    with st.container(horizontal=True):
        name = st.selectbox("Model", list(models), key="dataset_map_model", width=260)
        colour = st.selectbox("Colour", ("Class", "Source", "Split"), key="dataset_map_colour", width=160)
        method = st.selectbox("Map", overview.METHODS, key="dataset_map_method", width=160)
    key = "map", dataset.root, tuple(item.path for item in dataset.items), models[name].sha256, method
    plain = models[name].plain is not None
    projected = background.await_result(key, lambda tell: _projected(dataset, name, method, tell), "Draw the map")
    if projected is None:
        st.caption(explain_map(plain))
        return
    answers, points = projected
    framed = images.framed_on_map(dataset)
    chosen = _component(
        key=f"dataset_map_{dataset.name}",
        data=describe_map(answers.items, points, colour)
        | {"selected": [n for n, item in enumerate(answers.items) if item.path in framed]},
        on_opened_change=lambda: None,
        on_selected_change=lambda: None,
    )
    if chosen.selected is not None:
        paths = frozenset(answers.items[n].path for n in chosen.selected if n < len(answers.items))
        if paths != framed:
            st.session_state[images.FRAMED] = dataset.root, paths
            st.rerun()  # for the gallery, which is another part of the page
    if framed:
        st.markdown(f"**{len(framed)} images are framed:** the gallery under Images shows them.")
    if chosen.opened is not None and chosen.opened < len(answers.items):
        near = [chosen.opened, *overview.nearest_neighbours(answers.embeddings, chosen.opened, NEIGHBOURS)]
        items = [answers.items[n] for n in near]
        find = "look" if plain else "the model finds"
        st.markdown(f"**{escape_markdown(items[0].path.name)}**, and the {len(near) - 1} that {find} most like it")
        images.draw_cards(items, [f"dataset_map_{n}" for n in range(len(near))])
    st.caption(explain_map(plain))
    for note in answers.notes:
        st.caption(escape_markdown(note))


def _projected(dataset: Dataset, name: str, method: str, tell: Progress) -> tuple[DatasetPredictions, np.ndarray]:
    model = bundle.load_bundle(name)
    answers = predictions.predict_dataset(
        model, dataset.items, Cache(), lambda part, line: tell(0.9 * part, line), True
    )
    tell(0.9, "Placing the images")
    return answers, overview.project(answers.embeddings, method)


def describe_map(items: Sequence[Item], points: np.ndarray, colour: str) -> dict[str, Any]:
    """What ``map.js`` draws of images at their points, float ``[N, 2]``, coloured by "Class", "Source" or "Split"."""
    facts = [{"Class": one.label, "Source": one.source, "Split": images.SPLIT_NAMES[one.split]} for one in items]
    values = [fact[colour] for fact in facts]
    groups = [value for value, _ in Counter(values).most_common()]
    if len(groups) > len(COLOURS):
        groups = [*groups[: len(COLOURS) - 1], OTHERS]
    number = {value: n for n, value in enumerate(groups)}
    low, span = points.min(axis=0), np.maximum(np.ptp(points, axis=0), 1e-9)
    return {
        "points": [
            [round(float(x), 4), round(float(y), 4), number.get(value, len(groups) - 1)]
            for (x, y), value in zip((points - low) / span, values, strict=True)
        ],
        "names": [", ".join([item.path.name, *fact.values()]) for item, fact in zip(items, facts, strict=True)],
        "groups": [{"name": name, "colour": shade} for name, shade in zip(groups, COLOURS, strict=False)],
    }
