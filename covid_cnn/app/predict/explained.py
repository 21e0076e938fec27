"""One image with its answer: warnings, frame and window, the viewer, the numbers, other models, the report."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Literal

import streamlit as st

from covid_cnn import __version__
from covid_cnn.app.predict import answer, compare, memory, viewer
from covid_cnn.app.shared import elements, models
from covid_cnn.images.radiograph import Radiograph
from covid_cnn.models.bundle import Bundle, Prediction
from covid_cnn.reports import pdf
from covid_cnn.reports.prediction import summarize_prediction

WINDOW_HELP = "How the file's values become greys for the model. The viewer starts with it, and looks at all values."


def draw_explained(
    key: str,
    radiograph: Radiograph,
    prediction: Prediction,
    model: Bundle,
    offer: Callable[[], None],
    binary: bool | None = None,
) -> viewer.Shown:
    """The image and all that is said of it; of one that the model does not know, no label.

    Parameters
    ----------
    key : of the image, its frame and its window.
    offer : draws the choice of frame and window.
    binary : how the answer is read, where that was chosen above; None where it, and what speaks against the model,
        shall stand here.

    Returns
    -------
    What is shown of this model.
    """
    if not prediction.in_distribution:
        warnings = "".join(f"\n- {elements.escape_markdown(warning)}" for warning in radiograph.warnings)
        st.error(f"**Not an image that the model knows.** {prediction.warning}\n{warnings}", icon=":material/help:")
    st.markdown(f"##### {elements.escape_markdown(radiograph.name)}")
    if radiograph.synthetic:
        st.markdown(elements.SYNTHETIC)
    if prediction.in_distribution:
        for warning in radiograph.warnings:
            st.warning(elements.escape_markdown(warning), icon=":material/warning:")
    verdict = st.container()
    if binary is None:
        models.draw_trust(model)
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        offer()
        if binary is None:
            binary = answer.choose_reading(model)
    with verdict:
        answer.draw_verdict(prediction, binary)
    others = compare.choose_other_model(key, radiograph, model)
    left, right = st.columns([3, 2])
    with left:
        shown = _viewer(key, radiograph, {model.name: prediction} | others)
        st.caption(f"{elements.escape_markdown(radiograph.origin)}. {viewer.map_facts(radiograph)}")
        elements.term_help("grad_cam")
    with right:
        answer.draw_numbers(prediction, binary)
        answer.draw_seen(prediction)
        _downloads(key, radiograph, prediction, model, shown.name)
    if others:
        compare.draw_other(radiograph, {model.name: prediction} | others, shown)
    return shown


def choose_frame_and_window(key: str, frames: int, windows: tuple[str, ...]) -> None:
    """Offer what a file has several of; `chosen_frame_and_window` tells what was chosen, from the next run on."""
    if frames > 1:
        st.number_input(f"Frame, of {frames}", 1, frames, key=_frame(key), width=160)
    if len(windows) > 1:
        st.selectbox("Window that the model sees", windows, key=_window(key), help=WINDOW_HELP, width=300)


def chosen_frame_and_window(key: str, windows: tuple[str, ...]) -> tuple[int, int | None]:
    """What `reader.read` takes: the frame from 0, and the window, if it is not the first."""
    window = st.session_state.get(_window(key))
    return st.session_state.get(_frame(key), 1) - 1, windows.index(window) if window in windows[1:] else None


def _frame(key: str) -> str:
    return f"predict_frame {key}"


def _window(key: str) -> str:
    return f"predict_window {key}"


def _viewer(key: str, radiograph: Radiograph, answers: dict[str, Prediction]) -> viewer.Shown:
    """The viewer with the heatmaps of all classes of all models; what is shown of the first model."""
    maps = [
        viewer.Map(name, each, prediction.heatmaps[..., k])
        for name, prediction in answers.items()
        for k, each in enumerate(prediction.classes)
    ]
    places = [(each.model, each.name) for each in maps]
    predicted = [places.index((name, prediction.label)) for name, prediction in answers.items()]
    model, prediction = next(iter(answers.items()))
    shown = viewer.show_viewer(
        f"viewer {key}",
        memory.remember(key, "viewer", lambda: viewer.packed(radiograph)),
        maps,
        first=predicted[0],
        second=predicted[1] if len(predicted) > 1 else None,
        heat=prediction.in_distribution,
    )
    if shown.model == model and shown.name in prediction.classes:
        return shown
    return shown._replace(model=model, name=prediction.label)


def _downloads(key: str, radiograph: Radiograph, prediction: Prediction, model: Bundle, shown: str) -> None:
    """The report in three forms. Callables, so that the page need not wait for a PDF that nobody wants."""

    def page(form: Literal["pdf", "png"]) -> bytes:
        return pdf.render_report(radiograph, prediction, model.info, shown, __version__, datetime.now(UTC), form)

    def facts() -> str:
        told = summarize_prediction(radiograph, prediction, model.info, __version__, datetime.now(UTC))
        return json.dumps(told, indent=2) + "\n"

    with st.popover("Download", icon=":material/download:", width="stretch"):
        for label, data, name, kind in (
            ("Report (PDF)", partial(page, "pdf"), "report.pdf", "application/pdf"),
            ("Report (PNG)", partial(page, "png"), "report.png", "image/png"),
            ("Report (JSON)", facts, "report.json", "application/json"),
        ):
            st.download_button(label, data, name, kind, key=f"{name} {key}", on_click="ignore", width="stretch")
        st.caption("The report holds no file name and nothing of the patient. The viewer's own button saves its image.")
