"""One image with its answer, in one look: the viewer, and beside it the card with the ways to go on."""

import json
from datetime import UTC, datetime
from functools import partial
from typing import Literal

import streamlit as st

from covid_cnn import __version__
from covid_cnn.app.predict import answer, viewer, what_if
from covid_cnn.app.shared import elements, library
from covid_cnn.common.errors import CovidCnnError
from covid_cnn.data.samples import Provenance
from covid_cnn.evaluation import leakage
from covid_cnn.images import ops
from covid_cnn.images.radiograph import Radiograph
from covid_cnn.models import bundle
from covid_cnn.models.bundle import Bundle, Prediction
from covid_cnn.reports import wording
from covid_cnn.reports.prediction import summarize_prediction

WINDOW_HELP = (
    "The window that the model sees says how the file's values become greys for it. The viewer starts with it, and "
    "looks at all values."
)
WHAT_IF = "predict_what_if"  # in the session: whether the image is being changed
SHARES = (6, 4)  # of the width: the viewer and the card
ASKED = "predict_compare"  # in the session: the other models that are asked as well


def draw_explained(
    key: str,
    radiograph: Radiograph,
    prediction: Prediction,
    model: Bundle,
    model_key: str,
    film: Provenance | None = None,
) -> None:
    """The image and all that is said of it; of one that the model does not know, no label.

    The ``key`` is of the image, its frame and its window; the session keeps the name of the model under ``model_key``;
    a ``film`` is one of the real ones among the samples.
    """
    left, right = st.columns(SHARES, gap="medium")
    others = _ask_others(key, radiograph, model)
    answers = {model.name: prediction} | {name: other for name, (_, other) in others.items()}
    with left.container(key="look"):
        shown = _viewer(key, radiograph, answers)
    with right:
        asking = bool(st.session_state.get(WHAT_IF))
        answer.draw_card(model, prediction, _is_learned(key, radiograph, model), brief=asking)
        if not asking:
            if radiograph.synthetic:
                st.markdown(elements.SYNTHETIC)
            for warning in radiograph.warnings:
                st.warning(elements.escape_markdown(warning), icon=":material/warning:")
            if film:
                answer.draw_provenance(film)
        with st.container(horizontal=True, gap="small"):
            kind: Literal["primary", "secondary"] = "primary" if asking else "secondary"
            st.button("What if?", key="what if", icon=":material/science:", type=kind, on_click=_turn_what_if)
            with st.popover("Another model", icon=":material/compare:"):
                library.choose_model(model_key)
                if names := _others(model):
                    st.pills(
                        "Ask as well", names, selection_mode="multi", format_func=elements.escape_markdown, key=ASKED
                    )
            _offer_report(key, radiograph, prediction, model, shown.name)
        if asking:
            what_if.draw_panel(key, radiograph, prediction, model, shown.name, shown.opacity, shown.colour_map)
        with st.expander("How good is it?", icon=":material/fact_check:"):
            library.draw_trust(model)
        with st.expander("The numbers", icon=":material/menu_book:"):
            st.caption(f"{elements.escape_markdown(radiograph.origin)}. {viewer.map_facts(radiograph)}")
            if len(radiograph.windows) > 1:
                st.caption(WINDOW_HELP)
            answer.draw_numbers(prediction, model.info)
            elements.term_help("occlusion" if prediction.explained_by == bundle.OCCLUSION else "grad_cam")
            answer.draw_seen(prediction)
    if others:
        _draw_others(radiograph, {model.name: (model, prediction)} | others, shown)


def _turn_what_if() -> None:
    st.session_state[WHAT_IF] = not st.session_state.get(WHAT_IF)


def _is_learned(key: str, radiograph: Radiograph, model: Bundle) -> bool:
    def look() -> bool:
        learned = _fingerprint(model.name, model.info.sha256)
        return learned is not None and leakage.is_training_image(radiograph, learned)

    return answer.remember(key, f"learned {model.name}", look)


@st.cache_resource(max_entries=8, show_spinner=False)
def _fingerprint(name: str, digest: str) -> leakage.TrainingFingerprint | None:
    """By what the training images of a model are known again; None where it brings nothing to tell."""
    try:
        return leakage.training_fingerprint(elements.load_bundle(name))
    except CovidCnnError:  # the Evaluate page says what is wrong with it
        return None


def choose_frame_and_window(key: str, frames: int, windows: tuple[str, ...]) -> None:
    """Offer what a file has several of; `chosen_frame_and_window` tells what was chosen, from the next run on."""
    if frames > 1:
        st.number_input(f"Frame, of {frames}", 1, frames, key=f"predict_frame {key}", width=160)
    if len(windows) > 1:
        st.selectbox(
            "Window that the model sees",
            windows,
            key=f"predict_window {key}",
            format_func=lambda window: f"The model sees: {window}",
            label_visibility="collapsed",  # a line above it would push the viewer's tools off a projector's screen
            width=380,
        )


