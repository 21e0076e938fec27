"""The curves of a run: loss and accuracy by step and by epoch, in training and on the validation images."""

from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from covid_cnn.journal import Journal

# Told apart by colour-blind eyes (after Okabe and Ito 2008), and readable on a light and on a dark ground.
CURVES = {"Training": "#3a86d6", "Validation": "#d97706"}
MOST_POINTS = 1000  # of a curve: more than a chart has pixels would only make it slow
LEAST = 1e-6  # loss that is drawn


def draw(journal: Journal, epochs: int, logarithmic: bool) -> None:
    """The two charts of a run of so many ``epochs``."""
    for column, metric in zip(st.columns(2), ("loss", "accuracy"), strict=True):
        column.vega_lite_chart(
            points(journal, epochs, metric),
            _chart(metric, _epochs_shown(journal.epoch, epochs), logarithmic),
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


def points(journal: Journal, epochs: int, metric: str) -> pd.DataFrame:
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
        {"epoch": e["epoch"], "value": e[key], "curve": curve, "kind": "epoch", "best": e is best}
        for e in journal.epochs
        for curve, key in zip(CURVES, (metric, f"val_{metric}"), strict=True)
    ]
    columns = ["epoch", "value", "curve", "kind", "best"]
    drawn = pd.concat([*parts, pd.DataFrame(whole, columns=columns)], ignore_index=True)
    drawn["value"] = drawn["value"].clip(lower=LEAST)  # for the logarithm
    return drawn


def thinned(points: pd.DataFrame) -> pd.DataFrame:
    """At most ``MOST_POINTS``. What is left out doubles now and then, and else the points drawn before stay."""
    every = 1
    while len(points) > every * MOST_POINTS:
        every *= 2
    return points.iloc[::every]


def _chart(metric: str, epochs_shown: int, logarithmic: bool) -> dict[str, Any]:
    """The Vega-Lite form of a chart of ``points``. It holds no data, so that new data are drawn without a flicker."""
    base = alt.Chart(alt.NamedData("points")).encode(
        x=alt.X("epoch:Q", title="Epoch", scale=alt.Scale(domain=[0, epochs_shown]), axis=alt.Axis(tickMinStep=1)),
        y=alt.Y(
            "value:Q",
            title=metric.capitalize(),
            scale=scale(metric, logarithmic),
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


def scale(metric: str, logarithmic: bool) -> alt.Scale:
    """The scale of a metric: an accuracy lies between 0 and 1, a loss above 0."""
    if metric == "accuracy":
        return alt.Scale(domain=[0, 1])
    return alt.Scale(type="log") if logarithmic else alt.Scale(zero=True)
