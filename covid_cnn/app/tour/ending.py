"""The last two screens of the tour: the audience guesses before the model answers, and what to take home."""

import numpy as np
import streamlit as st

from covid_cnn.app import pages
from covid_cnn.app.shared import elements
from covid_cnn.app.shared.elements import escape_markdown
from covid_cnn.app.tour import screens
from covid_cnn.data.samples import SAMPLES
from covid_cnn.images import ops
from covid_cnn.models.bundle import Bundle

FILM = "healthy_adult"  # of the samples: a real one, whose truth is known
GUESSED = "tour_guess"  # key of the session: what the audience said
GUESSES = ("Ill", "Healthy", "Cannot tell")
WIDTH = 360  # pixels
MORAL = "A perfect score at home says nothing about the next hospital."
TAKE_AWAYS = (
    "**Ask where the images come from.** What tells the hospitals apart tells the classes apart.",
    "**Ask for another hospital.** With the number of people, and the interval.",
    "**Change what should not matter.** A letter in the corner must not change the answer.",
)


def draw_guess() -> None:
    """A real film: first the audience says what it shows, then the model, then the model with an R in the corner."""
    model = screens.default_model()
    film, pixels = SAMPLES[FILM].provenance, SAMPLES[FILM].read().pixels
    assert film  # it is a real film
    st.markdown("A real film. Is this person ill? Decide before the model does.")
    left, right = st.columns(2)
    left.image(
        ops.to_png(pixels),
        width=WIDTH,
        alt="A chest X-ray",
        caption=escape_markdown(f"{film.credit}. Licence: {film.licence}"),
    )
    with right:
        with st.container(horizontal=True):
            for guess in GUESSES:
                st.button(guess, key=f"tour_guess_{guess}", on_click=_keep, args=(guess,))
        if GUESSED not in st.session_state or model is None:
            return
        st.markdown(f"You said: **{st.session_state[GUESSED]}**. The truth: **{escape_markdown(film.truth)}**.")
        st.markdown(f"The model says: {_answer(model, pixels)}")
        stamped = ops.stamp(pixels, 0.02, 0.02, 0.12)
        st.image(
            ops.to_png(stamped),
            width=WIDTH // 2,
            caption="The same film, an R stamped in its corner",
            alt="The same film with an R",
        )
        st.markdown(f"Now the model says: {_answer(model, stamped)}")


def draw_ending() -> None:
    """The moral in a line, three things to take home, and the way to one's own X-ray."""
    st.markdown(f"## {MORAL}")
    for line in TAKE_AWAYS:
        st.markdown(f"- {line}")
    if st.button("Try your X-ray", type="primary", icon=":material/radiology:"):
        pages.switch_to(pages.PREDICT)


def _keep(guess: str) -> None:
    st.session_state[GUESSED] = guess


@st.cache_data(max_entries=8, show_spinner="The model looks")
def _told(name: str, digest: str, pixels: np.ndarray) -> str:
    told = elements.load_bundle(name).predict(pixels)
    shares = ", ".join(f"{label} {share:.0%}" for label, share in told.by_class().items())
    return shares if told.in_distribution else f"not sure: {told.warning}"


def _answer(model: Bundle, pixels: np.ndarray) -> str:
    return f"**{escape_markdown(_told(model.name, model.info.sha256, pixels))}**"
