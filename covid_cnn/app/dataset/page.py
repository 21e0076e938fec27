"""The dataset page: look through the datasets under data/, check them, and add others."""

from collections.abc import Callable

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from covid_cnn.app.dataset import adding, audit, images, map, overview
from covid_cnn.app.dataset.images import SPLIT_NAMES
from covid_cnn.app.shared import elements, library
from covid_cnn.app.shared.elements import SYNTHETIC, escape_markdown
from covid_cnn.data.dataset import Dataset

PLACE = "dataset_place"  # key of the session: the dataset that was drawn last, and in which of two places


def draw_page() -> None:
    """Show the page."""
    elements.draw_heading("Dataset")
    adding.draw_under_way()
    adding.draw_unfinished()
    datasets, problems = library.all_datasets()
    for problem in problems:
        st.warning(escape_markdown(problem), icon=":material/folder_off:")
    if not datasets:
        st.write("There is no dataset here yet: draw one, bring your own, or fetch one from Kaggle.")
        adding.offer_adding(primary=True)
        return
    by_name = {dataset.name: dataset for dataset in datasets}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox("Dataset", list(by_name), key="dataset_name", persist_state="session", width=420)
        adding.offer_adding()
    dataset = by_name[name]
    with _place_of(name):
        _draw_dataset(dataset)
    images.draw_opened(dataset)


def _place_of(name: str) -> DeltaGenerator:
    """Where a dataset is drawn: of two places the one that the dataset before it did not have.

    The browser empties the other at once. In one place the images of the dataset before would stay, under the new
    name, until each is overtaken by one of the new images.
    """
    last, turn = st.session_state.get(PLACE, ("", 0))
    turn = turn if name == last else 1 - turn
    st.session_state[PLACE] = name, turn
    return [st.empty(), st.empty()][turn].container()


def _draw_dataset(dataset: Dataset) -> None:
    with st.container(key="dataset_named", horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(_summary(dataset), width="content")
        if dataset.synthetic:
            st.markdown(SYNTHETIC, width="content")
        audit.draw_badge(dataset)
    tabs: dict[str, Callable[[Dataset], None]] = {
        ":material/photo_library: Images": images.draw_gallery,
        ":material/bar_chart: Overview": overview.draw_overview,
        ":material/scatter_plot: Map": map.draw_map,
        ":material/fact_check: Audit": audit.draw_audit,
    }
    for tab, draw in zip(st.tabs(list(tabs)), tabs.values(), strict=True):
        with tab:
            draw(dataset)


def _summary(dataset: Dataset) -> str:
    patients = len({item.patient for item in dataset.items})
    splits = ", ".join(SPLIT_NAMES[split].lower() for split in dataset.splits)
    parts = [
        f"{escape_markdown(dataset.name)}: **{len(dataset.items)}** images",
        f"**{len(dataset.classes)}** classes",
        f"**{patients}** patients",
        splits,
    ]
    return " · ".join(parts)
