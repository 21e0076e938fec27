"""The dataset page: look through the datasets under data/, check them, and add others."""

import streamlit as st

from covid_cnn.app.dataset import adding, audit, map, overview
from covid_cnn.app.dataset.images import SPLIT_NAMES, draw_gallery, opened
from covid_cnn.app.shared import datasets, elements
from covid_cnn.app.shared.elements import SYNTHETIC, escape_markdown
from covid_cnn.data.dataset import Dataset


def draw_page() -> None:
    """Show the page."""
    elements.draw_heading("Dataset")
    adding.draw_under_way()
    found, problems = datasets.all_datasets()
    for problem in problems:
        st.warning(escape_markdown(problem), icon=":material/folder_off:")
    if not found:
        st.write("There is no dataset here yet. A first one is a click away:")
        adding.draw_ways()
        return
    by_name = {dataset.name: dataset for dataset in found}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox("Dataset", list(by_name), key="dataset_name", persist_state="session", width=420)
        adding.offer_adding()
    dataset = by_name[name]
    st.markdown(_summary(dataset))
    audit.draw_badge(dataset, datasets.folder_stamp(dataset.root))
    images, whole, plane, checks = st.tabs(
        [
            ":material/photo_library: Images",
            ":material/bar_chart: Overview",
            ":material/scatter_plot: Map",
            ":material/fact_check: Audit",
        ]
    )
    with images:
        draw_gallery(dataset)
    with whole:
        overview.draw_overview(dataset)
    with plane:
        map.draw_map(dataset)
    with checks:
        audit.draw_audit(dataset, datasets.folder_stamp(dataset.root))
    opened(dataset)


def _summary(dataset: Dataset) -> str:
    patients = len({item.patient for item in dataset.items})
    splits = ", ".join(SPLIT_NAMES[split].lower() for split in dataset.splits)
    parts = [
        f"**{len(dataset.items)}** images",
        f"**{len(dataset.classes)}** classes",
        f"**{patients}** patients",
        splits,
    ]
    return " · ".join(parts) + (f"  \n{SYNTHETIC}" if dataset.synthetic else "")
