"""Sensitivity and specificity of groups of images, drawn with their intervals and as a table."""

from collections.abc import Sequence

import msgspec
import pandas as pd
import streamlit as st

from covid_cnn.evaluation import cohorts
from covid_cnn.evaluation.binary import BinaryPredictions
from covid_cnn.evaluation.cohorts import Shares

METRICS = ("Sensitivity", "Specificity")
STEP, ROUND = 54, 110  # pixels of a row, and of what stands round the rows
COLOURS = ("#14a098", "#f2a541")  # seen on white and on black, and told apart by colour-blind eyes


def draw_cohorts(verdicts: BinaryPredictions) -> None:
    """The subgroups that the metadata of the images tell."""
    rows = cohorts.find_cohorts(verdicts)
    if not rows:
        st.info("These images tell no source, view, sex or age that would part them.", icon=":material/groups:")
        return
    st.caption(
        f"Groups of at least {cohorts.FEWEST} images. A model that does well on all images may fail one group; with "
        "few images the interval is wide, and says so."
    )
    draw_dots(rows)
    table = [row.cells() for row in rows]
    st.dataframe(pd.DataFrame(table, columns=["Group", *cohorts.COLUMNS]), hide_index=True)


def draw_dots(rows: Sequence[Shares]) -> None:
    """Sensitivity and specificity as dots with their intervals, one line a row under its name."""
    import altair as alt  # here, as it takes a while

    told = [
        {"Of": row.name, "Metric": metric} | msgspec.to_builtins(interval)
        for row in rows
        for metric, interval in zip(METRICS, (row.sensitivity, row.specificity), strict=True)
        if interval
    ]
    if not told:
        return
    share = alt.Scale(domain=[0, 1])
    legend = alt.Legend(orient="top", title=None)
    # A name stands above its dots, in the first of three lines, so that a long one fits a narrow screen.
    axis = alt.Axis(
        domain=False, ticks=False, grid=False, labelAlign="left", labelPadding=0, labelLimit=700, labelOffset=-STEP / 3
    )
    base = alt.Chart(pd.DataFrame(told)).encode(
        y=alt.Y("Of:N", sort=[row.name for row in rows], title=None, axis=axis, scale=alt.Scale(padding=0)),
        yOffset=alt.YOffset("Metric:N", scale=alt.Scale(domain=["", *METRICS], padding=0)),
        color=alt.Color("Metric:N", legend=legend, scale=alt.Scale(domain=METRICS, range=COLOURS)),
    )
    points = base.mark_point(filled=True, size=70, opacity=1).encode(
        x=alt.X("value:Q", scale=share, title="with its 95 % interval", axis=alt.Axis(tickCount=5)),
        shape=alt.Shape("Metric:N", legend=legend, scale=alt.Scale(domain=METRICS)),
        tooltip=["Of", "Metric", *(alt.Tooltip(f"{key}:Q", format=".3f") for key in ("value", "low", "high")), "n"],
    )
    lines = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", scale=share), x2="high:Q")
    chart = alt.layer(lines, points).properties(height=ROUND + STEP * len(rows))
    st.altair_chart(chart, alt="Sensitivity and specificity with their intervals")
