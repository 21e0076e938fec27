"""The dataset page: look through the datasets under data/, check them, and add others."""

import streamlit as st

from covid_cnn.app import dataset_adding as adding
from covid_cnn.app import dataset_audit as audit
from covid_cnn.app import dataset_images as gallery
from covid_cnn.app import dataset_map, indexed
from covid_cnn.app import dataset_overview as overview
from covid_cnn.app.shared import SYNTHETIC, plain
from covid_cnn.datasets import Dataset


def page() -> None:
    """Show the page."""
    st.title("Dataset")
    adding.under_way()
    found, problems = indexed.every()
    for problem in problems:
        st.warning(plain(problem), icon=":material/folder_off:")
    if not found:
        st.write("There is no dataset here yet. A first one is a click away:")
        adding.ways()
        return
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
        audit.show(dataset, indexed.stamp(dataset.root))
    gallery.opened(dataset)


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
