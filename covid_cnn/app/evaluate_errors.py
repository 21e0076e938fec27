"""A gallery of the errors, worst first, each with its heatmap and its nearest training images."""

from pathlib import Path

import numpy as np
import streamlit as st

from covid_cnn import embedding_map, figures, imaging, looks
from covid_cnn.app import shared
from covid_cnn.app.evaluate_asking import Asked, answers, learned
from covid_cnn.app.shared import plain
from covid_cnn.assessment import Answers
from covid_cnn.bundle import Bundle
from covid_cnn.errors import CovidCnnError, ImageError
from covid_cnn.questions import Verdicts

A_PAGE = 6
NEIGHBOURS = 3


def show(asked: Asked, verdicts: Verdicts) -> None:
    """Choose which errors to see, and see them."""
    wrong = verdicts.worst()
    if not len(wrong):
        st.success(f"None of the {len(verdicts.items)} images is called wrong.", icon=":material/check:")
        return
    kinds = {"Both": wrong, "Missed": wrong[verdicts.labels[wrong]], "False alarms": wrong[~verdicts.labels[wrong]]}
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        kind = st.segmented_control(
            "Errors",
            list(kinds),
            default="Both",
            required=True,
            key="evaluate_errors",
            format_func=lambda name: f"{name} ({len(kinds[name])})",
        )
        shown = kinds[kind]
        count = max(1, -(-len(shown) // A_PAGE))
        number = st.pagination(count, key=f"evaluate_error_page_{asked.model.name}_{asked.place.name}_{kind}_{count}")
    trained = _training_answers(asked.model)
    for start in range((number - 1) * A_PAGE, min(number * A_PAGE, len(shown)), 2):
        for column, i in zip(st.columns(2, border=True), shown[start : start + 2], strict=False):
            with column:
                _error(asked.model, verdicts, int(i), trained)


def _error(model: Bundle, verdicts: Verdicts, i: int, trained: Answers | None) -> None:
    item = verdicts.items[i]
    truth, said = (verdicts.yes, verdicts.no) if verdicts.labels[i] else (verdicts.no, verdicts.yes)
    st.markdown(f"**{plain(item.label)}, called {plain(said)}**")
    st.caption(
        f"{plain(item.path.name)}, {plain(item.source)} ({plain(item.licence)}). Probability of {plain(verdicts.yes)} "
        f"{verdicts.scores[i]:.3f}, threshold {verdicts.threshold:.3f}"
        + (", flagged as unlike the training images." if verdicts.flagged[i] else ".")
    )
    try:
        xray, overlay, heat_of, embedding = _explained(model.name, model.info["sha256"], item.path, _changed(item.path))
    except CovidCnnError as error:
        st.error(plain(str(error)))
        return
    left, right = st.columns(2)
    left.image(xray, caption=f"Truth: {plain(truth)}", width="stretch")
    right.image(overlay, caption=f"Grad-CAM: what speaks for {plain(heat_of)}", width="stretch")
    if trained is not None:
        _neighbours(embedding, trained)


def _changed(path: Path) -> int:
    return path.stat().st_mtime_ns if path.is_file() else 0


@st.cache_data(max_entries=200, show_spinner=False)
def _explained(name: str, digest: str, path: Path, changed: int) -> tuple[bytes, bytes, str, np.ndarray]:
    """An image and its heatmap as PNG, the class that it is of, and the embedding; raises CovidCnnError."""
    pixels = imaging.read(path).pixels
    told = shared.load_bundle(name).predict(pixels)
    small = figures.fit_within(pixels, 480)
    overlay = figures.overlay(small, told.heatmaps[..., told.classes.index(told.label)])
    return imaging.to_png(small), imaging.to_png(overlay), told.label, told.embedding


def _training_answers(model: Bundle) -> Answers | None:
    """The answers to the images that a model learned from, where they are here; where it was not asked, a way to it."""
    own = learned(model)
    if own is None:
        name = plain(model.info["training_data"]["name"])
        st.caption(f"With {name}, which this model learned from, under data/, the nearest training images stood here.")
        return None
    with st.expander("Nearest training images", icon=":material/image_search:", expanded=True):
        told = answers(model, own, embeddings=True)
        if told is not None:
            st.caption(
                f"Below each error: the {NEIGHBOURS} training images that the network takes for most like it, by the "
                "angle between their embeddings."
            )
    return told


def _neighbours(embedding: np.ndarray, trained: Answers) -> None:
    alike = embedding_map.cosine(trained.embeddings, embedding)
    nearest = np.argsort(-alike, kind="stable")[:NEIGHBOURS]
    st.caption("Nearest training images")
    pictures = looks.thumbnails([trained.items[i].path for i in nearest])
    for column, i, picture in zip(st.columns(NEIGHBOURS), nearest, pictures, strict=False):
        if not isinstance(picture, ImageError):
            neighbour = trained.items[i]
            told = f"{plain(neighbour.label)}, {alike[i]:.2f}; {plain(neighbour.licence)}"
            column.image(picture, caption=told, width="stretch")
