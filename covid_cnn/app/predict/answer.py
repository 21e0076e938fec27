"""What a model says of one image: its label, the numbers behind it, and what each number means."""

import altair as alt
import pandas as pd
import streamlit as st

from covid_cnn.app.shared import elements
from covid_cnn.models.bundle import Bundle, Prediction
from covid_cnn.reports import wording

BAR = "#3b8fc4"  # seen on light ground and on dark
ANYWAY = "What the model would answer anyway"


def choose_reading(model: Bundle) -> bool:
    """Whether the answers are read as one class or not, where there are more and one is looked for."""
    if model.positive is None or len(model.classes) == 2:
        return False
    every, one = "All classes", f"{model.positive} or not"
    reading = st.segmented_control(
        "Reading",
        [every, one],
        default=every,
        required=True,
        key=f"predict_reading_{model.name}",
        help=f"The same answer read in two ways: which class it is, or only whether it is {model.positive}.",
    )
    return reading == one


def draw_verdict(prediction: Prediction, binary: bool = False) -> None:
    """The label, or that there is none."""
    st.metric("The model says", wording.read_prediction(prediction, binary).label or "Not sure")
    if not prediction.in_distribution:
        st.caption("It gives a label only to images like those it learned from.")


def draw_numbers(prediction: Prediction, binary: bool = False) -> None:
    """Every number with plain words beside it; of an image that the model does not know, behind a door."""
    if not prediction.in_distribution:
        st.caption(wording.likeness_sentence(prediction))
        elements.term_help("in_distribution")
        with st.expander(ANYWAY):
            st.caption("A network gives such numbers to any image. On one unlike those it knows they mean little.")
            st.altair_chart(draw_bars(prediction, binary))
        return
    st.altair_chart(draw_bars(prediction, binary))
    elements.term_help("probability")
    st.markdown(elements.escape_markdown(wording.decision_sentence(prediction, binary)))
    if prediction.threshold is not None:
        elements.term_help("threshold")
    if possible := wording.possible_classes(prediction, binary):
        st.markdown(
            f"**Could be {elements.escape_markdown(possible)}.** "
            f"{elements.escape_markdown(wording.coverage_sentence(prediction, binary))}"
        )
        elements.term_help("prediction_set")
    st.markdown(elements.escape_markdown(wording.likeness_sentence(prediction)))
    elements.term_help("in_distribution")


def draw_bars(prediction: Prediction, binary: bool = False) -> alt.LayerChart:
    """The probabilities as bars, that of the answer in full colour, with the threshold as a mark where there is one.

    The numbers stand in a column of their own, where no bar and no mark reaches them.
    """
    reading = wording.read_prediction(prediction, binary)
    table = pd.DataFrame({"class": list(reading.probabilities), "probability": list(reading.probabilities.values())})
    table["shown"] = table["probability"].map("{:.3f}".format)
    base = alt.Chart(table).encode(y=alt.Y("class:N", title=None, sort=None, axis=alt.Axis(labelLimit=160)))
    # The axis goes on beyond 1 for the numbers, and has no ticks there.
    scale = alt.Scale(domain=[0, 1.25], nice=False)
    axis = alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], format=".2~f")
    drawn = base.mark_bar(height=18, color=BAR, stroke=BAR, strokeWidth=1.5).encode(
        x=alt.X("probability:Q", scale=scale, axis=axis, title="calibrated probability"),
        fillOpacity=alt.condition(alt.datum["class"] == (reading.label or ""), alt.value(1.0), alt.value(0.25)),
        tooltip=["class:N", alt.Tooltip("probability:Q", format=".4f")],
    )
    text = base.mark_text(align="left", color="gray", fontSize=12).encode(x=alt.datum(1.04), text="shown:N")
    layers = [drawn, text]
    if reading.label and prediction.positive is not None and prediction.threshold is not None:
        rule = pd.DataFrame({"class": [prediction.positive], "threshold": [prediction.threshold]})
        tick = alt.Chart(rule).mark_tick(thickness=3, size=22, color="#d97706")
        layers.append(
            tick.encode(
                y=alt.Y("class:N", sort=None), x="threshold:Q", tooltip=alt.Tooltip("threshold:Q", format=".3f")
            )
        )
    return alt.layer(*layers).properties(height=60 + 34 * len(table))


def draw_seen(prediction: Prediction) -> None:
    """What the network was really given to see."""
    height, width = prediction.seen.shape
    with st.popover("What the network sees", icon=":material/visibility:", width="stretch"):
        st.image(elements.data_address(prediction.seen), width=width)
        st.caption(f"{width} x {height} px, grey, stretched to a square: all that the answer rests on.")
