"""The pages of the app, and the way from one to another."""

from pathlib import Path
from typing import NoReturn

import streamlit as st
from streamlit.navigation.page import StreamlitPage

ICON = Path(__file__).with_name("icon.png")  # a file, for Streamlit fetches a named icon from the internet
START, PREDICT, TRAIN, DATASET, EVALUATE, TOUR = "start", "predict", "train", "dataset", "evaluate", "tour"


def every() -> dict[str, StreamlitPage]:
    """All pages by name, in the order of the navigation; made anew, for a page object belongs to one run of the app."""
    from covid_cnn.app import dataset, evaluate, home, predict, tour, train  # here, because they import this module

    return {
        START: st.Page(home.page, title="Start", icon=":material/home:", default=True),
        PREDICT: st.Page(predict.page, title="Predict", icon=":material/radiology:", url_path=PREDICT),
        TRAIN: st.Page(train.page, title="Train", icon=":material/model_training:", url_path=TRAIN),
        DATASET: st.Page(dataset.page, title="Dataset", icon=":material/photo_library:", url_path=DATASET),
        EVALUATE: st.Page(evaluate.page, title="Evaluate", icon=":material/monitoring:", url_path=EVALUATE),
        TOUR: st.Page(tour.page, title="Tour", icon=":material/tour:", url_path=TOUR),
    }


def switch(name: str) -> NoReturn:
    """Leave this page for another, such as ``pages.switch(pages.PREDICT)``."""
    st.switch_page(every()[name])
