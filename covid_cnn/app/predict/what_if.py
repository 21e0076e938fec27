"""Questions to an answer: change the image and see it move, and test the heatmap by hiding parts of the image."""

from collections.abc import Hashable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import streamlit as st

from covid_cnn.app.shared import elements
from covid_cnn.common.statistics import percent
from covid_cnn.images import ops
from covid_cnn.images.radiograph import Radiograph
from covid_cnn.models import faithfulness, perturb
from covid_cnn.models.bundle import OCCLUSION, Bundle, Prediction
from covid_cnn.models.perturb import CHANGES, Step
from covid_cnn.reports import wording

WHAT_IF, OPINION = "Change the image", "Test the heatmap"
MEMORY = "what_if_memory"
KEPT = 100  # results in a session: a strip and every place of its last slider
SHOWN = 512  # px of a step's picture
DISAGREE = "The two maps disagree: do not read the heatmap."
AGREE = "The two maps mark the same place."


class _Answer(NamedTuple):
    """A changed image as it is shown, and what the model says of it."""

    pixels: np.ndarray
    prediction: Prediction


@st.fragment
def draw_panel(
    key: str,
    radiograph: Radiograph,
    prediction: Prediction,
    model: Bundle,
    shown_class: str | None = None,
    opacity: float = 0.5,
    colour_map: str = ops.DEFAULT_COLOUR_MAP,
) -> None:
    """The questions that can be put to one answer. Nothing is worked out before one is chosen.

    The ``key`` is of the image; the probability and the heatmap of the ``shown_class`` are followed, drawn as
    ``ops.overlay`` takes ``opacity`` and ``colour_map``.
    """
    question = st.segmented_control(
        "Question this answer",
        [WHAT_IF, OPINION],
        default=WHAT_IF,
        key=f"question {key}",
        label_visibility="collapsed",
    )
    view = _View(shown_class or prediction.label, opacity, colour_map)
    if question == WHAT_IF:
        _ask_what_if(key, radiograph, prediction, model, view)
    elif question == OPINION:
        _ask_opinion(key, radiograph, prediction, model, view)


class _View(NamedTuple):
    """Whose heatmap is shown, and how."""

    name: str
    opacity: float
    colour_map: str

    def overlay(self, pixels: np.ndarray, heatmap: np.ndarray) -> np.ndarray:
        return ops.overlay(ops.fit_within(pixels, SHOWN), heatmap, self.opacity, self.colour_map)


def _ask_what_if(key: str, radiograph: Radiograph, prediction: Prediction, model: Bundle, view: _View) -> None:
    steps = _choose_steps(f"what if {key}")
    strip = st.container()
    _set_last_step(f"what if {key}", steps)
    answers = [_Answer(ops.fit_within(radiograph.pixels, SHOWN), prediction)]
    with elements.draw_errors():
        answers += _answers(key, radiograph.pixels, model, steps)
        if steps:
            with strip:
                _draw_strip(steps, answers, view)


def _choose_steps(key: str) -> list[Step]:
    """The steps chosen so far."""
    steps: list[Step] = st.session_state.setdefault(f"{key} steps", [])

    def add() -> None:
        if change := st.session_state[f"{key} add"]:
            steps.append(Step(change, CHANGES[change].defaults()))
            st.session_state[f"{key} add"] = None

    st.pills(
        "Each change comes on top of those before",
        list(CHANGES),
        format_func=lambda name: CHANGES[name].title,
        key=f"{key} add",
        on_change=add,
        help="An answer that rests on the lungs survives a letter in the corner, and not the lungs hidden.",
    )
    return steps


def _set_last_step(key: str, steps: list[Step]) -> None:
    """Offer to change the last step by its sliders, and to take it away."""

    def undo() -> None:
        steps.pop()

    if not steps:
        return
    change = steps[-1].change
    names, settings = CHANGES[change].settings, {}
    if names:
        for (name, setting), place in zip(names.items(), st.columns(max(2, len(names))), strict=False):
            slider = f"{key} {len(steps)} {change} {name}"
            # Streamlit forgets a slider that is not shown; after an undo it stands where it stood.
            st.session_state.setdefault(slider, float(steps[-1].settings[name]))
            settings[name] = place.slider(
                setting.title, float(setting.low), float(setting.high), step=float(setting.step), key=slider
            )
        steps[-1] = Step(change, settings)
    with st.container(horizontal=True):
        st.button("Undo", icon=":material/undo:", key=f"{key} undo", on_click=undo)
        st.button("Reset", icon=":material/restart_alt:", key=f"{key} reset", on_click=steps.clear)


def _answers(key: str, pixels: np.ndarray, model: Bundle, steps: list[Step]) -> list[_Answer]:
    """The answer after each step. Only what is new is worked out."""
    names = [
        (key, model.name, *((step.change, *step.settings.values()) for step in steps[:n]))
        for n in range(1, len(steps) + 1)
    ]
    memory = _memory()
    if not all(name in memory for name in names):
        for name, changed in zip(names, perturb.apply_steps(pixels, steps), strict=True):
            if name not in memory:
                _remember(name, _Answer(ops.fit_within(changed, SHOWN), model.predict(changed)))
    return [memory[name] for name in names]


