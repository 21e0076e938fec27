"""The map of a dataset: every image where a model sees it, coloured by class, source or split."""

import numpy as np
import pandas as pd
import streamlit as st

from covid_cnn.app.dataset import images
from covid_cnn.app.shared import background
from covid_cnn.app.shared.elements import escape_markdown
from covid_cnn.common.jobs import Progress
from covid_cnn.common.storage import Cache
from covid_cnn.data import overview
from covid_cnn.data.dataset import Dataset
from covid_cnn.evaluation import predictions
from covid_cnn.evaluation.predictions import DatasetPredictions
from covid_cnn.models import bundle

NEIGHBOURS = 6
# Okabe and Ito's, made lighter or darker until they are seen on white and on black.
COLOURS = ["#2e8fd6", "#d98e04", "#14a078", "#c86f9f", "#d55e00", "#8f7fd6", "#8a8f94", "#9a9a1f"]
# Drawn as pixels: as SVG the frame would be a mark without a text, and thousands of points slow.
CANVAS = {"embedOptions": {"renderer": "canvas"}}
SOURCES = len(COLOURS) - 1  # the others are one


@st.fragment
def draw_map(dataset: Dataset) -> None:
    """Choose a model, see where it sees each image, and click a point to see the X-ray and those it finds like it."""
    st.write(
        "Where a model sees each image: what it finds alike lies close. Where the colours of the classes and those of "
        "the sources part the map in the same way, it may have learned the source."
    )
    models, _ = bundle.discover_bundles()
    if not models:
        st.info("There is no model yet: train one first.", icon=":material/model_training:")
        return
    with st.container(horizontal=True):
        name = st.selectbox("Model", list(models), key="dataset_map_model", width=260)
        colour = st.selectbox("Colour", ("Class", "Source", "Split"), key="dataset_map_colour", width=160)
        method = st.selectbox("Map", overview.METHODS, key="dataset_map_method", width=160)
    key = "map", dataset.root, tuple(item.path for item in dataset.items), models[name].sha256, method
    projected = background.await_result(key, lambda tell: _projected(dataset, name, method, tell), "Draw the map")
    if projected is None:
        return
    answers, points = projected
    st.caption("Click a point to see its image. Drag over points to have the gallery show these images alone.")
    clicked, framed = _chart(dataset, answers, points, colour)
    paths = frozenset(answers.items[n].path for n in framed)
    if images.choose_on_map(dataset, paths):
        st.rerun()  # for the gallery, which is another part of the page
    if paths:
        st.markdown(f"**{len(paths)} images are framed:** the gallery under Images shows them.")
    if clicked is not None:
        near = [clicked, *overview.nearest_neighbours(answers.embeddings, clicked, NEIGHBOURS)]
        items = [answers.items[n] for n in near]
        st.markdown(
            f"**{escape_markdown(items[0].path.name)}**, and the {len(near) - 1} that the model finds most like it"
        )
        images.draw_cards(items, [f"dataset_map_{n}" for n in range(len(near))])
    for note in answers.notes:
        st.caption(escape_markdown(note))


def _projected(dataset: Dataset, name: str, method: str, tell: Progress) -> tuple[DatasetPredictions, np.ndarray]:
    model = bundle.load_bundle(name)
    answers = predictions.predict_dataset(
        model, dataset.items, Cache(), lambda part, line: tell(0.9 * part, line), True
    )
    tell(0.9, "Placing the images")
    return answers, overview.project(answers.embeddings, method)


def _chart(
    dataset: Dataset, answers: DatasetPredictions, points: np.ndarray, colour: str
) -> tuple[int | None, list[int]]:
    """The map, the index of the image that was clicked, and the indices of those in the frame that was dragged."""
    import altair as alt  # here, as it takes a while, and every page would wait for it

    frame = pd.DataFrame(points, columns=["x", "y"])
    frame["Name"] = [item.path.name for item in answers.items]
    frame["Class"] = [item.label for item in answers.items]
    sources = pd.Series([item.source for item in answers.items])
    frame["Source"] = sources.where(sources.isin(sources.value_counts().index[:SOURCES]), "others")
    frame["Split"] = [images.SPLIT_NAMES[item.split] for item in answers.items]
    frame["Image"] = range(len(frame))
    clicked = alt.selection_point(name="clicked", fields=["Image"])
    framed = alt.selection_interval(name="framed", encodings=["x", "y"])
    chart = (
        alt.Chart(frame, usermeta=CANVAS)
        .mark_circle(size=60)
        .encode(
            x=alt.X("x:Q", axis=None, scale=alt.Scale(zero=False)),
            y=alt.Y("y:Q", axis=None, scale=alt.Scale(zero=False)),
            color=alt.Color(
                f"{colour}:N", scale=alt.Scale(range=COLOURS), legend=alt.Legend(orient="top", title=None, columns=2)
            ),
            size=alt.condition(clicked, alt.value(60), alt.value(25)),
            opacity=alt.condition(framed, alt.value(0.8), alt.value(0.2)),
            tooltip=["Name", "Class", "Source", "Split"],
        )
        .properties(height=460)
        .add_params(clicked, framed)
    )
    event = st.altair_chart(
        chart,
        on_select="rerun",
        selection_mode=["clicked", "framed"],
        key=f"dataset_map_{dataset.name}",
        alt="Each image where the model sees it",
    )
    point, ends = event["selection"].get("clicked") or [], event["selection"].get("framed") or {}
    number = int(point[0]["Image"]) if point else len(frame)
    inside = pd.Series(bool(ends), frame.index)
    for axis, (low, high) in ends.items():
        inside &= frame[axis].between(low, high)
    return (number if number < len(frame) else None), frame.index[inside].tolist()
