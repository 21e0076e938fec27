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


def offer_comparison(model: Bundle) -> None:
    """The choice to ask other models as well; once asked, they answer to each image that is chosen."""
    if others := _others(model):
        st.toggle(elements.escape_markdown(f"Ask {' and '.join(others)} as well"), key=ASKED)


def _others(model: Bundle) -> list[str]:
    """Of the default and the notebook's, those that are here and not chosen."""
    found, _ = bundle.discover_bundles()
    return [name for name in (bundle.DEFAULT_MODEL, NOTEBOOK) if name in found and name != model.name]


def ask_others(key: str, radiograph: Radiograph, model: Bundle) -> dict[str, tuple[Bundle, Prediction]]:
    """What the other models say, by name, where a person wants to know."""
    if not st.session_state.get(ASKED):
        return {}
    answers = {}
    for name in _others(model):
        try:
            other = elements.load_bundle(name)
        except CovidCnnError as error:
            st.error(elements.escape_markdown(str(error)))
            continue
        answers[name] = other, memory.remember(key, name, partial(other.predict, radiograph.pixels))
    return answers


def draw_others(radiograph: Radiograph, answers: dict[str, tuple[Bundle, Prediction]], shown: viewer.Shown) -> None:
    """One column a model: its answer, its probabilities, and where it looked, with heat drawn as in the viewer."""
    st.markdown("###### The same image, asked of each model")
    for column, (model, prediction) in zip(st.columns(len(answers)), answers.values(), strict=True):
        with column.container(border=True):
            answer.draw_card(model, prediction)
            if prediction.in_distribution:
                _heatmap(radiograph, prediction, shown)
            else:
                st.caption(wording.likeness_sentence(prediction))
                with st.expander(answer.ANYWAY):
                    st.html(answer.render_bars(prediction))
                    _heatmap(radiograph, prediction, shown)


def _heatmap(radiograph: Radiograph, prediction: Prediction, shown: viewer.Shown) -> None:
    heatmap = prediction.heatmaps[..., prediction.classes.index(prediction.label)]
    pixels = ops.fit_within(radiograph.pixels, 512)
    overlay = ops.overlay(pixels, heatmap, shown.opacity, shown.colour_map)
    told = "what speaks for" if heatmap.any() else "nothing here speaks for"
    caption = f"Grad-CAM: {told} {prediction.label}"
    st.image(
        elements.data_address(overlay),
        caption=elements.escape_markdown(caption),
        width="stretch",
        alt=f"The X-ray with its heatmap. {caption}",
    )
