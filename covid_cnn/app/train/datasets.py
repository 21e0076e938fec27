"""The first step of a training: the images, as two cards. Drawn by the program, or a person's own."""

from collections.abc import Mapping

import streamlit as st

from covid_cnn.app.dataset import adding
from covid_cnn.app.shared import elements
from covid_cnn.app.shared.elements import escape_markdown
from covid_cnn.data import synthetic
from covid_cnn.data.dataset import Dataset

DRAWN = "synthetic"  # the name under data/ of the dataset that the program draws
DATA, WANTED = "train_data", "train_data_wanted"  # keys of the session: the dataset, and that of a run made again
THUMBNAIL, SHOWN = 96, 3  # pixels, pictures


def choose_dataset(found: Mapping[str, Dataset]) -> str:
    """The name of the dataset to learn from; ``DRAWN`` also where it has yet to be drawn."""
    yours = [name for name in found if name != DRAWN]
    chosen = _chosen(found, yours)
    if (wanted := st.session_state.get(WANTED)) and wanted not in found:
        st.warning(
            f"The run learned from {escape_markdown(wanted)}, which is not under data/: add it, or take others.",
            icon=":material/photo_library:",
        )
    with st.container(border=True, key="train_drawn"):
        with st.container(horizontal=True, gap="xsmall"):
            for picture in _drawn_pictures():
                st.image(picture, width=THUMBNAIL, alt="A drawn chest X-ray")
        st.caption(f"{2 * sum(synthetic.COUNTS.values())} X-rays that the program draws, half with opacities.")
        _pick("Drawn", chosen == DRAWN, DRAWN)
    with st.container(border=True, key="train_yours"):
        if yours:
            st.selectbox(
                "Dataset",
                yours,
                index=yours.index(chosen) if chosen in yours else 0,
                format_func=lambda name: f"{name} ({len(found[name].items)} images)",
                key="train_yours_name",
                on_change=_take_yours,
            )
            with st.container(horizontal=True):
                _pick("Yours", chosen != DRAWN, st.session_state["train_yours_name"])
                adding.offer_adding()
        else:
            st.caption("Your own images: a .zip, a folder, or from Kaggle.")
            adding.offer_adding()
    return chosen


def _chosen(found: Mapping[str, Dataset], yours: list[str]) -> str:
    """What was chosen before; to begin with, a person's own images."""
    name = st.session_state.get(DATA)
    if name not in found and name != DRAWN:  # of a run whose dataset is gone, or was never under data/
        name = yours[0] if yours else DRAWN
    st.session_state[DATA] = name
    if name in yours:
        st.session_state["train_yours_name"] = name
    return str(name)


def _pick(label: str, is_chosen: bool, name: str) -> None:
    """The button of a card; it tells by its colour and its icon whether the card is chosen."""
    st.button(
        label,
        type="primary" if is_chosen else "secondary",
        icon=":material/radio_button_checked:" if is_chosen else ":material/radio_button_unchecked:",
        key=f"train_pick_{label}",
        on_click=_take,
        args=(name,),
    )


def _take(name: str) -> None:
    st.session_state[DATA] = name
    st.session_state.pop(WANTED, None)


def _take_yours() -> None:
    _take(st.session_state["train_yours_name"])


@st.cache_data(show_spinner=False)
def _drawn_pictures() -> list[str]:
    return [
        elements.data_address(synthetic.draw_radiograph(seed, bool(seed % 2), 2 * THUMBNAIL)) for seed in range(SHOWN)
    ]
