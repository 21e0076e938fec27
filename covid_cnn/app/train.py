"""The train page: choose what to train and how, start it, and watch the network learn.

All that it shows of a run is read from the run's folder, so that a reload, another tab or a restart loses nothing.
"""

import io
import re
import shlex
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import altair as alt
import numpy as np
import pandas as pd
import streamlit as st

from covid_cnn import adding, bundle, datasets, evaluation, figures, imaging, paths, runs
from covid_cnn.app import pages
from covid_cnn.app.shared import plain
from covid_cnn.augmentation import AUGMENTATIONS, augment
from covid_cnn.datasets import Dataset
from covid_cnn.errors import CovidCnnError
from covid_cnn.recipes import RECIPES
from covid_cnn.runs import Run, TrainConfig
from covid_cnn.splits import Splits, training_splits

Event = dict[str, Any]
Colour = Literal["blue", "green", "orange", "red", "gray"]

ACTIVE = ("starting", "running", "stopping")
BADGES: dict[str, tuple[Colour, str]] = {
    "starting": ("gray", ":material/hourglass_top:"),
    "running": ("blue", ":material/play_arrow:"),
    "stopping": ("orange", ":material/hourglass_bottom:"),
    "finished": ("green", ":material/check:"),
    "stopped": ("orange", ":material/stop:"),
    "failed": ("red", ":material/error:"),
    "died": ("red", ":material/power_off:"),
}
AUGMENTATION_LINES = {
    "none": "Every epoch shows the same images.",
    "notebook": "Zoomed by up to a fifth, and mirrored half of the time, as in the student notebook.",
    "radiograph": "Turned, moved, zoomed and exposed a little, as between two takes of one patient. Never mirrored.",
    "hospitals": "The same, further, with blur, noise, compression and stamped letters, as between hospitals.",
}
# Told apart by colour-blind eyes (after Okabe and Ito 2008), and readable on a light and on a dark ground.
CURVES = {"Training": "#3a86d6", "Validation": "#d97706"}
MOST_POINTS = 1000  # of a curve: more than a chart has pixels would only make it slow


def page() -> None:
    """Draw the page."""
    st.title("Train")
    names = [run.name for run in runs.discover()]
    _select_at_first(names)
    name = _selected(names) if names else None
    if name:
        st.query_params["run"] = name
    else:
        st.query_params.pop("run", None)
    try:
        if name is None:
            _new_run()
        else:
            _watch(runs.open(name))
    except CovidCnnError as error:
        st.error(plain(str(error)))


def _select_at_first(names: Sequence[str]) -> None:
    """Select the run just started, or the one in the address, or, for who comes new, the newest if it is at work."""
    if "train_next" in st.session_state:
        name = st.session_state.pop("train_next")
    elif "train_run" in st.session_state:
        name = st.session_state["train_run"]
    elif "run" in st.query_params:
        name = st.query_params["run"]
    else:
        name = next((name for name in names[:1] if runs.open(name).state() in ACTIVE), None)
    _select(name if name in names else None)


def _select(name: str | None) -> None:
    st.session_state["train_run"] = name


def _selected(names: Sequence[str]) -> str | None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox(
            "Run",
            names,
            index=None,
            placeholder="A new one, or choose one to look at",
            key="train_run",
            persist_state="session",
            help="The runs under runs/, the newest first. A run goes on when you leave this page or close the browser.",
        )
        st.button("New run", icon=":material/add:", on_click=_select, args=(None,), disabled=name is None)
    return name


# A new run


def _new_run() -> None:
    found, problems = datasets.discover()
    for problem in problems:
        st.warning(plain(problem))
    if not found:
        _no_dataset()
        return
    form, beside = st.columns([3, 2], gap="large")
    with form.container(border=True):
        dataset, chosen, name = _settings({dataset.name: dataset for dataset in found})
        try:
            splits = training_splits(dataset, chosen["seed"])
        except CovidCnnError as error:
            st.error(plain(str(error)))
            return
        st.caption(plain(_split_line(splits)))
        if st.button("Start training", type="primary", icon=":material/play_arrow:"):
            _start(dataset.name, chosen, name)
    with beside:
        _preview(splits, chosen)


def _start(data: str, chosen: dict[str, Any], name: str | None) -> None:
    try:
        run = runs.start(TrainConfig.of(data, **chosen), name)
    except CovidCnnError as error:
        st.error(plain(str(error)))
        return
    st.session_state["train_next"] = run.name
    st.rerun()


