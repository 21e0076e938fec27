"""Several models asked about the same image, side by side."""

from functools import partial

import streamlit as st

from covid_cnn.app.predict import answer, memory, viewer
from covid_cnn.app.shared import elements
from covid_cnn.common.errors import CovidCnnError
from covid_cnn.images import ops
from covid_cnn.images.radiograph import Radiograph
from covid_cnn.models import bundle
from covid_cnn.models.bundle import Bundle, Prediction
from covid_cnn.reports import wording

NOTEBOOK = "notebook_cnn"  # where this project began
ASKED = "predict_compare"  # in the session: whether the other models are asked as well


def offer_other_model(model: Bundle) -> None:
    """A button that asks the other models as well, while they are not asked."""
    others = _others(model)
    if others and not st.session_state.get(ASKED):
        st.button(f"Ask {elements.escape_markdown(' and '.join(others))} as well", key="ask others", on_click=_ask)


def _ask() -> None:
    st.session_state[ASKED] = True


def _others(model: Bundle) -> list[str]:
    """Of the default and the notebook's, those that are here and not chosen."""
    found, _ = bundle.discover_bundles()
    return [name for name in (bundle.DEFAULT_MODEL, NOTEBOOK) if name in found and name != model.name]


def choose_other_model(key: str, radiograph: Radiograph, model: Bundle) -> dict[str, Prediction]:
    """What the other models say, by name, if a person asks; once asked, they answer to each image that is chosen."""
    others = _others(model)
    if not others:
        return {}
    if not st.toggle(elements.escape_markdown(f"Compare models: ask {' and '.join(others)} as well"), key=ASKED):
        return {}
    answers = {}
    for name in others:
        try:
            other = elements.load_bundle(name)
        except CovidCnnError as error:
            st.error(elements.escape_markdown(str(error)))
            continue
        answers[name] = memory.remember(key, name, partial(other.predict, radiograph.pixels))
    return answers


def draw_other(radiograph: Radiograph, answers: dict[str, Prediction], shown: viewer.Shown) -> None:
    """One column a model: its answer, its probabilities, and where it looked, with heat drawn as in the viewer."""
    st.markdown("###### The same image, asked of each model")
    for column, (name, prediction) in zip(st.columns(len(answers)), answers.items(), strict=True):
        with column.container(border=True):
            st.markdown(f"**{elements.escape_markdown(name)}**")
            answer.draw_verdict(prediction)
            if prediction.in_distribution:
                _details(radiograph, prediction, shown)
            else:
                st.caption(wording.likeness_sentence(prediction))
                with st.expander(answer.ANYWAY):
                    _details(radiograph, prediction, shown)


def _details(radiograph: Radiograph, prediction: Prediction, shown: viewer.Shown) -> None:
    st.altair_chart(answer.draw_bars(prediction))
    if possible := wording.possible_classes(prediction):
        st.markdown(f"**Could be {elements.escape_markdown(possible)}.**")
    heatmap = prediction.heatmaps[..., prediction.classes.index(prediction.label)]
    pixels = ops.fit_within(radiograph.pixels, 512)
    overlay = ops.overlay(pixels, heatmap, shown.opacity, shown.colour_map)
    told = "what speaks for" if heatmap.any() else "nothing here speaks for"
    st.image(
        elements.data_address(overlay),
        caption=f"Grad-CAM: {told} {elements.escape_markdown(prediction.label)}",
        width="stretch",
    )
