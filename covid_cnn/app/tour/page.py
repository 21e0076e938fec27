"""The guided tour: why a score of 100 % says little, in nine screens with live pictures.

It is told with the datasets and models that are here, best with the notebook's dataset and another hospital's. What
they cannot tell is told with radiographs that the program draws, a letter planted on the ill ones, and a small
classifier that learns from them on the spot. Either way all that it shows is worked out while one looks.
"""

from collections.abc import Callable
from typing import Protocol

import streamlit as st

from covid_cnn.app.evaluate.asking import EvaluationSet, choose_sets, own_dataset
from covid_cnn.app.shared import datasets, elements
from covid_cnn.app.shared.elements import escape_markdown
from covid_cnn.app.tour import ending
from covid_cnn.app.tour.drawn import DrawnStory
from covid_cnn.app.tour.real import RealStory
from covid_cnn.common.errors import CovidCnnError
from covid_cnn.data import classes, overview
from covid_cnn.data.dataset import Dataset
from covid_cnn.evaluation import external
from covid_cnn.models import bundle
from covid_cnn.models.bundle import Bundle

STEP, PRESENTING = "tour_step", "tour_presenting"
PERFECT = "efficientnet_lite0"  # of the shipped models, the one with the perfect score
LARGE = """<style>[data-testid=stMarkdownContainer] p:not([data-testid=stMetric] p) {
font-size: 1.35rem; line-height: 1.5}</style>"""


class Story(Protocol):
    """What each screen shows."""

    def images(self) -> None:
        """Draw the screen of that name."""

    def score(self) -> None:
        """Draw the screen of that name."""

    def audit(self) -> None:
        """Draw the screen of that name."""

    def means(self) -> None:
        """Draw the screen of that name."""

    def away(self) -> None:
        """Draw the screen of that name."""

    def what_if(self) -> None:
        """Draw the screen of that name."""

    def instead(self) -> None:
        """Draw the screen of that name."""


STEPS: dict[str, Callable[[Story], None]] = {
    "The images": lambda story: story.images(),
    "A perfect score": lambda story: story.score(),
    "The audit": lambda story: story.audit(),
    "The mean images": lambda story: story.means(),
    "Another hospital": lambda story: story.away(),
    "What if?": lambda story: story.what_if(),
    "What the default model does instead": lambda story: story.instead(),
    "Your guess": lambda story: ending.draw_guess(),
    "What to take home": lambda story: ending.draw_ending(),
}


def draw_page() -> None:
    """Show the page."""
    st.title("Why 100 % is not 100 %")
    elements.draw_notice()
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
        st.error(escape_markdown(str(error)), icon=":material/error:")


def _go(by: int) -> None:
    st.session_state[STEP] = st.session_state.get(STEP, 0) + by


def _present(large: bool) -> None:
    st.session_state[PRESENTING] = large


def _story() -> Story:
    """Told with what is here: the dataset of the model with the perfect score, or else the one with most to tell."""
    found, _ = datasets.all_datasets()
    model = elements.load_bundle(PERFECT) if PERFECT in bundle.discover_bundles()[0] else None
    home = _home(model, found) if model else None
    told = home.dataset if home else _most_telling(found)
    if told is None:
        return DrawnStory()
    away = external.is_external(home.dataset, found) if home else _most_healthy(found)
    elsewhere = next(iter(choose_sets([away]).values())) if away else None  # the test split comes first
    return RealStory(told, model, home, elsewhere)


def _home(model: Bundle, found: list[Dataset]) -> EvaluationSet | None:
    """The test images of a model's own dataset, told by its content where it has another name."""
    own = own_dataset(model.info)
    tests = (place for place in choose_sets(found).values() if place.split == "test")
    return next((place for place in tests if own and place.dataset.root == own.root), None)


def _most_telling(found: list[Dataset]) -> Dataset | None:
    """The collection of real images whose source gives most of the class away, and of these the largest."""
    real = [one for one in found if not one.synthetic and len(one.classes) > 1]
    return max(real, key=lambda one: (overview.sources_tell_class(one), len(one.items)), default=None)


def _most_healthy(found: list[Dataset]) -> Dataset | None:
    """The collection of real images with most healthy people; None where there is none of them."""

    def healthy(dataset: Dataset) -> int:
        return sum(classes.matching_class(item.label, ["normal"]) is not None for item in dataset.items)

    best = max((one for one in found if not one.synthetic), key=healthy, default=None)
    return best if best and healthy(best) else None