def chosen_frame_and_window(key: str, windows: tuple[str, ...]) -> tuple[int, int | None]:
    """What `reader.read` takes: the frame from 0, and the window, if it is not the first."""
    window, frame = st.session_state.get(f"predict_window {key}"), st.session_state.get(f"predict_frame {key}", 1)
    return frame - 1, windows.index(window) if window in windows[1:] else None


def _viewer(key: str, radiograph: Radiograph, answers: dict[str, Prediction]) -> viewer.Shown:
    """The viewer with the heatmaps of all classes of all models; what is shown of the first model."""
    maps = [
        viewer.Map(name, each, prediction.heatmaps[..., k], prediction.explained_by.partition(" ")[0])
        for name, prediction in answers.items()
        for k, each in enumerate(prediction.classes)
    ]
    places = [(each.model, each.name) for each in maps]
    predicted = [places.index((name, prediction.label)) for name, prediction in answers.items()]
    model, prediction = next(iter(answers.items()))
    image = answer.remember(key, "viewer", lambda: viewer.packed(radiograph))
    if viewer.is_enhanced(f"viewer {key}"):
        image = image | {"enhanced": answer.remember(key, "enhanced", lambda: viewer.enhanced(radiograph))}
    shown = viewer.show_viewer(
        f"viewer {key}",
        image,
        maps,
        first=predicted[0],
        second=predicted[1] if len(predicted) > 1 else None,
        heat=prediction.in_distribution,
        headline=wording.verdict(prediction),
    )
    if shown.model == model and shown.name in prediction.classes:
        return shown
    return shown._replace(model=model, name=prediction.label)


def _offer_report(key: str, radiograph: Radiograph, prediction: Prediction, model: Bundle, shown: str) -> None:
    """The report in two forms. Callables, so that the page need not wait for a PDF that nobody wants."""

    def page() -> bytes:
        from covid_cnn.reports import pdf  # here, as its library takes a while to load

        return pdf.render_report(radiograph, prediction, model.info, shown, __version__, datetime.now(UTC))

    def facts() -> str:
        summary = summarize_prediction(radiograph, prediction, model.info, __version__, datetime.now(UTC))
        return json.dumps(summary, indent=2) + "\n"

    with st.popover("Report", icon=":material/description:"):
        elements.offer_download("Report (PDF)", page, "report.pdf", key=f"report.pdf {key}", width="stretch")
        elements.offer_download("Report (JSON)", facts, "report.json", key=f"report.json {key}", width="stretch")
        st.caption("The report holds no file name and nothing of the patient. The viewer's own button saves its image.")


def _others(model: Bundle) -> list[str]:
    """The models that are here and not chosen, one's own among them."""
    models, _ = bundle.discover_bundles()
    return [name for name in models if name != model.name]


def _ask_others(key: str, radiograph: Radiograph, model: Bundle) -> dict[str, tuple[Bundle, Prediction]]:
    """What the other models say, by name, where a person wants to know."""
    wanted = st.session_state.get(ASKED)
    if not wanted:
        return {}
    wanted = st.session_state[ASKED] = [name for name in _others(model) if name in wanted]  # another may be chosen now
    answers = {}
    for name in wanted:
        with elements.draw_errors():
            other = elements.load_bundle(name)
            answers[name] = other, answer.remember(key, name, partial(other.predict, radiograph.pixels), slow=True)
    return answers


def _draw_others(radiograph: Radiograph, answers: dict[str, tuple[Bundle, Prediction]], shown: viewer.Shown) -> None:
    """One column a model: its answer, its probabilities, and where it looked, with heat drawn as in the viewer."""
    st.markdown("## The same image, asked of each model")
    columns = st.container(key="others").columns(len(answers))
    for column, (model, prediction) in zip(columns, answers.values(), strict=True):
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
    heatmap = prediction.heatmap()
    pixels = ops.fit_within(radiograph.pixels, 512)
    overlay = ops.overlay(pixels, heatmap, shown.opacity, shown.colour_map)
    what = "what speaks for" if heatmap.any() else "nothing here speaks for"
    caption = f"{prediction.explained_by.partition(' ')[0]}: {what} {prediction.label}"
    st.image(
        elements.data_address(overlay),
        caption=elements.escape_markdown(caption),
        width="stretch",
        alt=f"The X-ray with its heatmap. {caption}",
    )