def describe_changes(steps: list[Step], predictions: list[Prediction]) -> list[str]:
    """A sentence of Markdown for each step that changed the answer, and one where none did.

    The predictions are those of the image as it is, and after each step.
    """
    sentences = []
    for n, step in enumerate(steps, 1):
        before, after = predictions[n - 1], predictions[n]
        if wording.open_classes(before) != wording.open_classes(after):
            verdicts = [elements.escape_markdown(wording.verdict(each)) for each in (before, after)]
            done = CHANGES[step.change].done + (" in the corner" if _in_corner(step) else "")
            sentences.append(f"**{done} changed the answer**, from {verdicts[0]} to **{verdicts[1]}**")
    return sentences or ["No change so far changed the answer."]


def _in_corner(step: Step) -> bool:
    place = step.settings
    return step.change == "stamp" and place["top"] <= 0.2 and (place["left"] <= 0.2 or place["left"] >= 0.7)


def _draw_strip(steps: list[Step], answers: list[_Answer], view: _View) -> None:
    """Which step changed the answer, and each step's picture with its probability."""
    for sentence in describe_changes(steps, [prediction for _, prediction in answers]):
        st.markdown(sentence)
    titles = ["As it is", *(f"{n}. {CHANGES[step.change].title}" for n, step in enumerate(steps, 1))]
    with st.container(horizontal=True):
        for title, (pixels, prediction) in zip(titles, answers, strict=True):
            with st.container(width=128):
                overlay = view.overlay(pixels, prediction.heatmap(view.name))
                share = f"{view.name} {prediction.by_class()[view.name]:.3f}"
                st.image(elements.data_address(overlay), width="stretch", alt=f"{title}: the X-ray with its heatmap")
                st.markdown(f"**{title}**  \n{elements.escape_markdown(share)}")
                verdict = " or ".join(wording.open_classes(prediction)) or "no answer"
                st.caption(elements.escape_markdown(verdict))
    with st.expander("The last image, larger"):
        pixels, prediction = answers[-1]
        st.image(elements.data_address(pixels), caption="Changed", width="stretch", alt="The changed X-ray")


# ---- a second opinion on the heatmap


def _ask_opinion(key: str, radiograph: Radiograph, prediction: Prediction, model: Bundle, view: _View) -> None:
    if prediction.explained_by == OCCLUSION:
        st.caption("The heatmap of this model is made by hiding one place after the other already.")
        return
    name = (key, model.name, view.name)
    if name not in _memory():
        st.caption(
            "The model is asked again and again with a part of the image hidden. Where hiding costs most, it looked: "
            "a heatmap that marks another place is not to be read."
        )
        # Which of the two buttons stands here is known before either is drawn, or the first would stay, pale.
        wish = f"{key} opinion wanted"
        if not st.session_state.pop(wish, False):
            want = partial(st.session_state.__setitem__, wish, True)
            st.button("Ask for it", key=f"opinion {key}", type="primary", help="It takes some seconds.", on_click=want)
            return
        st.button("Stop", icon=":material/stop:", key=f"stop {key}")  # a click ends this run of the page
        _remember(name, _hide_parts(radiograph.pixels, prediction, model, view))
        st.rerun()
    _draw_opinion(radiograph.pixels, prediction, view, _memory()[name])


def _hide_parts(pixels: np.ndarray, prediction: Prediction, model: Bundle, view: _View) -> np.ndarray:
    """How much the probability of the class falls when each place is hidden, ``[h, w]``."""
    line = "Hiding one place after the other"
    bar = st.progress(0.0, line)
    drops = faithfulness.occlusion(model, pixels, lambda done: bar.progress(done, line))
    return drops[..., prediction.classes.index(view.name)]


def _draw_opinion(pixels: np.ndarray, prediction: Prediction, view: _View, drops: np.ndarray) -> None:
    gradcam, occlusion = prediction.heatmap(view.name), faithfulness.heat_of(drops)
    agree = faithfulness.maps_agree(gradcam, occlusion)
    st.markdown(f"**{AGREE if agree else DISAGREE}**")
    name = elements.escape_markdown(view.name)
    captions = (
        f"Heatmap: what raised the score of {name}",
        f"Occlusion: where hiding lowers it, by {max(drops.max(), 0):.3f} at most",
    )
    for place, heat, caption in zip(st.columns(2), (gradcam, occlusion), captions, strict=True):
        overlay = elements.data_address(view.overlay(pixels, heat))
        place.image(overlay, caption=caption, width="stretch", alt=caption.replace("\\", ""))
    overlap = faithfulness.hottest_overlap(gradcam, occlusion) if gradcam.any() and occlusion.any() else 0.0
    st.caption(
        f"Of the hottest tenth they share {percent(overlap)}; by chance it is 10 %, and from "
        f"{percent(faithfulness.AGREE)} on they agree. Occlusion: Zeiler and Fergus 2014."
    )


def _memory() -> dict[Hashable, Any]:
    """What this session has worked out, the oldest first."""
    return st.session_state.setdefault(MEMORY, {})


def _remember(name: Hashable, result: Any) -> None:
    memory = _memory()
    memory[name] = result
    while len(memory) > KEPT:
        del memory[next(iter(memory))]
