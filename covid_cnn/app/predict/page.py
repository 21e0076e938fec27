"""The Predict page: upload X-rays or pick a sample, see what a model says and where it looked.

Here is what is chosen, and the way from there to the answers: `folder` asks about many images, `explained` shows one.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from covid_cnn.app.predict import answer, compare, explained, folder, memory, what_if
from covid_cnn.app.predict.folder import Source
from covid_cnn.app.shared import elements, models
from covid_cnn.app.start import samples
from covid_cnn.common.errors import CovidCnnError
from covid_cnn.data.samples import SAMPLES, Sample
from covid_cnn.images import limits, reader
from covid_cnn.images.radiograph import Radiograph
from covid_cnn.models.bundle import Bundle, Prediction

# Keys of the session that other pages set before they switch to this one.
MODEL, PATH = "predict_model", "predict_path"
_SAMPLE = "sample "  # begins the key of an image that is a sample


def draw_page() -> None:
    """The whole page."""
    st.title("Predict")
    elements.draw_notice()
    left, right = st.columns([1, 3], gap="large")
    with left:
        sources = _choose_images()
        model = models.choose_model(MODEL)
        if model is not None and any(key.startswith(_SAMPLE) for key in sources):
            compare.offer_other_model(model)
    if model is None:
        return
    with right:
        if not sources:
            models.draw_trust(model)
            st.info("Upload an X-ray, or try one of these.", icon=":material/upload:")
            samples.choose_sample()
        elif len(sources) == 1:
            folder.forget()
            (key,) = sources
            _answer(key, sources[key], model)
        else:
            models.draw_trust(model)
            binary = answer.choose_reading(model)
            opened = folder.choose_row(sources, model, binary)
            if opened is not None:
                _answer(opened, sources[opened], model, binary)


def _answer(key: str, source: Source, model: Bundle, binary: bool | None = None) -> None:
    asked = _ask(key, source, model)
    memory.forget({key, asked.view})
    offer = partial(explained.choose_frame_and_window, key, asked.frames, asked.windows)
    with st.container(border=True):
        if isinstance(asked.result, CovidCnnError):
            st.error(elements.escape_markdown(str(asked.result)), icon=":material/broken_image:")
            offer()
        else:
            shown = explained.draw_explained(asked.view, *asked.result, model, offer, binary)
            what_if.draw_panel(asked.view, *asked.result, model, shown.name, shown.opacity, shown.colour_map)


# What to look at


def _choose_images() -> dict[str, Source]:
    """The chosen images, each by a key that is its own."""
    # Anything may be uploaded: the kind of a file is told from its content, and many DICOM files have no suffix.
    uploads = st.file_uploader(
        "X-rays (PNG, JPEG, WebP, BMP, TIFF or DICOM), or a .zip of them",
        accept_multiple_files=True,
        key="predict_uploads",
        help=f"An image may have {limits.MAX_FILE_BYTES // 2**20} MB, a .zip {limits.MAX_UPLOAD_BYTES // 2**20}; of "
        f"{limits.MAX_PAGE_IMAGES:,} images at once the page shows all. "
        "Images stay in this computer's memory: they are not stored, and not sent anywhere else.",
    )
    st.pills(
        "Or try a sample",
        list(SAMPLES),
        format_func=lambda key: SAMPLES[key].title,
        key=samples.SAMPLE,
        wrap=True,
        help="\n\n".join(f"**{sample.title}.** {sample.story}" for sample in SAMPLES.values()),
    )
    archives = [upload for upload in uploads if folder.is_archive(upload)]
    images = [upload for upload in uploads if upload not in archives]
    chosen = {upload.file_id: Source(upload.name, partial(_read_upload, upload)) for upload in images}
    chosen |= folder.unpack(archives)
    if not uploads and (sample := st.session_state.get(samples.SAMPLE)):
        chosen[f"{_SAMPLE}{sample}"] = Source(SAMPLES[sample].title, partial(_read_sample, SAMPLES[sample]))
        st.caption(SAMPLES[sample].story)
    if not chosen and (path := st.session_state.get(PATH)):
        chosen[f"path {path}"] = Source(Path(path).name, partial(reader.read, Path(path)))
        if st.button("Clear the image from the dataset", icon=":material/close:"):
            del st.session_state[PATH]
            st.rerun()
    return chosen


def _read_upload(upload: UploadedFile, frame: int = 0, window: int | None = None) -> Radiograph:
    return reader.read(upload.getvalue(), upload.name, frame=frame, window=window)


def _read_sample(sample: Sample, frame: int = 0, window: int | None = None) -> Radiograph:
    return replace(sample.read(frame=frame, window=window), name=sample.title)


# What is said of it


class _Asked(NamedTuple):
    """What became of a chosen image: the key of the frame and window that were read, all that there are, the answer."""

    view: str
    frames: int
    windows: tuple[str, ...]
    result: tuple[Radiograph, Prediction] | CovidCnnError


def _ask(key: str, source: Source, model: Bundle) -> _Asked:
    def read(frame: int, window: int | None) -> Radiograph:
        return source.read(frame=frame, window=window)

    view, frames = f"{key} 0 None", 1
    windows: tuple[str, ...] = ()
    try:
        # The file's first frame tells how many there are, and goes on telling when another cannot be read.
        frames, windows = memory.remember(
            key, "offered", lambda: _offered(memory.remember(view, "image", lambda: read(0, None)))
        )
        frame, window = explained.chosen_frame_and_window(key, windows)
        view = f"{key} {frame} {window}"
        radiograph = memory.remember(view, "image", lambda: read(frame, window))
        prediction = memory.remember(view, model.name, lambda: model.predict(radiograph.pixels))
        return _Asked(view, frames, windows, (radiograph, prediction))
    except CovidCnnError as error:
        return _Asked(view, frames, windows, error)


def _offered(radiograph: Radiograph) -> tuple[int, tuple[str, ...]]:
    return radiograph.frames, radiograph.windows
