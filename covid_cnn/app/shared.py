"""What several pages share: the notice, the loaded models, the way to another page."""

import base64
import re
from pathlib import Path

import numpy as np
import streamlit as st

from covid_cnn import bundle, glossary, imaging, paths, report
from covid_cnn.bundle import Bundle

SYNTHETIC = ":violet-badge[:material/draw: Synthetic: drawn, not taken of a person]"


def notice() -> None:
    """The banner of every screen that shows a prediction."""
    st.warning(f"**{report.NOTICE}**", icon=":material/school:")


def plain(text: str) -> str:
    """Markdown that shows the text as it is, for what comes from file names: ``st.caption(plain("a_b_c"))``."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)


def address_of(pixels: np.ndarray) -> str:
    """The picture, as ``imaging.to_png`` takes it, as a data: address.

    A picture with an address of Streamlit's own is gone as soon as the page shows another in its place, which may be
    before a browser has fetched it.
    """
    return f"data:image/png;base64,{base64.b64encode(imaging.to_png(pixels)).decode('ascii')}"


def load_bundle(name: str) -> Bundle:
    """The bundle ``models/NAME``, one for all sessions, loaded anew when its files change; raises BundleError."""
    folder = paths.models_dir() / name
    info = folder / bundle.INFO
    return _load_bundle(folder, info.stat().st_mtime_ns if info.is_file() else 0)


@st.cache_resource(max_entries=8, show_spinner="Loading the model")
def _load_bundle(folder: Path, changed: int) -> Bundle:
    return Bundle(folder)


def term(key: str) -> None:
    """What a number means in plain words, and one click deeper how it is defined and where it comes from."""
    told = glossary.TERMS[key]
    st.caption(told.plain)
    with st.popover(told.name, type="tertiary", icon=":material/menu_book:"):
        st.markdown(f"**{told.name}.** {told.definition}")
        st.latex(told.formula)
        st.caption(told.paper)
