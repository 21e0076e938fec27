"""The Predict page: upload X-rays or pick a sample, see what a model says and where it looked."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import altair as alt
import numpy as np
import pandas as pd
import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from covid_cnn import __version__, bundle, cards, figures, imaging, report
from covid_cnn.app import pages, shared
from covid_cnn.bundle import Bundle, Prediction
from covid_cnn.errors import CovidCnnError
from covid_cnn.imaging import Radiograph
from covid_cnn.samples import SAMPLES

T = TypeVar("T")

# Keys of the session that other pages set before they switch to this one.
MODEL, SAMPLE, PATH = "predict_model", "predict_sample", "predict_path"
MEMORY = "predict_memory"


def page() -> None:
    """The whole page."""
    st.title("Predict")
    shared.notice()
    left, right = st.columns([2, 3], gap="large")
    with left:
        model = _choose_model()
    if model is None:
        return
    with right:
        sources = _choose_images()
    if not sources:
        st.info("Upload an X-ray, or try one of the samples.", icon=":material/upload:")
        return
    view = _View.choose(model)
    results = {key: _predict(key, source.read, model) for key, source in sources.items()}
    _forget(set(sources) | {f"{key} {model.name}" for key in sources})
    if len(results) > 1:
        _table([(sources[key].name, result) for key, result in results.items()], model)
    for key, result in results.items():
        with st.container(border=True):
            if isinstance(result, CovidCnnError):
                st.error(shared.plain(str(result)), icon=":material/broken_image:")
            else:
                _explained(key, *result, model, view)


# What to look at


def _choose_model() -> Bundle | None:
    found, problems = bundle.discover()
    for problem in problems:
        st.error(shared.plain(problem))
    if not found:
        st.info("There is no model yet. Train one: it takes a minute.", icon=":material/model_training:")
        if st.button("Train a model", type="primary"):
            pages.switch(pages.TRAIN)
        return None
    if st.session_state.get(MODEL) not in found:
        st.session_state[MODEL] = next(iter(found))
    name = st.selectbox("Model", list(found), key=MODEL, help="Each was trained on other images or in another way.")
    for sentence in cards.headlines(found[name]):
        st.caption(shared.plain(sentence))
    if st.button("Model card", icon=":material/id_card:", type="tertiary"):
        _card(name)
    try:
        return shared.load_bundle(name)
    except CovidCnnError as error:
        st.error(shared.plain(str(error)))
        return None


@st.dialog("Model card", width="large")
def _card(name: str) -> None:
    st.markdown(cards.render(bundle.read_info(bundle.folder_of(name))))


class _Source(NamedTuple):
    """A chosen image that may or may not be readable."""

    name: str
    read: Callable[[], Radiograph]


def _choose_images() -> dict[str, _Source]:
    """The chosen images, each by a key that is its own."""
    # Anything may be uploaded: the kind of a file is told from its content, and many DICOM files have no suffix.
    uploads = st.file_uploader(
        "X-rays (PNG, JPEG, WebP, BMP, TIFF or DICOM)",
        accept_multiple_files=True,
        key="predict_uploads",
        help="Images stay in this computer's memory: they are not stored, and not sent anywhere else.",
    )
    st.pills(
        "Or try a sample",
        list(SAMPLES),
        format_func=lambda key: SAMPLES[key].title,
        key=SAMPLE,
        help="\n\n".join(f"**{sample.title}.** {sample.story}" for sample in SAMPLES.values()),
    )
    chosen = {upload.file_id: _Source(upload.name, partial(_read_upload, upload)) for upload in uploads}
    if not uploads and (sample := st.session_state.get(SAMPLE)):
        chosen[f"sample {sample}"] = _Source(SAMPLES[sample].title, SAMPLES[sample].read)
        st.caption(SAMPLES[sample].story)
    if not chosen and (path := st.session_state.get(PATH)):
        chosen[f"path {path}"] = _Source(Path(path).name, partial(imaging.read, Path(path)))
        if st.button("Clear the image from the dataset", icon=":material/close:"):
            del st.session_state[PATH]
            st.rerun()
    return chosen


def _read_upload(upload: UploadedFile) -> Radiograph:
    return imaging.read(upload.getvalue(), upload.name)


def _predict(key: str, read: Callable[[], Radiograph], model: Bundle) -> tuple[Radiograph, Prediction] | CovidCnnError:
    try:
        radiograph = _remember(key, read)
        return radiograph, _remember(f"{key} {model.name}", lambda: model.predict(radiograph.pixels))
    except CovidCnnError as error:
        return error


def _remember(key: str, make: Callable[[], T]) -> T:
    """Made once for each session, so that moving a slider does not read and predict again."""
    memory: dict[str, Any] = st.session_state.setdefault(MEMORY, {})
    if key not in memory:
        with st.spinner("Reading and asking the model"):
            memory[key] = make()
    return memory[key]


def _forget(kept: set[str]) -> None:
    """Drop what belongs to images that were taken away."""
    memory = st.session_state.get(MEMORY, {})
    for key in set(memory) - kept:
        del memory[key]


# How to look at it


class _View:
    """The settings that all heatmaps on the page share."""

    def __init__(self, heatmap_class: str | None, opacity: float, colour_map: str) -> None:
        self.heatmap_class, self.opacity, self.colour_map = heatmap_class, opacity, colour_map

    @classmethod
    def choose(cls, model: Bundle) -> "_View":
        left, middle, right = st.columns([2, 2, 1], vertical_alignment="bottom")
        heatmap_class = left.segmented_control(
            "Heatmap: what speaks for",
            list(model.classes),
            key=f"predict_class_{model.name}",
            help="Grad-CAM marks the regions that raise the score of this class. None chosen: the predicted class.",
        )
        opacity = middle.slider("Opacity of the heatmap", 0.0, 1.0, 0.5, 0.05, key="predict_opacity")
        colours = right.selectbox(
            "Colours", list(figures.COLOUR_MAPS), key="predict_colours", help="All but Jet suit colour-blind eyes."
        )
        return cls(heatmap_class, opacity, colours)


def _table(results: list[tuple[str, Any]], model: Bundle) -> None:
    """One row an image, for an overview."""
    rows = []
    for name, result in results:
        if isinstance(result, CovidCnnError):
            rows.append({"Image": name, "Label": "unreadable", "Note": str(result)})
            continue
        radiograph, prediction = result
        notes = [prediction.warning, *radiograph.warnings]
        rows.append(
            {"Image": name, "Label": prediction.label if prediction.in_distribution else "not sure"}
            | prediction.by_class()
            | {"Note": " ".join(note for note in notes if note)}
        )
    bars = {
        name: st.column_config.ProgressColumn(name, min_value=0.0, max_value=1.0, format="%.3f")
        for name in model.classes
    }
    st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=bars)


def _explained(key: str, radiograph: Radiograph, prediction: Prediction, model: Bundle, view: _View) -> None:
    """One image with its answer, heatmap and downloads."""
    st.markdown(f"##### {shared.plain(radiograph.name)}")
    if radiograph.synthetic:
        st.markdown(shared.SYNTHETIC)
    if not prediction.in_distribution:
        st.error(prediction.warning, icon=":material/help:")
    for warning in radiograph.warnings:
        st.warning(shared.plain(warning), icon=":material/warning:")
    heatmap_class = view.heatmap_class or prediction.label
    heatmap = prediction.heatmaps[..., prediction.classes.index(heatmap_class)]
    shown = figures.fit_within(radiograph.pixels)
    overlay = figures.overlay(shown, heatmap, view.opacity, view.colour_map)
    left, middle, right = st.columns(3)
    left.image(shown, caption=f"The X-ray. {shared.plain(radiograph.origin)}", width="stretch", clamp=True)
    middle.image(overlay, caption=f"Grad-CAM: what speaks for {shared.plain(heatmap_class)}", width="stretch")
    if not heatmap.any():
        middle.caption(f"Nothing in this image speaks for {shared.plain(heatmap_class)}.")
    with right:
        _answer(prediction)
        _seen(prediction)
        _downloads(key, radiograph, prediction, model, overlay, heatmap_class)


def _answer(prediction: Prediction) -> None:
    if prediction.in_distribution:
        st.metric("The model says", prediction.label)
        st.altair_chart(_bars(prediction))
        st.caption(shared.plain(report.sentence(prediction)))
    else:
        st.metric("The model says", "Not sure")
        st.altair_chart(_bars(prediction))
        st.caption(
            "These numbers are what the network gives to any image. On one unlike those it knows they mean little."
        )


def _bars(prediction: Prediction) -> alt.LayerChart:
    """The probabilities as bars, that of the answer in full colour, with the threshold as a mark where there is one."""
    answer = prediction.label if prediction.in_distribution else ""
    table = pd.DataFrame({"class": list(prediction.classes), "probability": prediction.probabilities.astype(float)})
    table["shown"] = table["probability"].map("{:.3f}".format)
    base = alt.Chart(table).encode(y=alt.Y("class:N", title=None, sort=None, axis=alt.Axis(labelLimit=160)))
    scale = alt.Scale(domain=[0, 1])
    bars = base.mark_bar(height=18).encode(
        x=alt.X("probability:Q", scale=scale, title="calibrated probability"),
        opacity=alt.condition(alt.datum["class"] == answer, alt.value(1.0), alt.value(0.45)),
        tooltip=["class:N", alt.Tooltip("probability:Q", format=".4f")],
    )
    text = base.mark_text(align="left", dx=4, color="gray").encode(
        x=alt.X("probability:Q", scale=scale), text="shown:N"
    )
    layers = [bars, text]
    if prediction.positive is not None and prediction.threshold is not None:
        rule = pd.DataFrame({"class": [prediction.positive], "threshold": [prediction.threshold]})
        tick = alt.Chart(rule).mark_tick(thickness=3, size=22, color="#d97706")
        layers.append(
            tick.encode(
                y=alt.Y("class:N", sort=None), x="threshold:Q", tooltip=alt.Tooltip("threshold:Q", format=".3f")
            )
        )
    return alt.layer(*layers).properties(height=50 + 34 * len(prediction.classes))


def _seen(prediction: Prediction) -> None:
    height, width = prediction.seen.shape
    with st.popover("What the network sees", icon=":material/visibility:", width="stretch"):
        st.image(prediction.seen, width=width, clamp=True)
        st.caption(f"{width} x {height} px, grey, stretched to a square: all that the answer rests on.")


def _downloads(
    key: str, radiograph: Radiograph, prediction: Prediction, model: Bundle, overlay: np.ndarray, heatmap_class: str
) -> None:
    # A callable is made only when the button is pressed; the page need not wait for a PDF that nobody wants.
    def pdf() -> bytes:
        return report.pdf(radiograph, prediction, model.info, heatmap_class, __version__, datetime.now(UTC))

    with st.popover("Download", icon=":material/download:", width="stretch"):
        st.download_button(
            "Overlay (PNG)",
            lambda: imaging.to_png(overlay),
            "overlay.png",
            "image/png",
            key=f"png {key}",
            on_click="ignore",
        )
        st.download_button("Report (PDF)", pdf, "report.pdf", "application/pdf", key=f"pdf {key}", on_click="ignore")
