"""What several pages share: the notice, pictures, the loaded models, terms, stage mode."""

import base64
import contextlib
import mimetypes
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import streamlit as st

from covid_cnn.common.errors import CovidCnnError
from covid_cnn.images import ops
from covid_cnn.models import bundle
from covid_cnn.models.bundle import Bundle
from covid_cnn.reports import wording

# Of marks in charts, as the theme has them: Okabe and Ito's (2008), which colour-blind eyes tell apart, made lighter or
# darker until they are seen on white and on black.
COLOURS = ("#2e8fd6", "#c27f03", "#14a078", "#c86f9f", "#d55e00", "#8f7fd6", "#8a8f94", "#8f8f1c")
WORD_JOINER = "\u2060"  # has no width; browsers make a link of an address in plain text, but not of one with it
SYNTHETIC = ":violet-badge[:material/draw: Synthetic: drawn, not taken of a person]"


def register_component(stem: Path, isolated: bool = True) -> Any:
    """A component of our own, of the files ``STEM.html``, ``STEM.css`` and ``STEM.js``."""
    html, css, js = (stem.with_suffix(f".{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js"))
    return st.components.v2.component(f"covid_cnn_{stem.name}", html=html, css=css, js=js, isolate_styles=isolated)


_stage = register_component(Path(__file__).with_name("stage"), isolated=False)


def draw_notice() -> None:
    """The slim strip of every screen that shows a prediction."""
    with st.container(key="notice"):
        st.warning(f"**{wording.NOTICE}**", icon=":material/school:")


def draw_heading(title: str) -> None:
    """The title of a page whose first words are something better: heard, and not seen."""
    with st.container(key="heading"):
        st.title(title, anchor=False)


def escape_markdown(text: str) -> str:
    """Markdown that shows the text as it is, for what comes from file names: ``st.caption(plain("a_b_c"))``."""
    unlinked = re.sub(r"(?=://)|(?<=\bwww)(?=\.)|(?<=@)", WORD_JOINER, text)
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", unlinked)


def elide_left(text: str, longest: int = 36) -> str:
    """The end of a long name, which is what tells files apart: "…67.203/IM0001.dcm"."""
    return text if len(text) <= longest else f"…{text[1 - longest :]}"


def data_address(pixels: np.ndarray) -> str:
    """The picture, as ``ops.to_png`` takes it, as a data: address.

    A picture with an address of Streamlit's own is gone as soon as the page shows another in its place, which may be
    before a browser has fetched it.
    """
    return f"data:image/png;base64,{base64.b64encode(ops.to_png(pixels)).decode('ascii')}"


def draw_captioned(place: Any, picture: bytes | str, caption: str, width: int | Literal["stretch"] = "stretch") -> None:
    """A picture over its words, which are what is heard of it as well; `place` is `st` or a container."""
    place.image(picture, caption=escape_markdown(caption), width=width, alt=caption)


def draw_error(error: CovidCnnError | str) -> None:
    """What went wrong, in its own sentence."""
    st.error(escape_markdown(str(error)), icon=":material/error:")


@contextlib.contextmanager
def draw_errors() -> Iterator[None]:
    """Within, what a user can cause is told on the page, and ends the block."""
    try:
        yield
    except CovidCnnError as error:
        draw_error(error)


def offer_download(label: str, make: Callable[[], str | bytes], file: str, **options: Any) -> None:
    """A button for a file, which is made when it is pressed; of what kind it is, its ending tells."""
    kind, _ = mimetypes.guess_type(file)
    st.download_button(label, make, file, kind, icon=":material/download:", on_click="ignore", **options)


def draw_table(table: Sequence[Sequence[object]], place: Any = st, alt: str | None = None) -> None:
    """A table, its head first; `place` is `st` or a container."""
    import pandas as pd  # here, for the server starts without it

    head, *rows = table
    place.dataframe(pd.DataFrame(rows, columns=list(head)), hide_index=True, height="content", alt=alt)


def draw_tabs(key: str, tabs: Mapping[str, Callable[[], None]]) -> None:
    """Tabs by their titles, of which the open one alone is drawn."""
    for tab, draw in zip(st.tabs(list(tabs), key=key, on_change="rerun"), tabs.values(), strict=True):
        if tab.open:
            with tab:
                draw()


def load_bundle(name: str) -> Bundle:
    """The bundle ``models/NAME``, one for all sessions, loaded anew when its files change; raises BundleError."""
    folder = bundle.folder_of(name)
    info = folder / bundle.INFO_FILE
    return _load_bundle(folder, info.stat().st_mtime_ns if info.is_file() else 0)


@st.cache_resource(max_entries=8, show_spinner="Loading the model")
def _load_bundle(folder: Path, changed: int) -> Bundle:
    return Bundle(folder)


def term_help(key: str) -> None:
    """What a number means in plain words, and one click deeper how it is defined and where it comes from."""
    term = wording.read_terms()[key]
    st.caption(term.plain)
    with st.popover(term.name, type="tertiary", icon=":material/menu_book:"):
        st.markdown(f"**{term.name}.** {term.definition}")
        st.latex(term.formula)
        st.caption(term.paper)


def offer_stage_mode() -> None:
    """The button of stage mode: full screen, no navigation, large type. Key P does the same.

    It works in the browser alone (``stage.js``), and stays from page to page; other pages find the class
    ``stage`` on the root element.
    """
    with st.container(key="stage"):
        _stage(key="stage_mode")
