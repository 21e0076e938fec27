"""Questions to an answer: change the image and see it move, and test the heatmap by taking parts of the image away."""

from collections.abc import Hashable
from typing import Any, NamedTuple

import altair as alt
import numpy as np
import pandas as pd
import streamlit as st

from covid_cnn.app.predict import answer
from covid_cnn.app.shared import elements
from covid_cnn.common.errors import CovidCnnError
from covid_cnn.images import ops
from covid_cnn.images.radiograph import Radiograph
from covid_cnn.models import faithfulness, perturb
from covid_cnn.models.bundle import Bundle, Prediction
from covid_cnn.models.faithfulness import FaithfulnessResult, Trial
from covid_cnn.models.perturb import CHANGES, Step

WHAT_IF, OPINION = "What if the image were another?", "A second opinion on the heatmap"
MEMORY = "what_if_memory"
KEPT = 100  # results in a session: a strip and every place of its last slider
SHOWN = 512  # px of a step's picture
HEATMAP, OCCLUSION, CHANCE = "the heatmap", "the occlusion map", "random order"


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

    Parameters
    ----------
    key : of the image, its own on the page
    shown_class : whose probability and heatmap are followed; None follows the class that the model named
    opacity, colour_map : of the heatmaps, as ``ops.overlay`` takes them
    """
    question = st.segmented_control("Question this answer", [WHAT_IF, OPINION], key=f"question {key}")
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

    def heatmap(self, prediction: Prediction) -> np.ndarray:
        return prediction.heatmaps[..., prediction.classes.index(self.name)]


# What if


def _ask_what_if(key: str, radiograph: Radiograph, prediction: Prediction, model: Bundle, view: _View) -> None:
    steps = _choose_steps(f"what if {key}")
    answers = [_Answer(ops.fit_within(radiograph.pixels, SHOWN), prediction)]
    try:
        answers += _answers(key, radiograph.pixels, model, steps)
    except CovidCnnError as error:
        st.error(elements.escape_markdown(str(error)), icon=":material/error:")
        return
    if steps:
        _strip(["As it is", *(f"{i}. {CHANGES[step.change].title}" for i, step in enumerate(steps, 1))], answers, view)


def _choose_steps(key: str) -> list[Step]:
    """The steps chosen so far, the last as its sliders stand."""
    steps: list[Step] = st.session_state.setdefault(f"{key} steps", [])

    def add() -> None:
        if change := st.session_state[f"{key} add"]:
            steps.append(Step(change, CHANGES[change].defaults()))
            st.session_state[f"{key} add"] = None

    def undo() -> None:
        steps.pop()

    st.pills(
        "Change the image; each change comes on top of those before",
        list(CHANGES),
        format_func=lambda name: CHANGES[name].title,
        key=f"{key} add",
        on_change=add,
    )
    if not steps:
        st.caption("An answer that rests on the lungs survives a letter in the corner, and not the lungs hidden.")
        return steps
    change = steps[-1].change
    names, settings = CHANGES[change].settings, {}
    if names:
        for (name, setting), place in zip(names.items(), st.columns(max(3, len(names))), strict=False):
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
    return steps


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


def _strip(titles: list[str], answers: list[_Answer], view: _View) -> None:
    """How the probability moved, and each step's picture."""
    rows: list[dict[str, Any]] = []
    for title, (_, prediction) in zip(titles, answers, strict=True):
        known = "like the training images" if prediction.in_distribution else "unlike the training images"
        label = prediction.label if prediction.in_distribution else "not sure"
        rows.append({"step": title, "probability": prediction.by_class()[view.name], "label": label, "image": known})
    first, last = rows[0]["probability"], rows[-1]["probability"]
    st.markdown(
        f"The probability of **{elements.escape_markdown(view.name)}** moved from **{first:.3f}** to **{last:.3f}**; "
        "the model "
        f"says **{elements.escape_markdown(rows[0]['label'])}** at first and "
        f"**{elements.escape_markdown(rows[-1]['label'])}** now."
    )
    if not answers[-1].prediction.in_distribution:
        st.caption(
            "The changed image is flagged as unlike the training images. That is right where a change is unnatural, "
            "and then the probability means little."
        )
    _moves(pd.DataFrame(rows), view.name, answers[-1].prediction)
    with st.container(horizontal=True):
        for row, (pixels, prediction) in zip(rows, answers, strict=True):
            with st.container(width=150):
                st.image(elements.data_address(view.overlay(pixels, view.heatmap(prediction))), width="stretch")
                flag = "" if prediction.in_distribution else " :orange-badge[unlike]"
                text = f"**{row['step']}** {row['probability']:.3f}"
                st.markdown(f"{text}  \n{elements.escape_markdown(row['label'])}{flag}")
    with st.expander("The last image, larger"):
        left, right = st.columns(2)
        pixels, prediction = answers[-1]
        left.image(elements.data_address(pixels), caption="Changed", width="stretch")
        overlay = view.overlay(pixels, view.heatmap(prediction))
        right.image(
            elements.data_address(overlay),
            caption=f"Grad-CAM: what speaks for {elements.escape_markdown(view.name)}",
            width="stretch",
        )


