"""Bring data in: drawn by the program, from Kaggle, or a person's own images."""

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pandas as pd
import streamlit as st

from covid_cnn.app.shared import background, demo, elements
from covid_cnn.app.shared.elements import escape_markdown
from covid_cnn.common.jobs import Progress
from covid_cnn.data import importer, metadata
from covid_cnn.data.importer import Added, Offer
from covid_cnn.data.metadata import ClassMapping, MetadataTable

JOB = "dataset_adding"  # keys of the session: what is being added,
CHOSEN = "dataset_chosen"  # and what will be, once a person has seen what it was understood as


class _Chosen(NamedTuple):
    """A source, what it was understood as, and thumbnails by finding."""

    source: Path | BinaryIO
    offer: Offer
    samples: dict[str, list[bytes]]


def draw_under_way() -> None:
    """What is being added, and what came of it; and the question whether it was understood as it is meant."""
    if CHOSEN in st.session_state:
        _ask(st.session_state[CHOSEN])
    result: Added | _Chosen | None = background.take_result(JOB)
    if result is None:
        return
    if isinstance(result, _Chosen):  # downloaded, and now to be looked at
        st.session_state[CHOSEN] = result
        _ask(result)
        return
    dataset, new = result
    st.session_state["dataset_name"] = dataset.name
    if new:
        st.toast(f"Added {escape_markdown(dataset.name)}", icon=":material/check:")
        for note in dataset.notes:
            st.info(escape_markdown(note), icon=":material/filter_alt:")
    else:
        st.info(
            f"{escape_markdown(dataset.name)} is here already, with the same {len(dataset.items)} images: "
            "nothing was changed.",
            icon=":material/check:",
        )


def draw_unfinished() -> None:
    """The imports that were cut off, on the page itself: whoever must add again does not know it yet."""
    if demo.is_visitor():
        return
    for name in importer.unfinished_imports():
        with st.container(horizontal=True, vertical_alignment="center"):
            st.info(
                f"The import of {escape_markdown(name)} was cut off. Add it again, and it goes on where it was.",
                icon=":material/resume:",
            )
            if st.button("Discard", key=f"dataset_discard_{name}", icon=":material/delete:"):
                importer.discard_unfinished(name)
                st.rerun()


def offer_adding(primary: bool = False) -> None:
    """The button, the same on every page, that asks over the page what to add."""
    if st.button("Add a dataset", icon=":material/add:", type="primary" if primary else "secondary"):
        st.dialog("Add a dataset", width="large", icon=":material/add:")(draw_ways)()


def draw_ways() -> None:
    """The ways to add a dataset, beside each other."""
    if demo.is_visitor():
        _synthetic()
        return
    for column, draw in zip(st.columns(3, border=True), (_synthetic, _kaggle, _own), strict=True):
        with column:
            draw()


def _synthetic() -> None:
    st.markdown("## :material/draw: Synthetic radiographs")
    st.write(
        "200 chest X-rays that the program draws, half of them with opacities. They show no patient and need no "
        "internet: made for trying everything out."
    )
    if st.button("Draw synthetic radiographs", type="primary", width="stretch"):
        background.start_for_session(JOB, lambda progress: importer.add_dataset("synthetic", progress=progress))


def _kaggle() -> None:
    st.markdown("## :material/cloud_download: From Kaggle")
    with st.form("dataset_kaggle", border=False):
        handle = st.text_input("Owner/name", importer.KAGGLE_DEFAULT, help="As in the address of the dataset's page.")
        if st.form_submit_button("Download", width="stretch"):
            background.start_for_session(JOB, lambda progress: _download(handle, progress))
    st.caption(
        "The one that is filled in has 188 chest X-rays, collected by Jordan Micah Bennett. The licences are those of "
        "its sources: NORMAL is from Kermany et al. 2018, children of one to five years (CC BY 4.0); PNEUMONIA from "
        "[ieee8023/covid-chestxray-dataset](https://github.com/ieee8023/covid-chestxray-dataset), each image under a "
        "licence of its own. It stays on this computer."
    )


def _download(handle: str, progress: Progress) -> _Chosen:
    handle = handle.strip().removeprefix("https://www.kaggle.com/datasets/").strip("/")
    return _look_through(importer.download_kaggle(handle, progress), handle.rpartition("/")[2])


def _look_through(source: Path | BinaryIO, name: str) -> _Chosen:
    offer = importer.examine_source(source, name)
    return _Chosen(source, offer, importer.load_samples(source, offer))


