"""The Evaluate page: what a model answers to a dataset, and what its score is worth."""

import streamlit as st

from covid_cnn.app import pages
from covid_cnn.app.dataset import adding
from covid_cnn.app.evaluate import external, single
from covid_cnn.app.shared import elements, library
from covid_cnn.app.shared.elements import escape_markdown
from covid_cnn.models import bundle


def draw_page() -> None:
    """Show the page."""
    elements.draw_heading("Evaluate")
    elements.draw_notice()
    adding.draw_under_way()
    models, problems = bundle.discover_bundles()
    datasets, more_problems = library.all_datasets()
    for problem in [*problems, *more_problems]:
        st.warning(escape_markdown(problem), icon=":material/warning:")
    if not models or not datasets:
        _nothing_yet(bool(models))
        return
    one, many = st.tabs(["One model, one dataset", "Home and away"], key="evaluate_tab", on_change="rerun")
    if one.open:
        with one:
            single.draw_single(list(models), datasets)
    if many.open:
        with many:
            external.draw_external(models, datasets)


def _nothing_yet(models: bool) -> None:
    if models:
        st.info("There is no dataset yet to evaluate a model on. Add one; it takes a minute.", icon=":material/add:")
        adding.offer_adding(primary=True)
    else:
        st.info("There is no model yet. Train one: it takes a minute.", icon=":material/model_training:")
        if st.button("Train a model", type="primary"):
            pages.switch_to(pages.TRAIN)
