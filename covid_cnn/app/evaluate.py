"""The Evaluate page: what a model answers to a dataset, and what its score is worth."""

import streamlit as st

from covid_cnn import bundle
from covid_cnn.app import evaluate_many, evaluate_one, indexed, pages, shared
from covid_cnn.app.shared import plain


def page() -> None:
    """Show the page."""
    st.title("Evaluate")
    shared.notice()
    models, problems = bundle.discover()
    found, more_problems = indexed.every()
    for problem in [*problems, *more_problems]:
        st.warning(plain(problem), icon=":material/warning:")
    if not models or not found:
        _nothing_yet(bool(models))
        return
    one, many = st.tabs(["One model, one dataset", "Home and away"], key="evaluate_tab", on_change="rerun")
    if one.open:
        with one:
            evaluate_one.show(list(models), found)
    if many.open:
        with many:
            evaluate_many.show(models, found)


def _nothing_yet(models: bool) -> None:
    if models:
        st.info("There is no dataset yet to evaluate a model on. Add one; it takes a minute.", icon=":material/add:")
        if st.button("Add a dataset", type="primary"):
            pages.switch(pages.DATASET)
    else:
        st.info("There is no model yet. Train one: it takes a minute.", icon=":material/model_training:")
        if st.button("Train a model", type="primary"):
            pages.switch(pages.TRAIN)
