"""The first page: what this is, in three lines, and a sample to try with one click."""

import streamlit as st

from covid_cnn.app import gallery, pages, shared


def page() -> None:
    """The whole page."""
    st.title("Covid CNN")
    st.markdown(
        "Networks that look for COVID-19 pneumonia on chest X-rays score close to 100 % on their own test images, "
        "and fail at the next hospital.  \n"
        "Here you can put an X-ray to such a network, see where it looked, and find out why not to trust it.  \n"
        "Train one yourself in a minute, and look through the images that it learned from."
    )
    shared.notice()
    st.subheader("Try one")
    if gallery.choose():
        pages.switch(pages.PREDICT)
    from covid_cnn.app import gap  # here, for its chart's libraries take seconds, in which one can look at the samples

    gap.draw()
    st.subheader("Go on")
    every = pages.every()
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
