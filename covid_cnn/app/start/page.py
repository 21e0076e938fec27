"""The first page: what this is, in three lines, and a sample to try with one click."""

import streamlit as st

from covid_cnn.app import pages
from covid_cnn.app.shared import elements
from covid_cnn.app.start import samples


def draw_page() -> None:
    """The whole page."""
    st.title("Covid CNN")
    st.markdown(
        "Networks that look for COVID-19 pneumonia on chest X-rays score close to 100 % on their own test images, "
        "and fail at the next hospital.  \n"
        "Here you can put an X-ray to such a network, see where it looked, and find out why not to trust it.  \n"
        "Train one yourself in a minute, and look through the images that it learned from."
    )
    elements.draw_notice()
    st.subheader("Try one")
    if samples.choose_sample():
        pages.switch_to(pages.PREDICT)
    from covid_cnn.app.start import (
        gap,  # here, for its chart's libraries take seconds, in which one can look at the samples
    )

    gap.draw_gap()
    st.subheader("Go on")
    every = pages.all_pages()
    doors = {
        pages.PREDICT: "Upload X-rays of your own, several at once: PNG, JPEG, WebP, BMP, TIFF or DICOM.",
        pages.TRAIN: "Choose a dataset and a network, and watch the loss fall.",
        pages.DATASET: "Browse the images, and let the program tell what is wrong with them.",
        pages.EVALUATE: "Test a model on images of your own choice, at home and away.",
        pages.TOUR: "Why 100 % is not 100 %, in pictures, to show to others.",
    }
    for column, (name, text) in zip(st.columns(len(doors)), doors.items(), strict=True):
        with column.container(border=True, height="stretch"):
            st.page_link(every[name])
            st.caption(text)
