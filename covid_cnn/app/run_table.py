"""All runs in one table, with their settings and results: to open, compare, rename, annotate and delete."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from covid_cnn import runs
from covid_cnn.app import run_charts
from covid_cnn.app.shared import plain
from covid_cnn.errors import CovidCnnError, RunError
from covid_cnn.runs import Run

CHANGED = "background-color: #e69f0055; font-weight: bold"


def draw(found: Sequence[Run]) -> None:
    """The table of runs, what can be done with those chosen in it, and their comparison."""
    st.subheader("Runs")
    st.caption("Click a column's title to sort. Choose one run to open, rename or delete it, or several to compare.")
    readable, rows = [], []
    for run in found:
        try:
            rows.append(_row(run))
            readable.append(run)
        except RunError as error:
            st.warning(plain(str(error)))
    table = st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        key="train_table",
        column_config={
            "Started": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm"),
            "Validation loss": st.column_config.NumberColumn(format="%.4f"),
            "Validation accuracy": st.column_config.NumberColumn(format="percent"),
            "Test accuracy": st.column_config.NumberColumn(format="percent"),
            "Learning rate": st.column_config.NumberColumn(format="%g"),
            "Minutes": st.column_config.NumberColumn(format="%.1f", help="That the run has been at work."),
        },
    )
    chosen = [readable[index] for index in table.selection.rows if index < len(readable)]
    if chosen:
        _actions(chosen)
    if len(chosen) > 1:
        _compare(chosen)


def _row(run: Run) -> dict[str, Any]:
    journal = run.journal
    settings = {key.replace("_", " ").capitalize(): value for key, value in run.config.telling.items()}
    best, test = journal.best or {}, journal.latest("test")
    started = (run.folder / "config.json").stat().st_mtime
    accuracy = test["metrics"].get("accuracy") if test else None
    return {
        "Run": run.name,
        "State": run.state().capitalize(),
        "Note": run.note,
        "Best epoch": best.get("epoch"),
        "Validation loss": best.get("val_loss"),
        "Validation accuracy": best.get("val_accuracy"),
        "Test accuracy": accuracy["value"] if accuracy else None,
        "95 % interval": f"{accuracy['low']:.1%} to {accuracy['high']:.1%}, n = {accuracy['n']}" if accuracy else "",
        **settings,
        "Minutes": journal.seconds_at_work() / 60,
        "Started": datetime.fromtimestamp(started).astimezone(),
    }


def _actions(chosen: list[Run]) -> None:
    one = chosen[0]
    several = len(chosen) > 1
    with st.container(horizontal=True):
        st.button("Open", icon=":material/open_in_new:", on_click=_open, args=(one.name,), disabled=several)
        if st.button("Rename or note", icon=":material/edit:", disabled=several):
            _edit(one)
        if st.button("Delete", icon=":material/delete:"):
            _delete(chosen)


def _open(name: str) -> None:
    st.session_state["train_run"] = name


@st.dialog("Name and note")
def _edit(run: Run) -> None:
    name = st.text_input("Name", run.name, help="Of the run. A model that it made keeps its name.")
    note = st.text_area("Note", run.note)
    if st.button("Save", type="primary"):
        try:
            if name != run.name:
                run = runs.rename(run, name.strip())
            run.note = note.strip()
        except CovidCnnError as error:
            st.error(plain(str(error)))
            return
        st.rerun()


@st.dialog("Delete for good?")
def _delete(chosen: list[Run]) -> None:
    names = ", ".join(run.name for run in chosen)
    st.markdown(plain(f"The curves, settings and checkpoints of {names} go. The models that came out of it stay."))
    sure = st.checkbox("I am sure that nobody needs them any more.")
    if st.button("Delete for good", type="primary", disabled=not sure):
        try:
            for run in chosen:
                runs.delete(run)
        except CovidCnnError as error:
            st.error(plain(str(error)))
            return
        st.rerun()


# Side by side


def _compare(chosen: list[Run]) -> None:
    st.subheader("Side by side")
    settings = pd.DataFrame({run.name: {k: str(v) for k, v in run.config.telling.items()} for run in chosen})
    settings.index = [str(key).replace("_", " ").capitalize() for key in settings.index]
    differ = settings.nunique(axis=1) > 1
    settings.insert(0, "Differs", ["yes" if value else "" for value in differ])
    st.dataframe(settings.style.apply(lambda row: [CHANGED if row["Differs"] else ""] * len(row), axis=1))
    with st.container(horizontal=True, vertical_alignment="bottom"):
        metric = st.segmented_control("Curve", ("loss", "accuracy"), default="loss", key="train_compare") or "loss"
        logarithmic = st.toggle("Log scale", key="train_compare_log", disabled=metric == "accuracy")
    points = pd.concat([_epochs(run, metric) for run in chosen], ignore_index=True)
    if points.empty:
        st.info("None of these runs has finished an epoch yet.")
        return
    st.altair_chart(_chart(points, metric, logarithmic and metric == "loss"))


def _epochs(run: Run, metric: str) -> pd.DataFrame:
    drawn = run_charts.points(run.journal, run.config.epochs, metric)
    return drawn[drawn["kind"] == "epoch"].assign(run=run.name)


def _chart(points: pd.DataFrame, metric: str, logarithmic: bool) -> alt.Chart:
    """A colour for each run; training is dashed."""
    return (
        alt.Chart(points, height=360)
        .mark_line(point=True)
        .encode(
            x=alt.X("epoch:Q", title="Epoch", axis=alt.Axis(tickMinStep=1)),
            y=alt.Y("value:Q", title=metric.capitalize(), scale=run_charts.scale(metric, logarithmic)),
            color=alt.Color("run:N", title=None, legend=alt.Legend(orient="top", labelLimit=400)),
            strokeDash=alt.StrokeDash(
                "curve:N",
                title=None,
                scale=alt.Scale(domain=["Validation", "Training"], range=[[1, 0], [5, 4]]),
                legend=alt.Legend(orient="top", symbolType="stroke", symbolStrokeWidth=2),
            ),
            tooltip=["run:N", "curve:N", "epoch:Q", alt.Tooltip("value:Q", title=metric, format=".4f")],
        )
    )
