"""Stage mode: key P and a button on every page, for whoever shows the app to others.

Full screen, without navigation, in large type. It works in the browser alone (``stage.js``), and stays while one goes
from page to page; other pages find the class ``stage`` on the root element.
"""

from pathlib import Path

import streamlit as st

_HTML, _CSS, _JS = (
    Path(__file__).with_name(f"stage.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")
)
_component = st.components.v2.component("covid_cnn_stage", html=_HTML, css=_CSS, js=_JS, isolate_styles=False)


def offer_stage_mode() -> None:
    """Put the button on the page; it takes no place in its flow."""
    with st.container(key="stage"):
        _component(key="stage_mode")