def _own() -> None:
    st.markdown("## :material/folder_open: Your own images")
    with st.form("dataset_own", border=False):
        upload = st.file_uploader("A .zip file", type="zip")
        folder = st.text_input("Or a folder or .zip on this computer", placeholder="/home/me/radiographs")
        name = st.text_input("Call it", placeholder="As its file or folder").strip()
        if st.form_submit_button("Add", width="stretch"):
            if upload:
                _offer(upload, name or Path(upload.name).stem)
            elif folder.strip():
                path = Path(folder.strip()).expanduser().absolute()
                _offer(path, name or (path.name if path.is_dir() else path.stem))
            else:
                st.error("Choose a .zip file, or give the path of a folder.")
    st.caption(
        "Sorted into folders by class (`NORMAL/`, `PNEUMONIA/`), or by split and class (`train/NORMAL/`), or with a "
        "`metadata.csv` that has the columns `filename` and `finding`. What it is understood as is shown before "
        "anything is copied, and can be changed. The images stay on this computer."
    )


def _offer(source: Path | BinaryIO, name: str) -> None:
    """Show what a source is understood as, before anything is copied."""
    with elements.draw_errors():
        with st.spinner("Looking through it"):
            st.session_state[CHOSEN] = _look_through(source, name)
        st.rerun()


# What a source is understood as


@st.dialog("Is this what it is?", width="large", icon=":material/account_tree:", on_dismiss=lambda: _drop())  # noqa: PLW0108  # defined below
def _ask(chosen: _Chosen) -> None:
    offer, sheet = chosen.offer, chosen.offer.sheet
    st.write(
        f"**{escape_markdown(offer.name)}** is understood as below. Change a class by clicking on it; without one, "
        "images are left out. Nothing is copied yet."
    )
    modalities, views = list(sheet.modalities()), list(sheet.views(list(sheet.modalities())))
    if not sheet.from_folders:
        with st.container(horizontal=True):
            modalities = _pills("Modality", sheet.modalities(), metadata.radiographs)
            views = _pills("View", sheet.views(modalities), metadata.frontal_views)
    choice = ClassMapping(_classes(sheet), views, modalities)
    rows = offer.summary(choice)
    st.dataframe(pd.DataFrame(rows), hide_index=True)
    for note in offer.notes(choice):
        st.caption(escape_markdown(note))
    _draw_samples(chosen.samples, choice)
    with st.container(horizontal=True):
        if st.button("Add these images", type="primary", icon=":material/add:", disabled=not rows):
            _drop()
            background.start_for_session(
                JOB,
                lambda progress: importer.add_dataset(
                    chosen.source, name=offer.name, progress=progress, choose=lambda _: choice
                ),
            )
        if st.button("Cancel"):
            _drop()
            st.rerun()


def _draw_samples(samples: dict[str, list[bytes]], choice: ClassMapping) -> None:
    """Three thumbnails of each class, as it is mapped now."""
    by_class: dict[str, list[bytes]] = {}
    for finding, thumbnails in samples.items():
        if label := choice.classes.get(finding, "").strip():
            by_class.setdefault(label, []).extend(thumbnails)
    for label, thumbnails in sorted(by_class.items()):
        st.markdown(f"**{escape_markdown(label)}**")
        with st.container(horizontal=True):
            for thumbnail in thumbnails[: importer.SHOWN]:
                st.image(thumbnail, width=88, alt=f"An image that becomes {label}")


def _drop() -> None:
    st.session_state.pop(CHOSEN, None)


def _pills(label: str, counted: dict[str, int], default: Callable[[list[str]], list[str]]) -> list[str]:
    """Which of these to take; asked only where there is a choice."""
    if len(counted) < 2:
        return list(counted)
    names = list(counted)
    return st.pills(
        label,
        names,
        selection_mode="multi",
        default=default(names),
        format_func=lambda name: f"{name} ({counted[name]})",
        key=f"dataset_{label}_{'_'.join(names)}",
    )


def _classes(sheet: MetadataTable) -> dict[str, str]:
    """The class of each finding, as a person edited it."""
    counted = sheet.findings()
    proposed = sheet.proposed().classes
    first = "Folder" if sheet.from_folders else "Finding"
    rows = [{first: finding or "none given", "Images": n, "Class": proposed[finding]} for finding, n in counted.items()]
    edited = st.data_editor(
        pd.DataFrame(rows),
        hide_index=True,
        disabled=(first, "Images"),
        column_config={"Class": st.column_config.TextColumn(help="Empty: left out", max_chars=60)},
        key="dataset_findings",
    )
    return dict(zip(counted, edited["Class"].fillna("").astype(str), strict=True))
