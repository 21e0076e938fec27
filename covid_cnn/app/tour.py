"""The guided tour: why a score of 100 % says little, in seven screens with live pictures.

It is told with the notebook's dataset and a shipped model where they are at hand, and else with radiographs that the
program draws, a letter planted on the ill ones, and a small classifier that learns from them on the spot. Either way
all that it shows is worked out while one looks.
"""

from collections.abc import Callable
from typing import Protocol

import streamlit as st

from covid_cnn import bundle
from covid_cnn.app import indexed, shared
from covid_cnn.app.evaluate_asking import places
from covid_cnn.app.shared import plain
from covid_cnn.app.tour_drawn import DrawnStory
from covid_cnn.app.tour_real import RealStory
from covid_cnn.errors import CovidCnnError

STEP, PRESENTING = "tour_step", "tour_presenting"
PERFECT = "efficientnet_lite0"  # of the shipped models, the one with the perfect score
LARGE = """<style>[data-testid=stMarkdownContainer] p:not([data-testid=stMetric] p) {
font-size: 1.35rem; line-height: 1.5}</style>"""


class Story(Protocol):
    """What each screen shows."""

    def images(self) -> None: ...
    def score(self) -> None: ...
    def audit(self) -> None: ...
    def means(self) -> None: ...
    def away(self) -> None: ...
    def what_if(self) -> None: ...
    def instead(self) -> None: ...


STEPS: dict[str, Callable[[Story], None]] = {
    "The images": lambda story: story.images(),
    "A perfect score": lambda story: story.score(),
    "The audit": lambda story: story.audit(),
    "The mean images": lambda story: story.means(),
    "Another hospital": lambda story: story.away(),
    "What if?": lambda story: story.what_if(),
    "What the default model does instead": lambda story: story.instead(),
}


def page() -> None:
    """Show the page."""
    st.title("Why 100 % is not 100 %")
    shared.notice()
    titles = list(STEPS)
    step = min(max(int(st.session_state.setdefault(STEP, 0)), 0), len(titles) - 1)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.button("Back", icon=":material/arrow_back:", shortcut="Left", on_click=_go, args=(-1,), disabled=not step)
        st.markdown(f"**{step + 1} of {len(titles)}**", width="content")
        last = step == len(titles) - 1
        st.button(
            "Next",
            type="primary",
            icon=":material/arrow_forward:",
            icon_position="right",
            shortcut="Right",
            on_click=_go,
            args=(1,),
            disabled=last,
        )
        # A button, for while a switch has the focus the browser gives it the arrow keys.
        large = st.session_state.get(PRESENTING, False)
        st.button(
            "Smaller words" if large else "Presenter",
            icon=":material/close_fullscreen:" if large else ":material/present_to_all:",
            help="Larger words. The arrow keys turn the pages.",
            on_click=_present,
            args=(not large,),
        )
    if large:
        st.html(LARGE)
    st.header(titles[step])
    try:
        STEPS[titles[step]](_story())
    except CovidCnnError as error:
        st.error(plain(str(error)), icon=":material/error:")


def _go(by: int) -> None:
    st.session_state[STEP] = st.session_state.get(STEP, 0) + by


def _present(large: bool) -> None:
    st.session_state[PRESENTING] = large


def _story() -> Story:
    found, _ = indexed.every()
    models, _ = bundle.discover()
    if PERFECT in models:
        model = shared.load_bundle(PERFECT)
        own = model.info["training_data"]["name"]
        homes = (place for place in places(found).values() if place.dataset.name == own and place.split == "test")
        if home := next(homes, None):
            return RealStory(model, home, [one for one in found if one.name != own])
    return DrawnStory()
