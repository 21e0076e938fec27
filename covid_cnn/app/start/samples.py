"""The real films as cards with a picture: one large, the others small."""

import streamlit as st

from covid_cnn.app.shared import elements
from covid_cnn.data.samples import FILM_KEYS, SAMPLES
from covid_cnn.images import ops

SAMPLE = "predict_sample"  # in the session: the sample to ask about
SMALL, LARGE = 320, 512  # px of the pictures


def choose_film() -> bool:
    """One film with a prominent button, which puts its key under ``SAMPLE`` of the session; tells if it was pressed."""
    first = FILM_KEYS[0]
    st.image(_picture(first, LARGE), width="stretch", alt=_describe(first))
    return st.button(
        "Ask the model",
        key=f"try {first}",
        icon=":material/radiology:",
        type="primary",
        width="stretch",
        on_click=_keep,
        args=(first,),
    )


def choose_small_film() -> bool:
    """The other films, a card each, whose button does the same."""
    pressed = False
    with st.container(key="films"):
        for key in FILM_KEYS[1:]:
            with st.container(key=f"film_{key}"):
                st.image(_picture(key, SMALL, square=True), width="stretch", alt=_describe(key))
                pressed |= st.button(SAMPLES[key].title, key=f"try {key}", on_click=_keep, args=(key,), width="stretch")
    return pressed


def _describe(key: str) -> str:
    return f"Chest X-ray: {SAMPLES[key].title}"


def _keep(key: str) -> None:
    st.session_state[SAMPLE] = key


@st.cache_data(show_spinner=False)
def _picture(key: str, longest: int, square: bool = False) -> str:
    """The film, or a square of it."""
    pixels = ops.fit_within(SAMPLES[key].read().pixels, longest)
    if square:
        side = min(pixels.shape)
        top = (pixels.shape[0] - side) // 4
        left = (pixels.shape[1] - side) // 2
        pixels = pixels[top : top + side, left : left + side]
    return elements.data_address(pixels)
