"""The guided tour: why a score of 100 % says little, as slides.

They are all in the browser from the beginning, so that nothing is waited for between them (``deck.js``).
"""

from pathlib import Path

import streamlit as st

from covid_cnn.app import pages
from covid_cnn.app.shared import elements
from covid_cnn.app.tour import slides

TITLE = "Why 100 % is not 100 %"
_HTML, _CSS, _JS = (
    Path(__file__).with_name(f"deck.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")
)
_component = st.components.v2.component("covid_cnn_tour", html=_HTML, css=_CSS, js=_JS, isolate_styles=False)


def draw_page() -> None:
    """Show the page."""
    elements.draw_heading(TITLE)
    elements.draw_notice()
    chosen = _component(
        key="tour", data={"slides": slides.make_slides(), "end": pages.PREDICT}, on_page_change=lambda: None
    )
    if chosen.page:
        pages.switch_to(chosen.page)