def _no_dataset() -> None:
    st.info(
        "There is no dataset yet. Add your own on the Dataset page, or let the program draw synthetic radiographs: "
        "200 images, in about 20 seconds.",
        icon=":material/photo_library:",
    )
    with st.container(horizontal=True):
        draw = st.button("Draw the synthetic dataset and use it", type="primary", icon=":material/draw:")
        if st.button("Go to the Dataset page", icon=":material/photo_library:"):
            pages.switch(pages.DATASET)
    if draw:
        bar = st.progress(0.0)

        def show(share: float, message: str) -> None:
            bar.progress(share, message)

        adding.add("synthetic", progress=show)
        st.rerun()


def _settings(found: dict[str, Dataset]) -> tuple[Dataset, dict[str, Any], str | None]:
    """The fields: the dataset, the other settings by their names in TrainConfig, and the run's name if one is given."""
    data = st.selectbox(
        "Dataset",
        found,
        format_func=lambda name: f"{name} ({len(found[name].items)} images, {len(found[name].classes)} classes)",
        key="train_data",
        help="The images to learn from. The Dataset page shows them and adds others.",
    )
    network = st.radio(
        "Network",
        RECIPES,
        format_func=lambda key: RECIPES[key].title,
        captions=[recipe.description for recipe in RECIPES.values()],
        key="train_network",
        help="What learns. The fields below take the settings that suit it.",
    )
    recipe = RECIPES[network]

    # The network is part of the keys, so that another network brings its own defaults.
    def number(label: str, field: str, least: float, most: float, **more: Any) -> Any:
        return st.number_input(label, least, most, getattr(recipe, field), key=f"train_{field}_{network}", **more)

    with st.container(horizontal=True):
        epochs = number("Epochs", "epochs", 1, 1000, help="How many times the network sees all training images.")
        batch_size = number(
            "Batch size",
            "batch_size",
            1,
            1024,
            help="How many images it looks at before each small correction of its weights (a step). Larger is smoother "
            "and needs more memory.",
        )
        learning_rate = number(
            "Learning rate",
            "learning_rate",
            0.0,
            10.0,
            step=recipe.learning_rate / 10,
            format="%.5f",
            help="How large each correction is. Too small learns slowly; too large never settles.",
        )
        seed = st.number_input(
            "Seed",
            0,
            2**31 - 1,
            0,
            key="train_seed",
            help="Decides everything random: first weights, order, variations, splits. The same seed gives the same "
            "run again.",
        )
    augmentation = st.radio(
        "Augmentation",
        AUGMENTATIONS,
        index=list(AUGMENTATIONS).index(recipe.augmentation),
        format_func=str.capitalize,
        captions=[AUGMENTATION_LINES.get(key, "") for key in AUGMENTATIONS],
        key=f"train_augmentation_{network}",
        help="How training images are varied at random, so that the network cannot learn them by heart.",
    )
    name = st.text_input(
        "Name (optional)",
        key="train_name",
        placeholder="made from network, dataset and time",
        help="Of the run, and of the model that it makes: letters, digits, dots, dashes and underscores.",
    )
    chosen = {
        "network": network,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "augmentation": augmentation,
        "seed": seed,
    }
    return found[data], chosen, name.strip() or None


def _split_line(splits: Splits) -> str:
    test = f"tests on {len(splits.test)}" if splits.test else "has none to test on"
    line = f"Learns from {len(splits.train)} images, is watched with {len(splits.val)} (validation), {test}."
    return " ".join([line, *splits.notes])


def _preview(splits: Splits, chosen: dict[str, Any]) -> None:
    """One training image and what the augmentation makes of it."""
    st.subheader("What the network gets to see")
    path = splits.train[0].path
    size = RECIPES[chosen["network"]].input_size
    pictures = _variants(path, path.stat().st_mtime_ns, size, chosen["augmentation"], chosen["seed"])
    with st.container(horizontal=True):
        for number, picture in enumerate(pictures):
            st.image(picture, caption=f"Variant {number}" if number else "As it is", width=130)
    st.caption(f"A training image at the network's {size[1]} x {size[0]} pixels, and five random variants of it.")


@st.cache_data(max_entries=64, show_spinner=False)
def _variants(path: Path, changed: int, size: tuple[int, int], augmentation: str, seed: int) -> list[np.ndarray]:
    """The image as the network takes it and five augmented ones, each float32 ``[H, W]`` 0..1."""
    plain = imaging.prepare(imaging.read(path).pixels, size)
    generators = [np.random.default_rng((seed, variant)) for variant in range(5)]
    varied = [augment(plain, AUGMENTATIONS[augmentation], generator) for generator in generators]
    return [image[..., 0] for image in (plain, *varied)]


