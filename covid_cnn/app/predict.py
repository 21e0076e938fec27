"""The Predict page: upload X-rays or pick a sample, see what a model says and where it looked."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import altair as alt
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.runtime.uploaded_file_manager import UploadedFile

from covid_cnn import __version__, bundle, cards, figures, imaging, report
from covid_cnn.app import folder, pages, shared, what_if
from covid_cnn.app.folder import Source
from covid_cnn.bundle import Bundle, Prediction
from covid_cnn.errors import CovidCnnError
from covid_cnn.imaging import Radiograph
from covid_cnn.samples import SAMPLES

T = TypeVar("T")

# Keys of the session that other pages set before they switch to this one.
MODEL, SAMPLE, PATH = "predict_model", "predict_sample", "predict_path"
MEMORY = "predict_memory"

CALIBRATED = """The probabilities are calibrated: of 100 images like those the model was tuned on to which it gives
0.70, it is right in about 70. On other images that need not hold; the model card tells how well it did."""


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
    if len(sources) > 1:
        key = folder.choose(sources, model, view.binary)
        sources = {key: sources[key]} if key is not None else {}
    else:
        folder.forget()
    results = {key: _predict(key, source.read, model) for key, source in sources.items()}
    _forget(set(sources) | {f"{key} {model.name}" for key in sources})
    for key, result in results.items():
        with st.container(border=True):
            if isinstance(result, CovidCnnError):
                st.error(shared.plain(str(result)), icon=":material/broken_image:")
            else:
                _explained(key, *result, model, view)
                what_if.panel(key, *result, model, view.heatmap_class, view.opacity, view.colour_map)


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
    _evidence(found[name].get("evidence") or [])
    if st.button("Model card", icon=":material/id_card:", type="tertiary"):
        _card(name)
    try:
        return shared.load_bundle(name)
    except CovidCnnError as error:
        st.error(shared.plain(str(error)))
        return None


def _evidence(sections: list[dict[str, Any]]) -> None:
    """What was measured of the model besides its own test."""
    if not sections:
        return
    with st.expander("How far to trust it: what was measured", icon=":material/fact_check:"):
        for tab, section in zip(st.tabs([section["title"] for section in sections]), sections, strict=True):
            with tab:
                st.markdown(section.get("text", ""))
                if table := section.get("table"):
                    rows = [[shared.plain(str(cell)) for cell in row] for row in table["rows"]]
                    st.markdown(cards.table(table["columns"], rows))


@st.dialog("Model card", width="large")
def _card(name: str) -> None:
    of_model = bundle.folder_of(name)
    above, link, below = cards.render(bundle.read_info(of_model)).partition(cards.DIAGRAM_LINK)
    st.markdown(above)
    if link and (of_model / cards.DIAGRAM).is_file():
        st.image((of_model / cards.DIAGRAM).read_bytes())
    st.markdown(below)


def _choose_images() -> dict[str, Source]:
    """The chosen images, each by a key that is its own."""
    # Anything may be uploaded: the kind of a file is told from its content, and many DICOM files have no suffix.
    uploads = st.file_uploader(
        "X-rays (PNG, JPEG, WebP, BMP, TIFF or DICOM), or a .zip of them",
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
    archives = [upload for upload in uploads if folder.is_archive(upload)]
    images = [upload for upload in uploads if upload not in archives]
    chosen = {upload.file_id: Source(upload.name, partial(_read_upload, upload)) for upload in images}
    chosen |= folder.unpack(archives)
    if not uploads and (sample := st.session_state.get(SAMPLE)):
        chosen[f"sample {sample}"] = Source(SAMPLES[sample].title, SAMPLES[sample].read)
        st.caption(SAMPLES[sample].story)
    if not chosen and (path := st.session_state.get(PATH)):
        chosen[f"path {path}"] = Source(Path(path).name, partial(imaging.read, Path(path)))
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
    """The settings that all answers and heatmaps on the page share."""

    def __init__(self, binary: bool, heatmap_class: str | None, opacity: float, colour_map: str) -> None:
        self.binary, self.heatmap_class, self.opacity, self.colour_map = binary, heatmap_class, opacity, colour_map

    @classmethod
    def choose(cls, model: Bundle) -> "_View":
        with st.container(horizontal=True, gap="medium"):
            binary = cls._choose_reading(model)
            heatmap_class = st.segmented_control(
                "Heatmap: what speaks for",
                list(model.classes),
                key=f"predict_class_{model.name}",
                help="Grad-CAM marks the regions that raise the score of this class. None chosen: the predicted class.",
            )
        left, right = st.columns([2, 1], vertical_alignment="bottom")
        opacity = left.slider("Opacity of the heatmap", 0.0, 1.0, 0.5, 0.05, key="predict_opacity")
        colours = right.selectbox(
            "Colours", list(figures.COLOUR_MAPS), key="predict_colours", help="All but Jet suit colour-blind eyes."
        )
        return cls(binary, heatmap_class, opacity, colours)

    @staticmethod
    def _choose_reading(model: Bundle) -> bool:
        """Whether the answers are read as one class or not, where there are more and one is looked for."""
        if model.positive is None or len(model.classes) == 2:
            return False
        every, one = "All classes", f"{model.positive} or not"
        reading = st.segmented_control(
            "Reading",
            [every, one],
            default=every,
            required=True,
            key=f"predict_reading_{model.name}",
            help=f"The same answer read in two ways: which class it is, or only whether it is {model.positive}.",
        )
        return reading == one


def _explained(key: str, radiograph: Radiograph, prediction: Prediction, model: Bundle, view: _View) -> None:
    """One image with its answer, heatmap and downloads; of one that the model does not know, without an answer."""
    if not prediction.in_distribution:
        warnings = "".join(f"\n- {shared.plain(warning)}" for warning in radiograph.warnings)
        st.error(f"**Not an image that the model knows.** {prediction.warning}\n{warnings}", icon=":material/help:")
    st.markdown(f"##### {shared.plain(radiograph.name)}")
    if radiograph.synthetic:
        st.markdown(shared.SYNTHETIC)
    heatmap = _Heatmap(radiograph, prediction, view)
    downloads = partial(_downloads, key, radiograph, prediction, model, heatmap)
    if prediction.in_distribution:
        for warning in radiograph.warnings:
            st.warning(shared.plain(warning), icon=":material/warning:")
        left, middle, right = st.columns(3)
        _xray(left, radiograph)
        heatmap.show(middle)
        with right:
            _answer(prediction, view)
            _seen(prediction)
            downloads()
        return
    left, right = st.columns([1, 2])
    _xray(left, radiograph)
    with right:
        st.metric("The model says", "Not sure")
        st.caption("It gives a label only to images like those it learned from.")
        with st.expander("What the model would answer anyway"):
            st.caption("A network gives such numbers to any image. On one unlike those it knows they mean little.")
            numbers, picture = st.columns(2)
            numbers.altair_chart(_bars(prediction, view))
            heatmap.show(picture)
        _seen(prediction)
        downloads()


def _xray(place: DeltaGenerator, radiograph: Radiograph) -> None:
    shown = figures.fit_within(radiograph.pixels)
    place.image(shown, caption=f"The X-ray. {shared.plain(radiograph.origin)}", width="stretch", clamp=True)


class _Heatmap:
    """The X-ray under the heatmap of the chosen class, or else of the predicted one."""

    def __init__(self, radiograph: Radiograph, prediction: Prediction, view: _View) -> None:
        self.shown_class = view.heatmap_class or prediction.label
        heatmap = prediction.heatmaps[..., prediction.classes.index(self.shown_class)]
        self.empty = not heatmap.any()
        self.overlay = figures.overlay(figures.fit_within(radiograph.pixels), heatmap, view.opacity, view.colour_map)

    def show(self, place: DeltaGenerator) -> None:
        name = shared.plain(self.shown_class)
        place.image(self.overlay, caption=f"Grad-CAM: what speaks for {name}", width="stretch")
        if self.empty:
            place.caption(f"Nothing in this image speaks for {name}.")


def _answer(prediction: Prediction, view: _View) -> None:
    """The label, the probabilities, the rule that led from these to that, and what else it could be."""
    st.metric("The model says", report.read(prediction, view.binary).label, help=CALIBRATED)
    st.altair_chart(_bars(prediction, view))
    st.caption(shared.plain(report.sentence(prediction, view.binary)))
    if possible := report.possible(prediction, view.binary):
        st.markdown(f"**Could be {shared.plain(possible)}.**")
        st.caption(shared.plain(report.promise(prediction, view.binary)))


def _bars(prediction: Prediction, view: _View) -> alt.LayerChart:
    """The probabilities as bars, that of the answer in full colour, with the threshold as a mark where there is one."""
    reading = report.read(prediction, view.binary)
    table = pd.DataFrame({"class": list(reading.probabilities), "probability": list(reading.probabilities.values())})
    table["shown"] = table["probability"].map("{:.3f}".format)
    base = alt.Chart(table).encode(y=alt.Y("class:N", title=None, sort=None, axis=alt.Axis(labelLimit=160)))
    scale = alt.Scale(domain=[0, 1])
    bars = base.mark_bar(height=18).encode(
        x=alt.X("probability:Q", scale=scale, title="calibrated probability"),
        opacity=alt.condition(alt.datum["class"] == (reading.label or ""), alt.value(1.0), alt.value(0.45)),
        tooltip=["class:N", alt.Tooltip("probability:Q", format=".4f")],
    )
    text = base.mark_text(align="left", dx=4, color="gray").encode(
        x=alt.X("probability:Q", scale=scale), text="shown:N"
    )
    layers = [bars, text]
    if reading.label and prediction.positive is not None and prediction.threshold is not None:
        rule = pd.DataFrame({"class": [prediction.positive], "threshold": [prediction.threshold]})
        tick = alt.Chart(rule).mark_tick(thickness=3, size=22, color="#d97706")
        layers.append(
            tick.encode(
                y=alt.Y("class:N", sort=None), x="threshold:Q", tooltip=alt.Tooltip("threshold:Q", format=".3f")
            )
        )
    return alt.layer(*layers).properties(height=60 + 34 * len(table))


def _seen(prediction: Prediction) -> None:
    height, width = prediction.seen.shape
    with st.popover("What the network sees", icon=":material/visibility:", width="stretch"):
        st.image(prediction.seen, width=width, clamp=True)
        st.caption(f"{width} x {height} px, grey, stretched to a square: all that the answer rests on.")


def _downloads(key: str, radiograph: Radiograph, prediction: Prediction, model: Bundle, heatmap: _Heatmap) -> None:
    # A callable is made only when the button is pressed; the page need not wait for a PDF that nobody wants.
    def pdf() -> bytes:
        return report.pdf(radiograph, prediction, model.info, heatmap.shown_class, __version__, datetime.now(UTC))

    with st.popover("Download", icon=":material/download:", width="stretch"):
        st.download_button(
            "Overlay (PNG)",
            lambda: imaging.to_png(heatmap.overlay),
            "overlay.png",
            "image/png",
            key=f"png {key}",
            on_click="ignore",
        )
        st.download_button("Report (PDF)", pdf, "report.pdf", "application/pdf", key=f"pdf {key}", on_click="ignore")
