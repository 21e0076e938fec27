"""All runs in one table, with their settings and results: to sort, and to choose those that something is done with."""

import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pandas as pd
import streamlit as st

from covid_cnn.app.shared import demo, elements
from covid_cnn.app.shared.elements import escape_markdown
from covid_cnn.app.train import comparison
from covid_cnn.app.train.settings import describe_settings
from covid_cnn.common.errors import RunError
from covid_cnn.runs.run import Run, delete_run, rename_run


def draw_table(runs: Sequence[Run]) -> None:
    """The table of runs, what can be done with those chosen in it, and their comparison."""
    st.header("Runs")
    st.caption("Click a column's title to sort. Choose one run to open, rename or delete it, or several to compare.")
    readable, rows = [], []
    for run in runs:
        try:
            rows.append(_row(run))
            readable.append(run)
        except RunError as error:
            st.warning(escape_markdown(str(error)))
    chosen = _choose(readable, pd.DataFrame(rows))
    if chosen:
        draw_actions(chosen)
    if len(chosen) > 1:
        comparison.draw_comparison(chosen)
    watch({run: run.state() for run in runs})


def _choose(listed: list[Run], rows: pd.DataFrame) -> list[Run]:
    """The runs that a person has chosen. They are kept by name: the browser knows row numbers, which newcomers move."""
    names = [run.name for run in listed]
    wanted = st.session_state.get("train_chosen", ())
    table = st.dataframe(
        rows,
        hide_index=True,
        alt="The runs with their settings and results",
        on_select="rerun",
        selection_mode="multi-row",
        selection_default={"selection": {"rows": [row for row, name in enumerate(names) if name in wanted]}},
        key=f"train_table_{zlib.crc32(chr(0).join(names).encode())}",
        column_config={
            "Started": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm"),
            "Validation loss": st.column_config.NumberColumn(format="%.4f"),
            "Validation accuracy": st.column_config.NumberColumn(format="percent"),
            "Test accuracy": st.column_config.NumberColumn(format="percent"),
            "Learning rate": st.column_config.NumberColumn(format="%g"),
            "Minutes": st.column_config.NumberColumn(format="%.1f", help="That the run has been at work."),
        },
    )
    chosen = [listed[row] for row in table.selection.rows if row < len(listed)]
    st.session_state["train_chosen"] = [run.name for run in chosen]
    return chosen


@st.fragment(run_every=2.0)
def watch(drawn: Mapping[Run, str]) -> None:
    """Draw the page anew when a run is in another state than the one that was drawn."""
    if any(run.folder.exists() and run.state() != state for run, state in drawn.items()):
        st.rerun()


def _row(run: Run) -> dict[str, Any]:
    titles, settings = list(describe_settings(run.config).items()), list(run.config.active_settings.values())
    # Numbers stay numbers, to be sorted by.
    shown = {
        title: value if isinstance(value, int | float) else text
        for (title, text), value in zip(titles, settings, strict=True)
    }
    started = (run.folder / "config.json").stat().st_mtime
    return {
        "Run": run.name,
        "State": run.state().capitalize(),
        "Note": run.note,
        **comparison.results(run),
        **shown,
        "Minutes": run.journal.seconds_at_work() / 60,
        "Started": datetime.fromtimestamp(started).astimezone(),
    }


def draw_actions(chosen: list[Run], is_open: bool = False) -> None:
    """The buttons for one or several runs; one that ``is_open`` need not be opened."""
    one = chosen[0]
    several = len(chosen) > 1
    with st.container(horizontal=True):
        if not is_open:
            st.button("Open", icon=":material/open_in_new:", on_click=_open, args=(one.name,), disabled=several)
        if not demo.is_visitor() and st.button("Rename or note", icon=":material/edit_note:", disabled=several):
            st.dialog("Name and note")(edit)(one)
        if not demo.is_visitor() and st.button("Delete", icon=":material/delete:"):
            st.dialog("Delete for good?")(delete)(chosen)


def _open(name: str) -> None:
    st.session_state["train_run"] = name


def edit(run: Run) -> None:
    """The fields of the name and the note of a run, for a dialog."""
    name = st.text_input("Name", run.name, help="Of the run. A model that it made keeps its name.")
    note = st.text_area("Note", run.note)
    if st.button("Save", type="primary"):
        with elements.draw_errors():
            demo.require(demo.Deed.NAME)
            if name.strip() != run.name:
                was_open = st.session_state.get("train_run") == run.name
                run = rename_run(run, name.strip())
                if was_open:
                    st.session_state["train_next"] = run.name
            run.note = note.strip()
            st.rerun()


def delete(chosen: list[Run]) -> None:
    """The second question before runs are deleted, for a dialog."""
    names = ", ".join(run.name for run in chosen)
    st.markdown(
        escape_markdown(f"The curves, settings and checkpoints of {names} go. The models that came out of it stay.")
    )
    sure = st.checkbox("I am sure that nobody needs them any more.")
    if st.button("Delete for good", type="primary", disabled=not sure):
        with elements.draw_errors():
            demo.require(demo.Deed.DELETE)
            for run in chosen:
                delete_run(run)
            st.rerun()
