"""The samples as cards with a picture, for those who would rather look than read."""

from typing import Literal

import streamlit as st

from covid_cnn.app.shared import elements
from covid_cnn.common.errors import CovidCnnError
from covid_cnn.data.samples import SAMPLES
from covid_cnn.images import ops

SAMPLE = "predict_sample"  # in the session: the sample to ask about
CARD = 200  # px wide


def choose_sample() -> bool:
    """A card for each sample, whose button puts its key under ``SAMPLE`` of the session; tells if one was pressed."""
    pressed = False
    with st.container(horizontal=True, gap="small"):
        for key, sample in SAMPLES.items():
            with st.container(border=True, width=CARD, height="stretch"):
                try:
                    st.image(_thumbnail(key), width="stretch")
                except CovidCnnError as error:
                    st.caption(elements.escape_markdown(str(error)))
                    continue
                st.markdown(f"**{sample.title}**")
                st.caption(sample.story)
                kind: Literal["primary", "secondary"] = "primary" if key == "chest" else "secondary"
                pressed |= st.button(
                    "Ask the model", key=f"try {key}", type=kind, on_click=_keep, args=(key,), width="stretch"
                )
    return pressed


def _keep(key: str) -> None:
    st.session_state[SAMPLE] = key


@st.cache_data(show_spinner=False)
def _thumbnail(key: str) -> str:
    """A square of the sample."""
    pixels = ops.fit_within(SAMPLES[key].read().pixels, 320)
    side = min(pixels.shape)
    top = (pixels.shape[0] - side) // 4
    left = (pixels.shape[1] - side) // 2
    return elements.data_address(pixels[top : top + side, left : left + side])