def _moves(table: pd.DataFrame, name: str, prediction: Prediction) -> None:
    """The probability after each step; hollow where the image is flagged."""
    axis = alt.Axis(labelAngle=-40, labelLimit=140, labelOverlap=False)
    base = alt.Chart(table).encode(
        x=alt.X("step:N", sort=None, title=None, axis=axis),
        y=alt.Y("probability:Q", scale=alt.Scale(domain=[0, 1]), title=None),
        tooltip=["step:N", alt.Tooltip("probability:Q", format=".4f"), "label:N", "image:N"],
    )
    flagged = alt.datum["image"] == "unlike the training images"
    points = base.mark_point(size=110, strokeWidth=2, color=answer.BAR).encode(
        fill=alt.condition(flagged, alt.value("transparent"), alt.value(answer.BAR))
    )
    layers = [base.mark_line(color=answer.BAR), points]
    if name == prediction.positive and prediction.threshold is not None:
        rule = alt.Chart(pd.DataFrame({"threshold": [prediction.threshold]}))
        layers.append(rule.mark_rule(strokeDash=[4, 4], color="#d97706").encode(y="threshold:Q"))
    st.altair_chart(alt.layer(*layers).properties(height=300, title=_heading(name)))
    st.caption(
        "Hollow: flagged as unlike the training images. Dashed: the decision threshold, where the class has one."
    )


# A second opinion


def _ask_opinion(key: str, radiograph: Radiograph, prediction: Prediction, model: Bundle, view: _View) -> None:
    st.caption(
        "A heatmap is worked out from inside the network. Here the network is asked again and again with parts of the "
        "image hidden (occlusion: Zeiler and Fergus 2014), and with the pixels that the heatmap calls most important "
        "taken away or shown first (deletion and insertion: Petsiuk et al. 2018)."
    )
    name = (key, model.name, view.name)
    place = st.empty()
    if name not in _memory():
        with place.container():
            if not st.button("Ask for it", key=f"opinion {key}", type="primary", help="It takes some seconds."):
                return
        with place.container():
            st.button("Stop", icon=":material/stop:", key=f"stop {key}")  # a click ends this run of the page
            _remember(name, _opinion(radiograph.pixels, prediction, model, view))
        place.empty()
    drops, verdict = _memory()[name]
    _show_opinion(radiograph.pixels, prediction, view, drops, verdict)


def _opinion(
    pixels: np.ndarray, prediction: Prediction, model: Bundle, view: _View
) -> tuple[np.ndarray, FaithfulnessResult | None]:
    bar = st.progress(0.0, "Hiding one place after the other")
    drops = faithfulness.occlusion(
        model, pixels, lambda done: bar.progress(0.4 * done, "Hiding one place after the other")
    )[..., prediction.classes.index(view.name)]
    maps = {HEATMAP: view.heatmap(prediction), OCCLUSION: faithfulness.heat_of(drops)}
    maps = {name: heatmap for name, heatmap in maps.items() if heatmap.any()}
    if not maps:
        return drops, None
    text = "Taking pixels away, and showing them again"
    tell = lambda done: bar.progress(0.4 + 0.6 * done, text)  # noqa: E731
    return drops, faithfulness.compare_maps(model, pixels, view.name, maps, tell)


