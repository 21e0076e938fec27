"""Many images at once on the Predict page: a .zip's images, the progress of asking, and the table of the answers."""

import contextlib
import io
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from zipfile import ZipInfo

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from covid_cnn.app.shared import elements
from covid_cnn.common.errors import ArchiveError, CovidCnnError
from covid_cnn.data import index
from covid_cnn.images import headers, limits, reader
from covid_cnn.images.radiograph import Radiograph
from covid_cnn.images.sources import Archive, is_system_file
from covid_cnn.models import batch
from covid_cnn.models.bundle import Bundle, Prediction
from covid_cnn.reports import wording
from covid_cnn.reports.html import embed

ARCHIVES, ANSWERS, STOPPED = "predict_archives", "predict_answers", "predict_stopped"
TABLE, SHOWN = "predict_table", "predict_shown"  # the table's own state, and the keys of its rows
NAME = 18  # characters of a name in the table; its last column has all
TABLE_HEIGHT = 420  # px
BLINK = 0.2  # seconds between two steps of the progress bar
TOLD = 3  # how many unreadable files are told above the table
JOINT = " › "  # between the folders of a path in an archive
NOTHING = np.zeros((0, 0), np.float32)


class Source(NamedTuple):
    """A chosen image that may or may not be readable."""

    name: str
    read: Callable[..., Radiograph]  # takes `frame` and `window` as `reader.read` does


class Neighbours(NamedTuple):
    """Images in order, by their keys, and what opens one of them."""

    keys: list[str]
    go_to: Callable[[str], None]


class _Answer(NamedTuple):
    """What is kept of an image and its answer: all but the arrays."""

    radiograph: Radiograph
    prediction: Prediction
    thumbnail: str


def is_archive(upload: UploadedFile) -> bool:
    """Whether an upload is a .zip, by its content."""
    return headers.is_zip(upload.getvalue()[:4])


def unpack(uploads: list[UploadedFile]) -> dict[str, Source]:
    """The images in uploaded archives, each by a key that is its own; says on the page which archive is refused.

    Nothing is unpacked before an image is read.
    """
    opened: dict[str, Archive] = st.session_state.setdefault(ARCHIVES, {})
    for gone in set(opened) - {upload.file_id for upload in uploads}:
        opened.pop(gone).close()
    sources: dict[str, Source] = {}
    for upload in uploads:
        try:
            if upload.file_id not in opened:
                opened[upload.file_id] = Archive(upload.getvalue(), upload.name)
            sources |= _images(upload, opened[upload.file_id])
        except ArchiveError as error:
            st.error(elements.escape_markdown(str(error)), icon=":material/folder_off:")
    return sources


def _images(upload: UploadedFile, archive: Archive) -> dict[str, Source]:
    """All members of an archive in the order of their names, for one that is no image has a row that says so."""
    sources = {}
    for member in sorted(archive.members, key=lambda member: member.filename):
        if not is_system_file(PurePosixPath(member.filename)):
            read = partial(_read_member, archive, member)
            sources[f"{upload.file_id} {member.header_offset}"] = Source(_path(archive, member), read)
    if not sources:
        raise ArchiveError(f"{upload.name} holds no image: pack PNG, JPEG, WebP, BMP, TIFF or DICOM files.")
    return sources


def _read_member(archive: Archive, member: ZipInfo, frame: int = 0, window: int | None = None) -> Radiograph:
    return reader.read(archive.read(member), _path(archive, member), frame=frame, window=window)


def _path(archive: Archive, member: ZipInfo) -> str:
    """Where a member lies, in one name: of a path only the end would be shown, and patients' names struck out of it."""
    return JOINT.join(PurePosixPath(archive.name, member.filename).parts)


def _shown_name(source: Source, answer: "_Answer | CovidCnnError") -> str:
    """What an image is called on the page: what a DICOM file says of its patient is struck out, if it can be read."""
    if isinstance(answer, CovidCnnError):
        return getattr(answer, "name", "") or source.name
    return answer.radiograph.name


def choose_row(sources: Mapping[str, Source], model: Bundle) -> str | None:
    """Ask the model about every image, show the table, and tell which image to open, by its key.

    That is the selected one, or the first that could be read where none is selected, or None.
    """
    sources = _few_enough(sources)
    answers = _answers(model, sources)
    _ask(sources, model, answers)
    shown = {key: answers[key] for key in sources if key in answers}
    st.session_state[SHOWN] = list(shown)
    if not shown:
        return None
    named = {key: (_shown_name(sources[key], answer), answer) for key, answer in shown.items()}
    selected = _table(list(named.values()))
    _tell_unreadable(list(shown.values()))
    elements.offer_download(
        "Table (CSV)",
        partial(_csv, model, named.values()),
        "predictions.csv",
        help="With the most probable label of every image, also where the page says that it is not sure, which the "
        "column in_distribution tells. A text that a spreadsheet would take for a formula has an apostrophe in front.",
    )
    if selected is not None:
        return list(shown)[selected]
    return next((key for key, answer in shown.items() if not isinstance(answer, CovidCnnError)), None)


def shown_keys() -> list[str]:
    """The keys of the table's rows, in their order."""
    return list(st.session_state.get(SHOWN, ()))


def open_row(key: str) -> None:
    """Select the row of an image, as a click on it does."""
    row = shown_keys().index(key)
    st.session_state[TABLE] = {"selection": {"rows": [row], "columns": [], "cells": []}}


def _tell_unreadable(answers: list["_Answer | CovidCnnError"]) -> None:
    unreadable = [str(answer) for answer in answers if isinstance(answer, CovidCnnError)]
    if unreadable:
        sentences = "".join(f"\n- {elements.escape_markdown(sentence)}" for sentence in unreadable[:TOLD])
        more = "\n\nThe table tells of the others." if len(unreadable) > TOLD else ""
        st.warning(f"{len(unreadable)} of {len(answers)} files could not be read.\n{sentences}{more}")


