"""Bring data in: drawn by the program, from Kaggle, or a person's own images."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import streamlit as st

from covid_cnn import adding
from covid_cnn.adding import Progress
from covid_cnn.app.shared import plain
from covid_cnn.datasets import Dataset
from covid_cnn.errors import CovidCnnError


@st.dialog("Add a dataset", width="large", icon=":material/add:")
def dialog() -> None:
    """Ask, over the page, what to add."""
    ways()


def ways() -> None:
    """The ways to add a dataset, beside each other."""
    drawn, kaggle, own = st.columns(3, border=True)
    with drawn:
        st.markdown("##### :material/draw: Synthetic radiographs")
        st.write(
            "200 chest X-rays that the program draws, half of them with opacities. They show no patient and need no "
            "internet: made for trying everything out."
        )
        if st.button("Draw synthetic radiographs", type="primary", width="stretch"):
            _add(lambda progress: adding.add("synthetic", progress=progress))
    with kaggle:
        _kaggle()
    with own:
        _own()


def _kaggle() -> None:
    st.markdown("##### :material/cloud_download: From Kaggle")
    with st.form("dataset_kaggle", border=False):
        handle = st.text_input("Owner/name", adding.KAGGLE_DEFAULT, help="As in the address of the dataset's page.")
        if st.form_submit_button("Download", width="stretch"):
            source = f"kaggle:{handle.strip().removeprefix('https://www.kaggle.com/datasets/')}"
            _add(lambda progress: adding.add(source, progress=progress))
    st.caption(
        "The one that is filled in has 188 chest X-rays, collected by Jordan Micah Bennett. The licences are those of "
        "its sources: NORMAL is from Kermany et al. 2018, children of one to five years (CC BY 4.0); PNEUMONIA from "
        "[ieee8023/covid-chestxray-dataset](https://github.com/ieee8023/covid-chestxray-dataset), each image under a "
        "licence of its own. It stays on this computer."
    )


def _own() -> None:
    st.markdown("##### :material/folder_open: Your own images")
    with st.form("dataset_own", border=False):
        upload = st.file_uploader("A .zip file", type="zip")
        folder = st.text_input("Or a folder or .zip on this computer", placeholder="/home/me/radiographs")
        name = st.text_input("Call it", placeholder="As its file or folder").strip()
        if st.form_submit_button("Add", width="stretch"):
            if upload:
                _add(lambda progress: adding.add_zip(upload, name or Path(upload.name).stem, progress=progress))
            elif folder.strip():
                path = Path(folder.strip()).expanduser().absolute()
                _add(lambda progress: adding.add(path, name=name or None, progress=progress))
            else:
                st.error("Choose a .zip file, or give the path of a folder.")
    st.caption(
        "Sorted into folders by class (`NORMAL/`, `PNEUMONIA/`), or by split and class (`train/NORMAL/`), or with a "
        "`metadata.csv` that has the columns `filename` and `finding`. The images are copied and stay on this computer."
    )


def _add(add: Callable[[Progress], Dataset]) -> None:
    """Add a dataset with a progress bar, and show it; or say why it cannot be added."""
    try:
        with _progress() as progress:
            added = add(progress)
    except CovidCnnError as error:
        st.error(plain(str(error)))
        return
    st.session_state["dataset_added"] = added.name
    st.rerun()


@contextmanager
def _progress() -> Iterator[Progress]:
    bar = st.progress(0.0, "Starting")
    try:

        def show(part: float, message: str) -> None:
            bar.progress(part, plain(message))

        yield show
    finally:
        bar.empty()
