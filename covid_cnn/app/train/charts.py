"""What a run shows while it learns: its curves by step and by epoch, and where it looks in some images."""

import json
import math
from functools import lru_cache
from pathlib import Path

import altair as alt
import pandas as pd
import streamlit as st

from covid_cnn.app.shared import elements
from covid_cnn.common.statistics import percent
from covid_cnn.images import ops
from covid_cnn.runs import pictures
from covid_cnn.runs.events import EventLog
from covid_cnn.runs.run import Run

CURVES = {"Training": elements.COLOURS[0], "Validation": elements.COLOURS[1]}
WIDTH = 220  # pixels of a picture
BEST = "#8b8f98"  # a grey that is seen on both grounds
MOST_POINTS = 1000  # of a curve: more than a chart has pixels would only make it slow
LEAST = 1e-6  # loss that is drawn


def draw_charts(journal: EventLog, epochs: int) -> None:
    """The two charts of a run of so many ``epochs``, and that of its learning rate where it changes.

    The places of all are made first and always, so that none moves another when it appears.
    """
    switch, columns = st.empty(), [column.empty() for column in st.columns(2)]
    legend, words, below = st.empty(), st.empty(), st.empty()
    if not journal.done:
        return
    logarithmic = switch.toggle("Loss on a log scale", key="train_log_scale", persist_state="session")
    shown = _epochs_shown(journal.epoch, epochs)
    for column, metric in zip(columns, ("loss", "accuracy"), strict=True):
        drawn = points(journal, epochs, metric)
        column.vega_lite_chart(
            drawn,
            json.loads(_chart(metric, shown, logarithmic, axis_ends(metric, drawn["value"], logarithmic))),
            height=320,
            alt=f"{metric.capitalize()} in training and validation by epoch",
        )
    legend.caption(
        "Faint: each step. Line in blue: their running mean. Dots: whole epochs, in training and on the validation "
        "images. Upright line: the best epoch, that of the lowest validation loss."
    )
    rates = learning_rates(journal, epochs)
    if rates["value"].nunique() > 1:
        words.caption("The learning rate, by epoch:")
        alt_text = "Learning rate by epoch"
        ends = axis_ends("learning rate", rates["value"])
        below.vega_lite_chart(rates, json.loads(_chart_of_rates(shown, ends)), height=140, alt=alt_text)


def _epochs_shown(epoch: int, last_epoch: int) -> int:
    """Where the time axis ends: it doubles now and then, so that it neither creeps nor leaves the curves no room."""
    shown = 10
    while shown < epoch:
        shown *= 2
    return min(shown, last_epoch)


def points(journal: EventLog, epochs: int, metric: str) -> pd.DataFrame:
    """What ``chart`` draws: columns epoch (fractions within one), value, curve, kind (step, mean, epoch), best."""
    steps, parts = journal.steps(), []
    if journal.total:
        steps_an_epoch = journal.total / epochs
        raw = pd.DataFrame({"epoch": steps["step"] / steps_an_epoch, "value": steps[metric]})
        mean = raw.assign(value=raw["value"].ewm(span=max(steps_an_epoch, 5)).mean())
        parts = [
            thinned(part).assign(curve="Training", kind=kind, best=False)
            for part, kind in ((raw, "step"), (mean, "mean"))
        ]
    best = journal.best
    whole = [
        {"epoch": e.epoch, "value": getattr(e, key), "curve": curve, "kind": "epoch", "best": e is best}
        for e in journal.epochs
        for curve, key in zip(CURVES, (metric, f"val_{metric}"), strict=True)
    ]
    columns = ["epoch", "value", "curve", "kind", "best"]
    drawn = pd.concat([*parts, pd.DataFrame(whole, columns=columns)], ignore_index=True)
    drawn["value"] = drawn["value"].clip(lower=LEAST)  # for the logarithm
    return drawn


def learning_rates(journal: EventLog, epochs: int) -> pd.DataFrame:
    """Columns epoch (fractions within one) and value, the learning rate of each step that tells it."""
    steps = journal.steps()
    if not journal.total:
        return pd.DataFrame({"epoch": [], "value": []})
    rates = pd.DataFrame({"epoch": steps["step"] * epochs / journal.total, "value": steps["learning_rate"]})
    return thinned(rates.dropna())


def thinned(points: pd.DataFrame) -> pd.DataFrame:
    """At most ``MOST_POINTS``. What is left out doubles now and then, and else the points drawn before stay."""
    every = 1
    while len(points) > every * MOST_POINTS:
        every *= 2
    return points.iloc[::every]


def _time(epochs_shown: int) -> alt.X:
    return alt.X("epoch:Q", title="Epoch", scale=alt.Scale(domain=[0, epochs_shown]), axis=alt.Axis(tickMinStep=1))