def _few_enough(sources: Mapping[str, Source]) -> Mapping[str, Source]:
    """As many of the images as a browser can carry the thumbnails of; says so where some are left out."""
    if len(sources) <= limits.MAX_PAGE_IMAGES:
        return sources
    st.warning(
        f"The page takes the first {limits.MAX_PAGE_IMAGES:,} of these {len(sources):,} images; open the others after "
        "them.",
        icon=":material/content_cut:",
    )
    return dict(islice(sources.items(), limits.MAX_PAGE_IMAGES))


def forget() -> None:
    """Drop every answer, where there are no longer many images."""
    st.session_state.pop(ANSWERS, None)
    st.session_state.pop(STOPPED, None)


def _answers(model: Bundle, sources: Mapping[str, Source]) -> dict[str, "_Answer | CovidCnnError"]:
    """What this session knows of the images by this model, without those that are no longer chosen."""
    every = st.session_state.setdefault(ANSWERS, {})
    answers = every.setdefault((model.name, model.info.sha256), {})
    for of_one_model in every.values():
        for gone in set(of_one_model) - set(sources):
            del of_one_model[gone]
    return answers


def _ask(sources: Mapping[str, Source], model: Bundle, answers: dict[str, "_Answer | CovidCnnError"]) -> None:
    """Fill the answers. Stop, or whatever else is clicked meanwhile, ends it; the next run of the page goes on."""
    missing = {key: source for key, source in sources.items() if key not in answers}
    if not missing:
        return
    place = st.empty()
    if st.session_state.get(STOPPED):
        with place.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"Stopped: {len(sources) - len(missing)} of {len(sources)} images are done.")
            st.button("Go on", icon=":material/play_arrow:", on_click=partial(_set_stopped, False))
        return
    with place.container(horizontal=True, vertical_alignment="center"):
        bar = st.progress(0.0)
        st.button("Stop", icon=":material/stop:", on_click=partial(_set_stopped, True))
    shown = 0.0
    answering = batch.predict_images(model, missing.items(), _keep, lambda item: item[1].read(), crowd=len(missing) > 1)
    with contextlib.closing(answering):
        for (key, _), answer in answering:
            answers[key] = answer
            if time.monotonic() - shown > BLINK:
                shown = time.monotonic()
                done = sum(key in answers for key in sources)
                bar.progress(done / len(sources), f"{done} of {len(sources)} images")
    place.empty()


def _set_stopped(stopped: bool) -> None:
    st.session_state[STOPPED] = stopped


def _keep(radiograph: Radiograph, prediction: Prediction) -> _Answer:
    """Called in the background: nothing of Streamlit here."""
    return _Answer(
        replace(radiograph, pixels=NOTHING),
        # Of the heatmaps, what the table tells: whether there is any heat.
        replace(
            prediction, heatmaps=prediction.heatmaps.max((0, 1), keepdims=True), embedding=NOTHING, prepared=NOTHING
        ),
        embed(index.make_thumbnail(radiograph.pixels), "jpeg"),
    )


def _table(answers: list[tuple[str, "_Answer | CovidCnnError"]]) -> int | None:
    """One row an image; returns the number of the row that was clicked, wherever."""
    rows: list[dict[str, Any]] = []
    columns: dict[str, Any] = {"X-ray": st.column_config.ImageColumn("X-ray", width=56)}
    for name, answer in answers:
        short = elements.elide_left(name, NAME)
        if isinstance(answer, CovidCnnError):
            rows.append({"X-ray": None, "Image": short, "Answer": "unreadable", "Note": str(answer), "Name": name})
            continue
        radiograph, prediction, thumbnail = answer
        classes = wording.open_classes(prediction)
        # Of an image that the model does not know, nothing is told that could be taken for an answer.
        shares = prediction.by_class() if classes else dict.fromkeys(prediction.classes)
        notes = [prediction.warning, *radiograph.warnings]
        texts = {"Note": " ".join(note for note in notes if note), "Name": name}
        rows.append(
            {"X-ray": thumbnail, "Image": short, "Answer": " or ".join(classes) or "no answer", **shares, **texts}
        )
        for label in prediction.classes:
            columns[label] = st.column_config.ProgressColumn(label, min_value=0.0, max_value=1.0, format="%.3f")
    columns |= {"Image": st.column_config.TextColumn(width=150), "Answer": st.column_config.TextColumn(width=100)}
    frame = pd.DataFrame(rows)
    last = ["Note", "Name"]
    table = st.dataframe(
        frame[[name for name in frame.columns if name not in last] + last],
        hide_index=True,
        column_config=columns,
        height=TABLE_HEIGHT,
        row_height=48,
        on_select="rerun",
        selection_mode=["single-row", "single-cell"],
        key=TABLE,
        alt="The images with their answers; a click on a row opens its image",
    )
    selection = table["selection"]
    chosen = [*(row for row, _ in selection["cells"]), *selection["rows"]]
    return chosen[0] if chosen and chosen[0] < len(rows) else None


def _csv(model: Bundle, answers: Iterable[tuple[str, "_Answer | CovidCnnError"]]) -> bytes:
    def row(name: str, answer: "_Answer | CovidCnnError") -> batch.Row:
        result = answer if isinstance(answer, CovidCnnError) else (answer.radiograph, answer.prediction)
        return batch.to_row(model, name.replace(JOINT, "/"), result)

    file = io.StringIO(newline="")
    batch.write_csv(file, model, (row(*named) for named in answers))
    return file.getvalue().encode()
