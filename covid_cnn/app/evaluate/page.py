"""The Evaluate page: what a model answers to a dataset, and what its score is worth."""

import streamlit as st

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
    if not models:
        library.offer_training()
        return
    if not datasets:
        st.info("There is no dataset yet to evaluate a model on. Add one; it takes a minute.", icon=":material/add:")
        adding.offer_adding(primary=True)
        return
    tabs = {
        "One model, one dataset": lambda: single.draw_single(list(models), datasets),
        "Home and away": lambda: external.draw_external(models, datasets),
    }
    elements.draw_tabs("evaluate_tab", tabs)