# A run


def _watch(run: Run) -> None:
    """One run: live while it is at work, and then its result."""
    config = run.config
    active = _state(run, run.events()) in ACTIVE
    st.fragment(_progress, run_every=1.0 if active else None)(run, config, active)
    if not active:
        _end(run, config)
    with st.expander("Settings", icon=":material/tune:"):
        settings = [(key.replace("_", " ").capitalize(), str(value)) for key, value in asdict(config).items()]
        st.dataframe(pd.DataFrame(settings, columns=["Setting", "Value"]), hide_index=True, width="content")
        st.caption("The command that trains it again:")
        st.code(_command(config), language="bash", wrap_lines=True)


def _state(run: Run, events: list[Event]) -> str:
    """The state of a run, which is starting, too, from the press on Resume until the new process speaks."""
    pressed = st.session_state.get(f"train_resumed_{run.name}", 0.0)
    spoken = any(event["type"] == "started" and event["time"] > pressed for event in events)
    if not spoken and time.time() - pressed < runs.SECONDS_TO_START:
        return "starting"
    return run.state(events)


def _progress(run: Run, config: TrainConfig, active: bool) -> None:
    """How far a run is and its curves; drawn every second while ``active``."""
    events = run.events()
    state = _state(run, events)
    if active and state not in ACTIVE:
        st.rerun()
    steps, epochs = _history(events)
    done, total = (steps[-1]["step"], steps[-1]["steps"]) if steps else (0, 0)
    with st.container(horizontal=True, vertical_alignment="center"):
        colour, icon = BADGES[state]
        st.badge(state.capitalize(), color=colour, icon=icon)
        if active:
            st.text(_doing(run, state, events), width="stretch")
            st.button(
                "Stop",
                icon=":material/stop:",
                on_click=run.request_stop,
                disabled=state == "stopping",
                help="Ends the run within a step, and keeps its best epoch.",
            )
    st.progress(done / total if total else 0.0, text=f"Step {done} of {total}" if total else "No step yet")
    _figures(events, steps, epochs, config, state)
    if steps:
        _charts(steps, epochs, config)


def _figures(events: list[Event], steps: list[Event], epochs: list[Event], config: TrainConfig, state: str) -> None:
    at_work = state in ("running", "stopping")
    with st.container(horizontal=True):
        st.metric("Epoch", f"{steps[-1]['epoch'] if steps else 0} of {config.epochs}")
        st.metric("Time", _duration(_seconds_at_work(events, at_work)), help="That the run has been at work.")
        if state == "running":
            left = _seconds_left(events, steps)
            shown = "–" if left is None else _duration(left)
            st.metric("Left", shown, help="For the steps that are left, at the pace of the last epoch.")
        if epochs:
            best = next((event for event in epochs if event["epoch"] == epochs[-1]["best"]), epochs[-1])
            st.metric(
                "Best epoch", best["epoch"], help="The one with the lowest validation loss; it becomes the model."
            )
            st.metric("Its validation loss", f"{best['val_loss']:.4f}")
            st.metric("Its validation accuracy", f"{best['val_accuracy']:.1%}")


def _history(events: list[Event]) -> tuple[list[Event], list[Event]]:
    """The events of the steps and of the epochs; of what was trained again after a resume, only the last time."""
    kept: dict[str, list[Event]] = {"step": [], "epoch": []}
    earliest = float("inf")
    for event in reversed(events):
        # An epoch ends with the number of its last step, and is told after it.
        if event["type"] in kept and (place := event["step"] + 0.5 * (event["type"] == "epoch")) < earliest:
            earliest = place
            kept[event["type"]].append(event)
    return kept["step"][::-1], kept["epoch"][::-1]


def _doing(run: Run, state: str, events: list[Event]) -> str:
    """What an active run is doing now: learning, or else what it said last."""
    if state == "starting":
        return "Starting Python."
    last = events[-1]
    if last["type"] == "step" or (last["type"] == "epoch" and last["epoch"] < run.config.epochs):
        return "Learning."
    # The log's own sentences begin with the time; libraries write there too.
    messages = re.findall(r"^\d\d:\d\d:\d\d (.+)$", run.last_words(100), re.MULTILINE)
    return messages[-1] if messages else "Starting TensorFlow."


