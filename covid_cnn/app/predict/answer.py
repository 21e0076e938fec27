"""What a model says of one image: the card with the verdict, and behind a door the numbers and what each means."""

from collections.abc import Callable
from contextlib import nullcontext
from html import escape
from pathlib import Path
from typing import Any, TypeVar

import streamlit as st

from covid_cnn.app.shared import elements
from covid_cnn.common.statistics import percent
from covid_cnn.data.samples import Provenance
from covid_cnn.models.bundle import Bundle, Prediction
from covid_cnn.models.info import ModelInfo
from covid_cnn.reports import card, wording

ANYWAY = "What the model would answer anyway"
T = TypeVar("T")
MEMORY = "predict_memory"
_STYLE = Path(__file__).with_name("answer.css")


def draw_card(model: Bundle, prediction: Prediction, learned: bool = False, brief: bool = False) -> None:
    """The verdict, the bars, and a line on how far to trust them; of an image of no known kind the verdict alone.

    So too where it is to be ``brief``, for something else is seen below; ``learned`` images were in the training.
    """
    parts = [f'<p class="asked">{escape(model.name)} says</p>', f"<h2>{escape(wording.verdict(prediction))}</h2>"]
    if prediction.in_distribution and not brief:
        parts.append(render_bars(prediction))
    if learned:
        parts.append(f'<p class="trust alarm">{wording.LEARNED_FROM}</p>')
    elif not prediction.in_distribution:
        parts.append(f'<p class="trust">{wording.UNKNOWN_KIND_WHY}</p>')
    elif not brief:
        parts.append(f'<p class="trust">{escape(card.trust_sentence(model.info))}</p>')
    st.html(_STYLE)
    st.html(f'<section class="answer" aria-label="Answer">{"".join(parts)}</section>')


def draw_provenance(film: Provenance) -> None:
    """The truth of a real film, and whose it is."""
    source = f"[{elements.escape_markdown(film.source)}]({film.url})"
    credit = elements.escape_markdown(f"{film.credit}. {film.licence}.")
    st.caption(f"**Truth: {elements.escape_markdown(film.truth)}.** {source}; {credit}")


def render_bars(prediction: Prediction) -> str:
    """The probabilities as an HTML table with bars, those of the verdict in full colour.

    The threshold, where there is one, is a mark in the bar of the class that is looked for.
    """
    named = wording.open_classes(prediction)
    rows = []
    for name, probability in prediction.by_class().items():
        mark = ""
        if prediction.in_distribution and name == prediction.positive and prediction.threshold is not None:
            at = f"{100 * prediction.threshold:.1f}"
            mark = f'<i style="left:{at}%" title="decision threshold {prediction.threshold:.3f}"></i>'
        rows.append(
            f'<tr class="{"named" if name in named else "other"}"><th scope="row">{escape(name)}</th>'
            f'<td><span class="track" title="{probability:.4f}"><span style="width:{100 * probability:.1f}%"></span>'
            f'{mark}</span></td><td class="number">{percent(probability)}</td></tr>'
        )
    return f'<table class="bars" aria-label="Probabilities"><tbody>{"".join(rows)}</tbody></table>'


def draw_numbers(prediction: Prediction, info: ModelInfo) -> None:
    """Every number with plain words beside it; of an image that the model does not know, behind a door."""
    if not prediction.in_distribution:
        st.caption(wording.likeness_sentence(prediction))
        elements.term_help("in_distribution")
        with st.expander(ANYWAY):
            st.caption("A network gives such numbers to any image. On one unlike those it knows they mean little.")
            st.html(f'<section class="answer" aria-label="{ANYWAY}">{render_bars(prediction)}</section>')
        return
    elements.term_help("uncalibrated" if info.temperature == 1 else "probability")
    st.markdown(elements.escape_markdown(wording.decision_sentence(prediction)))
    if prediction.threshold is not None:
        elements.term_help("threshold")
    if possible := wording.possible_classes(prediction):
        coverage = elements.escape_markdown(wording.coverage_sentence(prediction))
        st.markdown(f"**Could be {elements.escape_markdown(possible)}.** {coverage}")
        elements.term_help("prediction_set")
    st.markdown(elements.escape_markdown(wording.likeness_sentence(prediction)))
    if prediction.resembles_training is not None:
        elements.term_help("in_distribution")


def draw_seen(prediction: Prediction) -> None:
    """What the network was really given to see."""
    height, width = prediction.prepared.shape
    with st.popover("What the network sees", icon=":material/visibility:", width="stretch"):
        st.image(
            elements.data_address(prediction.prepared),
            width=width,
            alt="The X-ray, small, grey and stretched to a square",
        )
        st.caption(f"{width} x {height} px, grey, stretched to a square: all that the answer rests on.")


# ---- what is kept of an image while it is chosen, so that nothing is read or predicted twice


def remember(image: str, what: str, make: Callable[[], T], slow: bool = False) -> T:
    """``make()``, made once for an image and session; one who waits for what is ``slow`` sees a spinner."""
    memory: dict[str, dict[str, Any]] = st.session_state.setdefault(MEMORY, {})
    kept = memory.setdefault(image, {})
    if what not in kept:
        with st.spinner("Reading and asking the model") if slow else nullcontext():  # a spinner is a thread
            kept[what] = make()
    return kept[what]


def forget(chosen: set[str]) -> None:
    """Drop what belongs to images that are no longer chosen."""
    memory = st.session_state.get(MEMORY, {})
    for image in set(memory) - chosen:
        del memory[image]
