"""What can be done with runs at rest: open, rename, annotate, delete."""

import streamlit as st

from covid_cnn.app.shared import demo
from covid_cnn.app.shared.elements import escape_markdown
from covid_cnn.common.errors import CovidCnnError
from covid_cnn.runs.run import Run, delete_run, rename_run


def draw_actions(chosen: list[Run], is_open: bool = False) -> None:
    """The buttons for one or several runs; one that ``is_open`` need not be opened."""
    one = chosen[0]
    several = len(chosen) > 1
    with st.container(horizontal=True):
        if not is_open:
            st.button("Open", icon=":material/open_in_new:", on_click=_open, args=(one.name,), disabled=several)
        if demo.allows(demo.Deed.NAME) and st.button("Rename or note", icon=":material/edit_note:", disabled=several):
            st.dialog("Name and note")(edit)(one)
        if demo.allows(demo.Deed.DELETE) and st.button("Delete", icon=":material/delete:"):
            st.dialog("Delete for good?")(delete)(chosen)


def _open(name: str) -> None:
    st.session_state["train_run"] = name


def edit(run: Run) -> None:
    """The fields of the name and the note of a run, for a dialog."""
    name = st.text_input("Name", run.name, help="Of the run. A model that it made keeps its name.")
    note = st.text_area("Note", run.note)
    if st.button("Save", type="primary"):
        try:
            demo.require(demo.Deed.NAME)
            if name.strip() != run.name:
                was_open = st.session_state.get("train_run") == run.name
                run = rename_run(run, name.strip())
                if was_open:
                    st.session_state["train_next"] = run.name
            run.note = note.strip()
        except CovidCnnError as error:
            st.error(escape_markdown(str(error)))
            return
        st.rerun()


def delete(chosen: list[Run]) -> None:
    """The second question before runs are deleted, for a dialog."""
    names = ", ".join(run.name for run in chosen)
    st.markdown(
        escape_markdown(f"The curves, settings and checkpoints of {names} go. The models that came out of it stay.")
    )
    sure = st.checkbox("I am sure that nobody needs them any more.")
    if st.button("Delete for good", type="primary", disabled=not sure):
        try:
            demo.require(demo.Deed.DELETE)
            for run in chosen:
                delete_run(run)
        except CovidCnnError as error:
            st.error(escape_markdown(str(error)))
            return
        st.rerun()
