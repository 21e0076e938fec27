"""A gallery of the errors, worst first, each with its heatmap and its nearest training images."""

from pathlib import Path

import numpy as np
import streamlit as st

from covid_cnn.app.evaluate.asking import Evaluated, cached_predictions, fingerprint_of
from covid_cnn.app.shared import elements
from covid_cnn.app.shared.elements import escape_markdown
from covid_cnn.common.errors import ImageError
from covid_cnn.data import index, overview
from covid_cnn.evaluation.binary import BinaryPredictions
from covid_cnn.evaluation.predictions import DatasetPredictions
from covid_cnn.images import ops, reader
from covid_cnn.models.bundle import Bundle

A_PAGE = 6
NEIGHBOURS = 3


def draw_errors(evaluated: Evaluated, verdicts: BinaryPredictions) -> None:
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
        number = st.pagination(
            count, key=f"evaluate_error_page_{evaluated.model.name}_{evaluated.place.name}_{kind}_{count}"
        )
    trained = _training_answers(evaluated.model)
    for start in range((number - 1) * A_PAGE, min(number * A_PAGE, len(shown)), 2):
        for column, i in zip(st.columns(2, border=True), shown[start : start + 2], strict=False):
            with column:
                _error(evaluated.model, verdicts, int(i), trained)


def _error(model: Bundle, verdicts: BinaryPredictions, i: int, trained: DatasetPredictions | None) -> None:
    item = verdicts.items[i]
    truth, said = (verdicts.yes, verdicts.no) if verdicts.labels[i] else (verdicts.no, verdicts.yes)
    st.markdown(f"**{escape_markdown(item.label)}, called {escape_markdown(said)}**")
    st.caption(
        f"{escape_markdown(item.path.name)}, {escape_markdown(item.source)} ({escape_markdown(item.licence)}). "
        f"Probability of {escape_markdown(verdicts.yes)} "
        f"{verdicts.scores[i]:.3f}, threshold {verdicts.threshold:.3f}"
        + (", flagged as unlike the training images." if verdicts.flagged[i] else ".")
    )
    with elements.draw_errors():
        changed = item.path.stat().st_mtime_ns if item.path.is_file() else 0
        xray, overlay, by, heat_of, embedding = _explained(model.name, model.info.sha256, item.path, changed)
        left, right = st.columns(2)
        elements.draw_captioned(left, xray, f"Truth: {truth}")
        elements.draw_captioned(right, overlay, f"{by}: what speaks for {heat_of}")
        if trained is not None:
            _neighbours(embedding, trained)


@st.cache_data(max_entries=200, show_spinner=False)
def _explained(name: str, digest: str, path: Path, changed: int) -> tuple[bytes, bytes, str, str, np.ndarray]:
    """An image and its heatmap as PNG, what that is and of which class, and the embedding; raises CovidCnnError."""
    pixels = reader.read(path).pixels
    prediction = elements.load_bundle(name).predict(pixels)
    small = ops.fit_within(pixels, 480)
    overlay = ops.overlay(small, prediction.heatmap())
    by = prediction.explained_by.partition(" ")[0]
    return ops.to_png(small), ops.to_png(overlay), by, prediction.label, prediction.embedding


def _training_answers(model: Bundle) -> DatasetPredictions | None:
    """The answers to the images that a model learned from, where they are here; where it was not asked, a way to it."""
    own = fingerprint_of(model)
    if own is None:
        data = model.info.training_data
        name = escape_markdown(data.name) if data.images.train else "the dataset"
        st.caption(f"With {name}, which this model learned from, under data/, the nearest training images stood here.")
        return None
    with st.expander("Nearest training images", icon=":material/image_search:", expanded=True):
        answers = cached_predictions(model, own, embeddings=True)
        if answers is not None:
            most = "look most like it in 16 x 16 pixels" if model.info.plain else "the network takes for most like it"
            what = "these" if model.info.plain else "their embeddings"
            st.caption(f"Below each error: the {NEIGHBOURS} training images that {most}, by the angle between {what}.")
    return answers


def _neighbours(embedding: np.ndarray, trained: DatasetPredictions) -> None:
    alike = overview.cosine_similarity(trained.embeddings, embedding)
    nearest = np.argsort(-alike, kind="stable")[:NEIGHBOURS]
    st.caption("Nearest training images")
    pictures = index.load_thumbnails([trained.items[i].path for i in nearest])
    for column, i, picture in zip(st.columns(NEIGHBOURS), nearest, pictures, strict=False):
        if not isinstance(picture, ImageError):
            neighbour = trained.items[i]
            elements.draw_captioned(column, picture, f"{neighbour.label}, {alike[i]:.2f}; {neighbour.licence}")
