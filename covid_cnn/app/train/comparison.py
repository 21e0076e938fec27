"""Runs side by side: what was set differently, what came of it, and their curves in one chart."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from covid_cnn.app.train import charts
from covid_cnn.app.train.settings import describe_settings
from covid_cnn.common.statistics import Interval, percent
from covid_cnn.runs.events import Evaluated
from covid_cnn.runs.run import Run

CHANGED = "background-color: #e69f0055; font-weight: bold"
NONE = "–"  # a setting that means nothing for the run, a result that it has not


def draw_comparison(chosen: Sequence[Run]) -> None:
    """The comparison of at least two runs."""
    st.header("Side by side")
    table = settings(chosen)
    marked = table.style.apply(lambda row: [CHANGED if row["Differs"] else ""] * len(row), axis=1)
    st.dataframe(marked, height="content")
    st.dataframe(_results(chosen), height="content")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        metric = st.segmented_control("Curve", ("loss", "accuracy"), default="loss", key="train_compare") or "loss"
        logarithmic = st.toggle("Log scale", key="train_compare_log", disabled=metric == "accuracy")
    drawn = [charts.points(run.journal, run.config.epochs, metric).assign(run=run.name) for run in chosen]
    points = pd.concat(drawn, ignore_index=True).query("kind == 'epoch'")
    if points.empty:
        st.info("None of these runs has finished an epoch yet.")
        return
    st.altair_chart(_chart(points, metric, logarithmic and metric == "loss"), alt=f"The {metric} of each run by epoch")
    st.caption("Solid: on the validation images. Dashed: in training. Large dots: the best epoch of each run.")


def settings(chosen: Sequence[Run]) -> pd.DataFrame:
    """A row for each setting and a column for each run; the column Differs says "yes" where they are not the same."""
    table = pd.DataFrame({run.name: describe_settings(run.config) for run in chosen}).fillna(NONE)
    table.insert(0, "Differs", ["yes" if count > 1 else "" for count in table.nunique(axis=1)])
    return table


def results(run: Run) -> dict[str, Any]:
    """What came out of a run so far, as columns of tables."""
    best, test = run.journal.best, run.journal.latest(Evaluated)
    accuracy = test.metrics.accuracy if test else None
    return {
        "Best epoch": best.epoch if best else None,
        "Validation loss": best.val_loss if best else None,
        "Validation accuracy": best.val_accuracy if best else None,
        "Test accuracy": accuracy.value if accuracy else None,
        "95 % interval": _bounds(accuracy) if accuracy else "",
    }


def _bounds(share: Interval) -> str:
    bounds = f"{100 * share.low:.1f} to {100 * share.high:.1f} %, " if share.known else ""
    return f"{bounds}n = {share.n}"


def _results(chosen: Sequence[Run]) -> pd.DataFrame:
    def text(title: str, value: Any) -> str:
        if value is None or value == "":
            return NONE
        if title.endswith("accuracy"):
            return percent(value, 1)
        return f"{value:.4f}" if isinstance(value, float) else str(value)

    columns = {run.name: {t: text(t, v) for t, v in results(run).items()} for run in chosen}
    return pd.DataFrame(columns)


def _chart(points: pd.DataFrame, metric: str, logarithmic: bool) -> alt.LayerChart:
    """A colour for each run; training is dashed, the best epoch a large dot."""
    ends = charts.axis_ends(metric, points["value"], logarithmic)
    base = alt.Chart(points, height=360).encode(
        x=alt.X("epoch:Q", title="Epoch", axis=alt.Axis(tickMinStep=1)),
        y=alt.Y("value:Q", title=metric.capitalize(), scale=charts.scale(ends, logarithmic)),
        color=alt.Color("run:N", title=None, legend=alt.Legend(orient="top", labelLimit=400)),
        tooltip=["run:N", "curve:N", "epoch:Q", alt.Tooltip("value:Q", title=metric, format=".4f")],
    )
    dash = alt.Scale(domain=["Validation", "Training"], range=[[1, 0], [5, 4]])
    lines = base.mark_line().encode(strokeDash=alt.StrokeDash("curve:N", scale=dash, legend=None))
    best = base.transform_filter("datum.best && datum.curve == 'Validation'")
    return lines + base.mark_point(filled=True, size=30, opacity=1) + best.mark_point(filled=True, size=160, opacity=1)
