"""The Predict page: upload X-rays or pick a sample, see what a model says and where it looked.

Here is what is chosen, and the way from there to the answers: `folder` asks about many images, `explained` shows one.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from covid_cnn.app.predict import answer, explained, folder
from covid_cnn.app.predict.folder import Source
from covid_cnn.app.shared import elements, library
from covid_cnn.app.start.page import SAMPLE, choose_small_film
from covid_cnn.common.errors import CovidCnnError
from covid_cnn.data.samples import FILM_KEYS, SAMPLES, Sample
from covid_cnn.images import limits, reader
from covid_cnn.images.radiograph import Radiograph
from covid_cnn.models.bundle import Bundle, Prediction

# Keys of the session that other pages set before they switch to this one.
MODEL, PATH = "predict_model", "predict_path"
_UPLOADS = "predict_uploads"
_SAMPLE = "sample "  # begins the key of an image that is a sample


def draw_page() -> None:
    """The whole page."""
    elements.draw_heading("Predict")
    elements.draw_notice()
    model = library.current_model(MODEL)
    if model is None:
        return
    if not any(st.session_state.get(key) for key in (_UPLOADS, SAMPLE, PATH)):
        _offer_images()
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        with st.popover("Open", icon=":material/folder_open:"):
            uploads = _upload()
            _choose_sample(list(SAMPLES))
            if not uploads and not st.session_state.get(SAMPLE) and st.session_state.get(PATH):
                clear = partial(st.session_state.pop, PATH, None)
                st.button("Clear the image from the dataset", icon=":material/close:", on_click=clear)
        toolbar = st.container(horizontal=True, vertical_alignment="center", gap="small")
    sources = _chosen_images(uploads)
    if len(sources) > 1:
        listed, opened = st.columns((3, 7), gap="medium")
        with listed:
            key = folder.choose_row(sources, model)
        neighbours = folder.Neighbours(folder.shown_keys(), folder.open_row)
    else:
        folder.forget()
        key, opened = next(iter(sources), None), st.container()
        neighbours = folder.Neighbours([f"{_SAMPLE}{name}" for name in SAMPLES], _open_sample)
    if key is None:
        return
    opened_image = _ask(key, sources[key], model)
    answer.forget({key, opened_image.view})
    with toolbar:
        _draw_toolbar(key, opened_image, neighbours)
    with opened:
        if isinstance(opened_image.result, CovidCnnError):
            st.error(elements.escape_markdown(str(opened_image.result)), icon=":material/broken_image:")
            return
        film = SAMPLES[key.removeprefix(_SAMPLE)].provenance if key.startswith(_SAMPLE) else None
        explained.draw_explained(opened_image.view, *opened_image.result, model, MODEL, film)


def _offer_images() -> None:
    """What is on the page before an image is chosen."""
    left, right = st.columns((1, 2), gap="large")
    with left:
        _upload()
        library.choose_model(MODEL)
    with right:
        st.markdown("Or try one of these.")
        choose_small_film()
        _choose_sample([key for key in SAMPLES if key not in FILM_KEYS[1:]])


def _upload() -> list[UploadedFile]:
    # Anything may be uploaded: the kind of a file is told from its content, and many DICOM files have no suffix.
    return st.file_uploader(
        "X-rays (PNG, JPEG, WebP, BMP, TIFF or DICOM), or a .zip of them",
        accept_multiple_files=True,
        key=_UPLOADS,
        help=f"An image may have {limits.MAX_FILE_BYTES // 2**20} MB, a .zip {limits.MAX_UPLOAD_BYTES // 2**20}; of "
        f"{limits.MAX_PAGE_IMAGES:,} images at once the page shows all. "
        "Images stay in this computer's memory: they are not stored, and not sent anywhere else.",
    )


def _choose_sample(keys: list[str]) -> None:
    # Each sample has choices of its own. A browser that has not drawn them, behind a closed door, would send with the
    # next click what it was last told there, and undo what other buttons chose.
    sample = st.session_state.get(SAMPLE)
    widget = f"predict_samples {sample}"

    def take() -> None:
        st.session_state[SAMPLE] = st.session_state[widget]

    st.pills(
        "All samples" if len(keys) == len(SAMPLES) else "Other samples",
        keys,
        default=sample if sample in keys else None,
        format_func=lambda key: SAMPLES[key].title,
        key=widget,
        on_change=take,
        wrap=True,
        help="\n\n".join(f"**{SAMPLES[key].title}.** {SAMPLES[key].story}" for key in keys),
    )


def _chosen_images(uploads: list[UploadedFile]) -> dict[str, Source]:
    """The chosen images, each by a key that is its own."""
    archives = [upload for upload in uploads if folder.is_archive(upload)]
    images = [upload for upload in uploads if upload not in archives]
    chosen = {upload.file_id: Source(upload.name, partial(_read_upload, upload)) for upload in images}
    chosen |= folder.unpack(archives)
    if not uploads and (sample := st.session_state.get(SAMPLE)):
        return {f"{_SAMPLE}{sample}": Source(SAMPLES[sample].title, partial(_read_sample, SAMPLES[sample]))}
    if not chosen and not uploads and (path := st.session_state.get(PATH)):
        chosen[f"path {path}"] = Source(Path(path).name, partial(reader.read, Path(path)))
    return chosen


def _read_upload(upload: UploadedFile, frame: int = 0, window: int | None = None) -> Radiograph:
    return reader.read(upload.getvalue(), upload.name, frame=frame, window=window)


def _read_sample(sample: Sample, frame: int = 0, window: int | None = None) -> Radiograph:
    return replace(sample.read(frame=frame, window=window), name=sample.title)


def _open_sample(key: str) -> None:
    st.session_state[SAMPLE] = key.removeprefix(_SAMPLE)


def _draw_toolbar(key: str, image: "_Opened", neighbours: "folder.Neighbours") -> None:
    """What is shown, what it is, and the way to the next."""
    if key in neighbours.keys:
        _draw_neighbours(key, neighbours)
    if not isinstance(image.result, CovidCnnError):
        radiograph, _ = image.result
        height, width = radiograph.pixels.shape
        facts = f"{radiograph.modality + ', ' if radiograph.modality else ''}{width} x {height} px"
        short = elements.elide_left(radiograph.name)
        name = elements.escape_markdown(short)
        st.markdown(f"**{name}**", help=elements.escape_markdown(radiograph.name) if short != radiograph.name else None)
        with st.container(key="facts", horizontal=True):  # where there is room for them
            st.caption(facts, width="content")
            if key.startswith(_SAMPLE):
                st.caption(SAMPLES[key.removeprefix(_SAMPLE)].story, width="content")
    explained.choose_frame_and_window(key, image.frames, image.windows)


def _draw_neighbours(key: str, neighbours: "folder.Neighbours") -> None:
    keys: Sequence[str] = neighbours.keys
    at = keys.index(key)
    for label, icon, shortcut, step in (
        ("Previous", ":material/chevron_left:", "b", -1),
        ("Next", ":material/chevron_right:", "n", 1),
    ):
        there = 0 <= at + step < len(keys)
        st.button(
            icon,
            key=f"{label} image",
            shortcut=shortcut,
            help=f"{label} image",
            type="tertiary",
            disabled=not there,
            on_click=neighbours.go_to,
            args=(keys[at + step],) if there else (key,),
        )


class _Opened(NamedTuple):
    """What became of a chosen image: the key of the frame and window that were read, all that there are, the answer."""

    view: str
    frames: int
    windows: tuple[str, ...]
    result: tuple[Radiograph, Prediction] | CovidCnnError


def _ask(key: str, source: Source, model: Bundle) -> _Opened:
    view, frames = f"{key} 0 None", 1
    windows: tuple[str, ...] = ()

    def look() -> tuple[int, tuple[str, ...]]:
        first: Radiograph = answer.remember(view, "image", source.read)
        return first.frames, first.windows

    try:
        # The file's first frame tells how many there are, and goes on telling when another cannot be read.
        frames, windows = answer.remember(key, "offered", look, slow=True)
        frame, window = explained.chosen_frame_and_window(key, windows)
        view = f"{key} {frame} {window}"
        radiograph = answer.remember(view, "image", lambda: source.read(frame=frame, window=window), slow=True)
        prediction = answer.remember(view, model.name, lambda: model.predict(radiograph.pixels), slow=True)
        return _Opened(view, frames, windows, (radiograph, prediction))
    except CovidCnnError as error:
        return _Opened(view, frames, windows, error)