def _seconds_at_work(events: list[Event], at_work: bool) -> float:
    """The time between the events, without the pauses that a resume ended."""
    worked = sum(later["time"] - event["time"] for event, later in pairwise(events) if later["type"] != "started")
    return worked + (time.time() - events[-1]["time"] if at_work else 0)


def _seconds_left(events: list[Event], steps: list[Event]) -> float | None:
    """The time that the steps which are left take at the pace of the last epoch; None while it is not known."""
    started = max(event["time"] for event in events if event["type"] == "started")
    recent = [event for event in steps if event["time"] > started]
    if len(recent) < 2:
        return None
    an_epoch_ago = next(i for i, event in enumerate(recent) if event["epoch"] >= recent[-1]["epoch"] - 1)
    recent = recent[an_epoch_ago:]
    pace = (recent[-1]["time"] - recent[0]["time"]) / max(1, len(recent) - 1)
    return pace * (recent[-1]["steps"] - recent[-1]["step"])


def _duration(seconds: float) -> str:
    """``75`` -> ``1:15``, ``3675`` -> ``1:01:15``."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


# Charts


def _charts(steps: list[Event], epochs: list[Event], config: TrainConfig) -> None:
    for column, metric in zip(st.columns(2), ("loss", "accuracy"), strict=True):
        column.vega_lite_chart(
            _points(steps, epochs, config.epochs, metric),
            _chart(metric, _epochs_shown(steps[-1]["epoch"], config.epochs)),
            height=320,
            alt=f"{metric.capitalize()} in training and validation by epoch",
        )
    st.caption(
        "Faint: each step. Line in blue: their running mean. Dots: whole epochs, in training and on the validation "
        "images. Ring: the best epoch."
    )


def _epochs_shown(epoch: int, last_epoch: int) -> int:
    """Where the time axis ends: it doubles now and then, so that it neither creeps nor leaves the curves no room."""
    shown = 10
    while shown < epoch:
        shown *= 2
    return min(shown, last_epoch)


def _points(steps: list[Event], epochs: list[Event], last_epoch: int, metric: str) -> pd.DataFrame:
    """What ``_chart`` draws: columns epoch (fractions within one), value, curve, kind (step, mean, epoch), best."""
    steps_an_epoch = steps[-1]["steps"] / last_epoch
    raw = pd.DataFrame({"epoch": [s["step"] / steps_an_epoch for s in steps], "value": [s[metric] for s in steps]})
    mean = raw.assign(value=raw["value"].ewm(span=max(steps_an_epoch, 5)).mean())
    every = -(-len(raw) // MOST_POINTS)
    best = epochs[-1]["best"] if epochs else 0
    whole = [
        {"epoch": e["epoch"], "value": e[key], "curve": curve, "kind": "epoch", "best": best == e["epoch"]}
        for e in epochs
        for curve, key in zip(CURVES, (metric, f"val_{metric}"), strict=True)
    ]
    lines = [
        part.iloc[::every].assign(curve="Training", kind=kind, best=False)
        for part, kind in ((raw, "step"), (mean, "mean"))
    ]
    return pd.concat([*lines, pd.DataFrame(whole, columns=lines[0].columns)], ignore_index=True)


def _chart(metric: str, epochs_shown: int) -> dict[str, Any]:
    """The Vega-Lite form of a chart of ``_points``. It holds no data, so that new data are drawn without a flicker."""
    base = alt.Chart(alt.NamedData("points")).encode(
        x=alt.X("epoch:Q", title="Epoch", scale=alt.Scale(domain=[0, epochs_shown]), axis=alt.Axis(tickMinStep=1)),
        y=alt.Y(
            "value:Q",
            title=metric.capitalize(),
            scale=alt.Scale(domain=[0, 1]) if metric == "accuracy" else alt.Scale(zero=True),
        ),
        color=alt.Color(
            "curve:N",
            title=None,
            scale=alt.Scale(domain=list(CURVES), range=list(CURVES.values())),
            legend=alt.Legend(orient="top", symbolOpacity=1),
        ),
    )
    tooltip = [
        alt.Tooltip("curve:N", title="Curve"),
        alt.Tooltip("epoch:Q", title="Epoch"),
        alt.Tooltip("value:Q", title=metric.capitalize(), format=".4f"),
    ]
    of_epochs = base.transform_filter("datum.kind == 'epoch'")
    of_validation = of_epochs.transform_filter("datum.curve == 'Validation'")
    chart = alt.layer(
        base.transform_filter("datum.kind == 'step'").mark_line(opacity=0.3, strokeWidth=1),
        base.transform_filter("datum.kind == 'mean'").mark_line(strokeWidth=2),
        of_validation.mark_line(strokeWidth=2),
        of_epochs.mark_point(filled=True, size=45, opacity=1).encode(tooltip=tooltip),
        of_validation.transform_filter("datum.best").mark_point(size=200, strokeWidth=2, opacity=1),
    )
    spec = chart.to_dict()
    del spec["data"]
    return spec


# The end of a run


def _end(run: Run, config: TrainConfig) -> None:
    events = run.events()
    state = _state(run, events)
    _, epochs = _history(events)
    exported = any(event["type"] == "exported" for event in events)
    _say_why(state, events, exported)
    if state != "finished":
        complete = exported and epochs and epochs[-1]["epoch"] == config.epochs
        what = "Goes on after the last whole epoch, or from the beginning if there was none."
        if not complete and st.button("Resume", type="primary", icon=":material/resume:", help=what):
            runs.resume(run)
            st.session_state[f"train_resumed_{run.name}"] = time.time()
            st.rerun()
        with st.expander("The end of its log", icon=":material/description:"):
            st.code(run.last_words(), language=None, wrap_lines=True)
    if epochs:
        _downloads(run.name, epochs)
    if exported:
        _result(run.name)


def _say_why(state: str, events: list[Event], exported: bool) -> None:
    """Why a run is not finished, in a sentence."""
    kept = "Its best epoch so far is a model." if exported else "It made no model."
    last = {event["type"]: event for event in events}
    if state == "failed":
        st.error(plain(last["failed"]["message"]), icon=":material/error:")
    elif state == "died":
        st.error(f"The run ended without a word: its process was ended, or the machine was switched off. {kept}")
    elif state == "stopped":
        st.warning(f"The run was stopped. {kept}", icon=":material/stop:")


def _result(name: str) -> None:
    """What the exported model does on images that it did not learn from, and the way to it."""
    try:
        info = bundle.read_info(paths.models_dir() / name)
    except CovidCnnError as error:
        st.error(plain(str(error)))
        return
    if "test" in info["metrics"]:
        report = info["metrics"]["test"]
        st.subheader("The test")
        st.caption(f"{report['n']} images of {report['n_patients']} patients, which the training never saw.")
    else:
        report = info["metrics"]["val"]
        st.subheader("On the validation images")
        st.caption(
            f"There is no test split. These {report['n']} images of {report['n_patients']} patients chose the best "
            "epoch, so that they flatter the model."
        )
    table, confusion = st.columns([3, 2], gap="large")
    with table:
        st.dataframe(_metrics(report), hide_index=True)
        if st.button("Try it on Predict", type="primary", icon=":material/radiology:"):
            st.session_state["predict_model"] = name
            pages.switch(pages.PREDICT)
    confusion.pyplot(figures.confusion_matrix(report["confusion"], report["classes"]), width="content")


def _metrics(report: dict[str, Any]) -> pd.DataFrame:
    """A report's metrics with their intervals, as text."""
    lines = [
        (title, f"{interval.value:.3f}", f"{interval.low:.3f} to {interval.high:.3f}", str(interval.n))
        if interval
        else (title, "undefined", "", "")
        for title, interval in evaluation.rows(report)
    ]
    return pd.DataFrame(lines, columns=["Metric", "Value", "95 % interval", "Images"])


def _downloads(name: str, epochs: list[Event]) -> None:
    with st.container(horizontal=True):
        for kind, mime in (("png", "image/png"), ("svg", "image/svg+xml")):
            st.download_button(
                f"Loss curves ({kind.upper()})",
                partial(_loss_figure, epochs, kind),
                file_name=f"{name}_loss.{kind}",
                mime=mime,
                icon=":material/download:",
                on_click="ignore",
            )


def _loss_figure(epochs: list[Event], kind: str) -> bytes:
    file = io.BytesIO()
    figures.loss_curves(epochs).savefig(file, format=kind, dpi=200)
    return file.getvalue()


def _command(config: TrainConfig) -> str:
    """The command line that trains a run of these settings."""
    options = [text for key, value in asdict(config).items() for text in (f"--{key.replace('_', '-')}", str(value))]
    return shlex.join(["python", "-m", "covid_cnn", "train", *options])
