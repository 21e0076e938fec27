"""The guided tour: why a score of 100 % says little, as slides.

They are all in the browser from the beginning, so that nothing is waited for between them (``deck.js``). Those about
a visitor's own images (``own.py``) come when they are made.
"""

from pathlib import Path
from typing import Any

import streamlit as st

from covid_cnn.app import pages
from covid_cnn.app.shared import elements
from covid_cnn.app.tour import own, slides
from covid_cnn.common.jobs import Job
from covid_cnn.models import bundle

TITLE = "Why 100 % is not 100 %"
_component = elements.register_component(Path(__file__).with_name("deck"), isolated=False)


def draw_page() -> None:
    """Show the page."""
    elements.draw_heading(TITLE)
    elements.draw_notice()
    models, _ = bundle.discover_bundles()
    described, jobs = own.describe_images()
    made = slides.make_slides(models, [*described, *own.describe_models(models)])
    chosen = _component(key="tour", data={"slides": made, "end": pages.PREDICT}, on_page_change=lambda: None)
    if chosen.page:
        pages.switch_to(chosen.page)
    if running := [job for job in jobs if job.running]:
        _watch(running)


@st.fragment(run_every=1.0)
def _watch(jobs: list[Job[Any]]) -> None:
    """How far the work on a visitor's own images is; the page runs anew whenever some of it has ended."""
    if not all(job.running for job in jobs):
        st.rerun()
    with st.container(key="tour_progress"):
        st.progress(sum(min(max(job.part, 0.0), 1.0) for job in jobs) / len(jobs))
