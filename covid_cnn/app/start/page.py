"""The first page: one sentence, one film with a button that asks the model, and the other films small."""

import streamlit as st

from covid_cnn.app import pages
from covid_cnn.app.shared import elements
from covid_cnn.app.start import samples

SENTENCE = "Put a chest X-ray to a network that looks for COVID-19, see where it looked, and why not to trust it."


def draw_page() -> None:
    """The whole page."""
    elements.draw_heading("Covid CNN")
    elements.draw_notice()
    st.markdown(f"##### {SENTENCE}")
    large, small = st.columns((2, 3), gap="large")
    with large, st.container(key="film"):
        pressed = samples.choose_film()
    with small:
        pressed |= samples.choose_small_film()
    if pressed:
        pages.switch_to(pages.PREDICT)
    from covid_cnn.app.start import (
        gap,  # here, for its chart's libraries take seconds, in which one can look at the films
    )

    gap.draw_gap()
