"""The dataset page: look through the datasets under data/, check them, and add others."""

import os
from pathlib import Path

import streamlit as st

from covid_cnn import datasets, paths
from covid_cnn.app import dataset_adding as adding
from covid_cnn.app import dataset_audit as audit
from covid_cnn.app import dataset_images as gallery
from covid_cnn.app import dataset_map
from covid_cnn.app import dataset_overview as overview
from covid_cnn.app.shared import SYNTHETIC, plain
from covid_cnn.datasets import Dataset


def page() -> None:
    """Show the page."""
    st.title("Dataset")
    found, problems = _discover(paths.data_dir(), _stamp(paths.data_dir()))
    for problem in problems:
        st.warning(plain(problem), icon=":material/folder_off:")
    if not found:
        st.write("There is no dataset here yet. A first one is a click away:")
        adding.ways()
        return
    if added := st.session_state.pop("dataset_added", ""):
        st.session_state["dataset_name"] = added
        st.toast(f"Added {plain(added)}", icon=":material/check:")
    by_name = {dataset.name: dataset for dataset in found}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox("Dataset", list(by_name), key="dataset_name", persist_state="session", width=420)
        if st.button("Add a dataset", icon=":material/add:"):
            adding.dialog()
    dataset = by_name[name]
    st.markdown(_summary(dataset))
    images, whole, plane, checks = st.tabs(
        [
            ":material/photo_library: Images",
            ":material/bar_chart: Overview",
            ":material/scatter_plot: Map",
            ":material/fact_check: Audit",
        ]
    )
    with images:
        gallery.show(dataset)
    with whole:
        overview.show(dataset)
    with plane:
        dataset_map.show(dataset)
    with checks:
        audit.show(dataset, _stamp(dataset.root))
    gallery.opened(dataset)


@st.cache_resource(max_entries=4, show_spinner="Looking through the datasets")
def _discover(data_dir: Path, stamp: tuple) -> tuple[list[Dataset], list[str]]:
    return datasets.discover(data_dir)


def _stamp(folder: Path) -> tuple[tuple[str, int], ...]:
    """Differs once images came or went or a metadata.csv was rewritten; a hundredth of the work of an index."""
    stamp = []
    for where, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]  # those are still being added
        for path in [Path(where), *(Path(where, name) for name in files if name == datasets.METADATA)]:
            stamp.append((str(path), path.stat().st_mtime_ns))
    return tuple(sorted(stamp))


def _summary(dataset: Dataset) -> str:
    patients = len({item.patient for item in dataset.items})
    splits = ", ".join(gallery.SPLIT_NAMES[split].lower() for split in dataset.splits)
    parts = [
        f"**{len(dataset.items)}** images",
        f"**{len(dataset.classes)}** classes",
        f"**{patients}** patients",
        splits,
    ]
    return " · ".join(parts) + (f"  \n{SYNTHETIC}" if dataset.synthetic else "")
