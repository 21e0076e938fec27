"""The first page: one sentence, one film with a button that asks the model, and the other films small."""

import msgspec
import pandas as pd
import streamlit as st

from covid_cnn.app import pages
from covid_cnn.app.shared import elements
from covid_cnn.data.samples import FILM_KEYS, SAMPLES
from covid_cnn.images import ops
from covid_cnn.models import bundle

SENTENCE = "Put a chest X-ray to a network that looks for COVID-19, see where it looked, and why not to trust it."


def draw_page() -> None:
    """The whole page."""
    elements.draw_heading("Covid CNN")
    elements.draw_notice()
    st.markdown(f"## {SENTENCE}")
    large, small = st.columns((2, 3), gap="large")
    with large, st.container(key="film"):
        pressed = choose_film()
    with small:
        pressed |= choose_small_film()
    if pressed:
        pages.switch_to(pages.PREDICT)
    _draw_gap()


def _draw_gap() -> None:
    """Specificity at home and away, for every model that was measured on both."""
    import altair as alt  # here, for it takes a while, in which one can look at the films

    models, _ = bundle.discover_bundles()
    rows = []
    for name, info in models.items():
        tests = {"Its own test images": info.metrics.test} | info.metrics.other
        for where, report in tests.items():
            if report and len(tests) > 1 and (interval := report.specificity):
                rows.append({"model": name, "where": where} | msgspec.to_builtins(interval))
    if not rows:
        return
    st.header("The gap")
    if default := models.get(bundle.DEFAULT_MODEL):
        st.markdown(
            f"The default model, {bundle.DEFAULT_MODEL}, was made to narrow it. "
            + elements.escape_markdown(" ".join(default.headlines))
        )
    st.markdown(
        "The models that know the notebook's images alone: how many healthy people each calls healthy (specificity), "
        "at home and at another hospital."
    )
    places = list(dict.fromkeys(row["where"] for row in rows))  # at home first
    base = alt.Chart(pd.DataFrame(rows)).encode(
        y=alt.Y("model:N", title=None, sort=None),
        yOffset=alt.YOffset("where:N", sort=places),
    )
    scale = alt.Scale(domain=[0, 1])
    x = alt.X("value:Q", scale=scale, title="specificity, with its 95 % interval", axis=alt.Axis(format="%"))
    colour = alt.Color(
        "where:N", sort=places, title=None, legend=alt.Legend(orient="top", direction="vertical", labelLimit=400)
    )
    tooltip = ["where:N", *(alt.Tooltip(f"{key}:Q", format=".3f") for key in ("value", "low", "high")), "n:Q"]
    layers = [
        base.mark_bar(height=16, opacity=0.8).encode(x=x, color=colour, tooltip=tooltip),
        base.mark_rule(strokeWidth=2, color="gray").encode(x=alt.X("low:Q", scale=scale), x2="high:Q"),
    ]
    chart = alt.layer(*layers).properties(height=130 + 70 * len({row["model"] for row in rows}))
    st.altair_chart(chart, alt="Specificity of each model at home and at another hospital")


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
