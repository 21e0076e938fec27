"""The pages of the app, and the way from one to another."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import NoReturn

import streamlit as st
from streamlit.navigation.page import StreamlitPage
from streamlit.runtime.scriptrunner import get_script_run_ctx

from covid_cnn.app.shared import elements

ICON = Path(__file__).with_name("icon.png")  # a file, for Streamlit fetches a named icon from the internet
START, PREDICT, TRAIN, DATASET, EVALUATE, TOUR = "start", "predict", "train", "dataset", "evaluate", "tour"


def all_pages() -> dict[str, StreamlitPage]:
    """All pages by name, in the order of the navigation; made anew, for a page object belongs to one run of the app."""
    return {
        START: st.Page(_drawn_by("start"), title="Start", icon=":material/home:", default=True),
        PREDICT: st.Page(_drawn_by("predict"), title="Predict", icon=":material/radiology:", url_path=PREDICT),
        TRAIN: st.Page(_drawn_by("train"), title="Train", icon=":material/model_training:", url_path=TRAIN),
        DATASET: st.Page(_drawn_by("dataset"), title="Dataset", icon=":material/photo_library:", url_path=DATASET),
        EVALUATE: st.Page(_drawn_by("evaluate"), title="Evaluate", icon=":material/monitoring:", url_path=EVALUATE),
        TOUR: st.Page(_drawn_by("tour"), title="Tour", icon=":material/tour:", url_path=TOUR),
    }


def _drawn_by(module: str) -> Callable[[], None]:
    """What draws a page; it is imported when the page is opened, so that no page waits for the libraries of others."""

    def draw() -> None:
        elements.offer_stage_mode()
        import_module(f"covid_cnn.app.{module}.page").draw_page()

    return draw


def switch_to(name: str) -> NoReturn:
    """Leave this page for another, such as ``pages.switch_to(pages.PREDICT)``."""
    leave_for(all_pages()[name])


def leave_for(page: StreamlitPage) -> NoReturn:
    """Go to a page, whatever ticks on this one.

    A browser goes on asking for the parts of this page that draw themselves anew (``run_every``) until it hears of the
    other. Such a part, drawn after the other page, would clear it: no part is there to be drawn from here on.
    """
    if context := get_script_run_ctx():
        context.fragment_storage.clear()
    st.switch_page(page)
