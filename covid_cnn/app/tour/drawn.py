"""The tour, told with radiographs that the program draws, with a letter on the ill ones."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import streamlit as st

from covid_cnn.app.shared import background, elements
from covid_cnn.app.shared.elements import escape_markdown
from covid_cnn.app.tour import screens
from covid_cnn.common import statistics
from covid_cnn.common.jobs import Progress
from covid_cnn.data import planted
from covid_cnn.data.overview import Mean
from covid_cnn.data.planted import Hospital, ThumbnailClassifier
from covid_cnn.evaluation import cohorts
from covid_cnn.evaluation.binary import BinaryPredictions
from covid_cnn.images import ops

if TYPE_CHECKING:
    from covid_cnn.data.audit import AuditReport


SHOWN = 5  # images of each kind
STAMPED = 5  # images that letters are tried on
DRAWING = "Drawing radiographs"
NAME = "drawn X-rays with a letter on the ill"


class DrawnStory:
    """Told with a classifier that learns on the spot."""

    @property
    def learned(self) -> Hospital:
        """To learn from."""
        return _hospital(1, 60, True)

    @property
    def tested(self) -> Hospital:
        """To test with: the letter stands on the ill, as on those to learn from."""
        return _hospital(2, 20, True)

    @property
    def other(self) -> Hospital:
        """Another one, where the letter stands on the healthy."""
        return _hospital(3, 20, False)

    def _verdicts(self, of: Hospital) -> BinaryPredictions:
        items: list[Any] = [_Drawn(f"patient {i}") for i in range(len(of.ill))]
        scores, flagged = _classifier().predict(of.images), np.zeros(len(of.ill), bool)
        return BinaryPredictions("ill", "healthy", items, of.ill, scores, 0.5, flagged, [])

    def images(self) -> None:
        """The images that the network learned from."""
        _synthetic(len(self.learned.ill))
        st.markdown(
            f"{len(self.learned.ill)} X-rays to learn from. The program drew them; the ill ones have patchy opacities "
            "in the lungs. Look at both rows. Can you tell them apart without any medicine?"
        )
        for name, ill in (("Healthy", False), ("Ill", True)):
            st.markdown(f"**{name}**")
            some = self.learned.images[self.learned.ill == ill][:SHOWN]
            screens.pictures_row([(ops.to_png(image), "") for image in some])

    def score(self) -> None:
        """Its score on the test images of its own hospital."""
        verdicts = self._verdicts(self.tested)
        _synthetic(len(verdicts.items))
        right = statistics.wilson(int(verdicts.right.sum()), len(verdicts.items))
        screens.score_line(right, "A classifier that sees every image as 16 x 16 pixels, too few for a lung,")
        small = ops.prepare(self.tested.images[1], planted.CLASSIFIER_SIZE)[..., 0]
        st.image(elements.data_address(small), width=160, alt="An X-ray of 16 x 16 pixels")
        st.caption("All that it sees of an X-ray.")

    def audit(self) -> None:
        """What the audit finds in the dataset."""
        hospitals = {"train": self.learned, "test": self.tested}
        _synthetic(sum(len(one.ill) for one in hospitals.values()))
        report = background.await_result(
            "tour drawn audit", lambda tell: _audit(hospitals, tell), "Go on", at_once=True
        )
        if report is not None:
            screens.draw_audit_screen(report)

    def means(self) -> None:
        """The mean image of each class."""
        ill = self.learned.ill
        _synthetic(len(ill))
        groups = {"healthy": self.learned.images[~ill], "ill": self.learned.images[ill]}
        screens.draw_means({name: Mean(images.mean(axis=0), len(images)) for name, images in groups.items()})

    def away(self) -> None:
        """Its score at another hospital."""
        home, away = self._verdicts(self.tested), self._verdicts(self.other)
        _synthetic(len(home.items) + len(away.items), "drawn X-rays of two hospitals")
        st.markdown(
            "The classifier on 16 x 16 pixels learned where the letter stands on the ill. At another hospital it is "
            "put on the other way round: on the healthy."
        )
        screens.draw_external_screen(
            cohorts.shares_of("the hospital that it knows", home), cohorts.shares_of("the other hospital", away)
        )

    def what_if(self) -> None:
        """What becomes of its answer under a stamped letter."""
        verdicts = self._verdicts(self.tested)
        pixels = list(self.tested.images[~self.tested.ill][:STAMPED])
        _synthetic(len(pixels), "healthy drawn X-rays without a letter")
        flips = planted.stamp_everywhere(lambda image: float(_classifier().predict(image[None])[0]), pixels)
        screens.draw_stamped(screens.tried_cases(flips, pixels, verdicts.threshold), verdicts, "healthy ones")

    def instead(self) -> None:
        """What to do instead."""
        model = screens.default_model()
        if model is None:
            return
        _synthetic(1, "drawn X-ray")
        st.markdown(
            f"**{escape_markdown(model.name)}** looks at the lungs that it finds, "
            "and says when an image is unlike those that it "
            "learned from. The same drawing without and with the letter:"
        )
        image = self.tested.images[0]
        stamped = ops.stamp(image, *planted.LETTER_PLACE, planted.LETTER_HEIGHT)
        with st.container(horizontal=True, gap="large"):
            for pixels in (image, stamped):
                with st.container(width=screens.LARGE):
                    st.image(ops.to_png(pixels), width="stretch", alt="A drawn X-ray")
                    told = model.predict(pixels)
                    if told.in_distribution:
                        st.markdown(
                            escape_markdown(", ".join(f"{name} {p:.3f}" for name, p in told.by_class().items()))
                        )
                    else:
                        st.markdown("**Not sure.** " + escape_markdown(told.warning))


class _Drawn(NamedTuple):
    """A drawn patient, as far as verdicts need one."""

    patient: str


def _synthetic(count: int, what: str = NAME) -> None:
    st.markdown(elements.SYNTHETIC)
    screens.screen(f"{count} {what}")


def _audit(hospitals: dict[str, Hospital], tell: Progress) -> "AuditReport":
    from covid_cnn.data import audit  # here, as it brings scikit-learn along

    with tempfile.TemporaryDirectory() as folder:
        return audit.audit_dataset(planted.write_hospitals(Path(folder) / NAME, hospitals), tell)


@st.cache_resource(show_spinner=False)
def _hospital(seed: int, count: int, on_the_ill: bool) -> Hospital:
    """Drawn when it is first looked at, with a bar."""
    bar = st.progress(0.0, DRAWING)

    def show(part: float) -> None:
        bar.progress(part, DRAWING)

    drawn = planted.draw_hospital(seed, count, lambda ill: ill == on_the_ill, progress=show)
    bar.empty()
    return drawn


@st.cache_resource(show_spinner="The classifier learns")
def _classifier() -> ThumbnailClassifier:
    return ThumbnailClassifier(DrawnStory().learned)