@lru_cache
def _chart(metric: str, epochs_shown: int, logarithmic: bool, ends: tuple[float, float]) -> str:
    """The Vega-Lite form of a chart of ``points``. It holds no data, so that new data are drawn without a flicker."""
    plain = alt.Chart(alt.NamedData("points")).encode(x=_time(epochs_shown))
    base = plain.encode(
        y=alt.Y(
            "value:Q",
            title=metric.capitalize(),
            scale=scale(ends, logarithmic),
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
    best = plain.transform_filter("datum.best && datum.curve == 'Validation'")
    best = best.transform_calculate(label="'best: ' + datum.epoch")
    chart = alt.layer(
        best.mark_rule(color=BEST, strokeWidth=1.5, strokeDash=[4, 3]),
        best.mark_text(color=BEST, align="left", baseline="top", dx=4, fontSize=12).encode(
            y=alt.value(2), text="label:N"
        ),
        base.transform_filter("datum.kind == 'step'").mark_line(opacity=0.3, strokeWidth=1),
        base.transform_filter("datum.kind == 'mean'").mark_line(strokeWidth=2),
        of_validation.mark_line(strokeWidth=2),
        of_epochs.mark_point(filled=True, size=45, opacity=1).encode(tooltip=tooltip),
    )
    return _without_data(chart)


@lru_cache
def _chart_of_rates(epochs_shown: int, ends: tuple[float, float]) -> str:
    rate = alt.Y("value:Q", title="Rate", scale=scale(ends), axis=alt.Axis(format="~g", tickCount=3))
    chart = alt.Chart(alt.NamedData("points")).mark_line(color=CURVES["Training"], strokeWidth=2)
    return _without_data(chart.encode(x=_time(epochs_shown), y=rate))


def _without_data(chart: alt.Chart | alt.LayerChart) -> str:
    form = chart.to_dict()
    del form["data"]
    return json.dumps(form)


def axis_ends(metric: str, values: pd.Series, logarithmic: bool = False) -> tuple[float, float]:
    """Where the axis of a metric begins and ends: it grows in few steps, so that the axis does not creep.

    They are not left to the browser, which has no data yet when it draws the chart first.
    """
    if metric == "accuracy":
        return 0.0, 1.0
    high = max(float(values.max()), LEAST) if len(values) else 1.0
    above = 10.0 ** math.ceil(math.log10(high))
    if logarithmic:
        low = max(float(values.min()), LEAST) if len(values) else high / 10
        return 10.0 ** math.floor(math.log10(low) - 1e-9), above
    return 0.0, next((above * part for part in (0.2, 0.4, 0.6, 0.8) if above * part >= high), above)


def scale(ends: tuple[float, float], logarithmic: bool = False) -> alt.Scale:
    """The scale of an axis with these ends."""
    return alt.Scale(domain=list(ends), type="log") if logarithmic else alt.Scale(domain=list(ends))


def draw_pictures(run: Run, live: bool) -> None:
    """The pictures that the run has kept: of the newest epoch while it is ``live``, then of any."""
    attention, below = st.container(), st.container()  # always in this order, whichever is there first
    with attention:
        _attention(run, live)
    changed = pictures.changed_between(run.folder, "augmented")
    if shown := _shown(run.folder, changed):
        with below.expander("What the network is shown", icon=":material/photo_library:"):
            with st.container(horizontal=True):
                for picture, label in shown:
                    elements.draw_captioned(st, picture, label, 130)
            st.caption("Training images as the augmentation of an epoch makes them. The next epoch varies them anew.")


def _attention(run: Run, live: bool) -> None:
    epochs, journal = pictures.attention_epochs(run.folder), run.journal
    if not epochs:
        return
    st.header("Where it looks")
    elements.draw_notice()
    epoch = epochs[-1]
    best = journal.best.epoch if journal.best else epoch
    if not live and len(epochs) > 1:
        first = best if best in epochs else epoch
        epoch = st.select_slider("After epoch", epochs, value=first, key=f"train_look_{run.name}")
    looked = _looked(run.folder, epoch, pictures.changed_between(run.folder, f"epoch-{epoch}"), tuple(run.classes()))
    if not looked:
        return
    with st.container(horizontal=True):
        for picture, words in looked:
            elements.draw_captioned(st, picture, words, WIDTH)
    st.caption(
        f"The same {len(looked)} validation images after epoch {epoch}{', the best' if epoch == best else ''}. "
        "Grad-CAM marks what speaks for the true class, which the caption names first; then come the probabilities, "
        "before calibration."
    )


# A live page is drawn every second, and its pictures change once an epoch.


@st.cache_data(max_entries=32, show_spinner=False)
def _shown(run: Path, changed: int) -> list[tuple[str, str]]:
    """What the network is shown: address and class of each picture."""
    images, labels = pictures.load_images(run, "augmented") or ([], [])
    return [(elements.data_address(image), label) for image, label in zip(images, labels, strict=True)]


@st.cache_data(max_entries=256, show_spinner=False)
def _looked(run: Path, epoch: int, changed: int, classes: tuple[str, ...]) -> list[tuple[str, str]]:
    """Address and caption of each watched image after an epoch; nothing where that was not kept."""
    look, watched = pictures.load_attention(run, epoch), pictures.load_images(run, "watched")
    if look is None or watched is None:
        return []
    images, labels = watched
    names = list(classes) or sorted(set(labels))
    captioned = []
    for image, label, probabilities, heatmaps in zip(images, labels, look.probabilities, look.heatmaps, strict=True):
        shares = ", ".join(f"{name} {percent(p)}" for name, p in zip(names, probabilities, strict=False))
        picture = elements.data_address(ops.overlay(image, heatmaps[..., names.index(label)]))
        captioned.append((picture, f"{label}. It says: {shares}"))
    return captioned