def _show_opinion(
    pixels: np.ndarray, prediction: Prediction, view: _View, drops: np.ndarray, verdict: FaithfulnessResult | None
) -> None:
    left, right = st.columns(2)
    name = elements.escape_markdown(view.name)
    gradcam, occlusion = (
        view.overlay(pixels, heat) for heat in (view.heatmap(prediction), faithfulness.heat_of(drops))
    )
    left.image(elements.data_address(gradcam), caption=f"Grad-CAM for {name}", width="stretch")
    right.image(
        elements.data_address(occlusion),
        caption=f"Occlusion map for {name}: where hiding lowers its probability, at most by {max(drops.max(), 0):.3f}",
        width="stretch",
    )
    if verdict is None:
        st.info(f"Nothing in this image speaks for {name}, so there is no order of pixels to test.")
        return
    st.markdown(f"**{agreement_sentence(verdict, view.name)}**")
    chance = verdict.mean_chance()
    trials = {**verdict.orders, CHANCE: chance}
    for place, title, kind in zip(
        st.columns(2), ("Deletion: the sooner it falls, the better", "Insertion: the sooner it rises, the better"),
        ("deletion", "insertion"), strict=True
    ):  # fmt: skip
        with place:
            st.markdown(title)
            st.altair_chart(_curves(trials, kind, view.name))
    rows = [
        {"Order": order, "Area, deletion": trial.deletion.area, "Area, insertion": trial.insertion.area}
        for order, trial in trials.items()
    ]
    numbers = {column: st.column_config.NumberColumn(format="%.3f") for column in list(rows[0])[1:]}
    st.dataframe(pd.DataFrame(rows), hide_index=True, column_config=numbers)
    st.caption(
        f"Areas under the curves. Random order is the mean of {len(verdict.chance)}, each as coarse as the heatmap. "
        "One image proves little; whole sets of images are measured by python -m benchmarks.second_opinion."
    )


def agreement_sentence(verdict: FaithfulnessResult, class_name: str) -> str:
    """What the curves say of the heatmap, in one sentence of Markdown."""
    name = elements.escape_markdown(class_name)
    if HEATMAP not in verdict.orders:
        return f"The heatmap of {name} is empty, so only the occlusion map is tested."
    meanings = {
        (True, True): "taking away what the heatmap marks lowers the probability of {} sooner than random order does, "
        "and showing it raises it sooner: on this image the heatmap marks what the answer rests on.",
        (True, False): "taking away what the heatmap marks lowers the probability of {} sooner than random order does, "
        "but showing it first does not raise it sooner: the heatmap marks only a part of what the answer rests on.",
        (False, True): "showing what the heatmap marks raises the probability of {} sooner than random order does, but "
        "taking it away does not lower it sooner: the rest of the image is enough for the answer.",
        (False, False): "what the heatmap marks moves the probability of {} no sooner than random order does: on this "
        "image the heatmap is no explanation.",
    }
    text = meanings[verdict.better(HEATMAP)].format(name)
    return text[0].upper() + text[1:]


def _curves(trials: dict[str, Trial], kind: str, name: str) -> alt.Chart:
    rows: list[dict[str, Any]] = []
    for order, trial in trials.items():
        curve = getattr(trial, kind)
        rows += [
            {"order": order, "share": share, "probability": probability}
            for share, probability in zip(curve.shares, curve.probabilities, strict=True)
        ]
    legend = alt.Legend(orient="bottom", columns=2, symbolType="stroke", symbolSize=300)
    title = "share of pixels taken away" if kind == "deletion" else "share of pixels shown sharp"
    return (
        alt.Chart(pd.DataFrame(rows))
        .mark_line(point=True)
        .encode(
            x=alt.X("share:Q", title=title, axis=alt.Axis(format="%")),
            y=alt.Y("probability:Q", scale=alt.Scale(domain=[0, 1]), title=None),
            color=alt.Color("order:N", sort=list(trials), title=None, legend=legend),
            strokeDash=alt.StrokeDash("order:N", sort=list(trials), title=None, legend=legend),
            tooltip=["order:N", alt.Tooltip("share:Q", format=".0%"), alt.Tooltip("probability:Q", format=".4f")],
        )
        .properties(height=340, title=_heading(name))
    )


def _heading(name: str) -> alt.TitleParams:
    """What the chart's height is, above it, where it has room whatever the class is called."""
    return alt.TitleParams(f"probability of {name}", anchor="start", fontSize=13, fontWeight="normal", offset=8)


# Memory


def _memory() -> dict[Hashable, Any]:
    """What this session has worked out, the oldest first."""
    return st.session_state.setdefault(MEMORY, {})


def _remember(name: Hashable, result: Any) -> None:
    memory = _memory()
    memory[name] = result
    while len(memory) > KEPT:
        del memory[next(iter(memory))]
