"""The tour, told with radiographs that the program draws, with a letter on the ill ones."""

from typing import Any, NamedTuple

import numpy as np
import streamlit as st

from covid_cnn import evaluation, imaging, planted, what_if
from covid_cnn.app import shared, tour_screens
from covid_cnn.app.shared import plain
from covid_cnn.planted import Hospital, ThumbnailClassifier
from covid_cnn.questions import Verdicts

SHOWN = 5  # images of each kind
STAMPED = 8  # images that letters are tried on
DRAWING = "Drawing radiographs"


class DrawnStory:
    """Told with a classifier that learns on the spot."""

    @property
    def learned(self) -> Hospital:
        """To learn from."""
        return _hospital(1, 30, True)

    @property
    def tested(self) -> Hospital:
        """To test with: the letter stands on the ill, as on those to learn from."""
        return _hospital(2, 20, True)

    @property
    def other(self) -> Hospital:
        """Another one, where the letter stands on the healthy."""
        return _hospital(3, 20, False)

    def _verdicts(self, of: Hospital) -> Verdicts:
        items: list[Any] = [_Drawn(f"patient {i}") for i in range(len(of.ill))]
        scores, flagged = _classifier().predict(of.images), np.zeros(len(of.ill), bool)
        return Verdicts("ill", "healthy", items, of.ill, scores, 0.5, flagged, [])

    def images(self) -> None:
        st.markdown(
            f"{len(self.learned.ill)} X-rays to learn from. No dataset is at hand, so the program drew these; the ill "
            "ones have patchy opacities in the lungs. Look at both rows. Can you tell them apart without any medicine?"
        )
        st.markdown(shared.SYNTHETIC)
        for name, ill in (("Healthy", False), ("Ill", True)):
            st.markdown(f"**{name}**")
            tour_screens.row([imaging.to_png(image) for image in self.learned.images[self.learned.ill == ill][:SHOWN]])

    def score(self) -> None:
        tour_screens.score(
            self._verdicts(self.tested), "A classifier that sees every image as 16 x 16 pixels, too few for a lung,"
        )
        st.image(imaging.prepare(self.tested.images[1], planted.THUMBNAIL)[..., 0], width=160, clamp=True)
        st.caption("All that it sees of an X-ray.")

    def audit(self) -> None:
        st.markdown("How well can the classes be told apart by what should tell nothing, a corner of the image?")
        side = planted.SIZE // 4
        corners = {
            "upper left": np.s_[:, :side, :side],
            "upper right": np.s_[:, :side, -side:],
            "lower left": np.s_[:, -side:, :side],
            "lower right": np.s_[:, -side:, -side:],
        }
        names = [str(i) for i in range(len(self.learned.ill))]
        for name, part in corners.items():
            brightest = self.learned.images[part].max(axis=(1, 2))
            found = evaluation.bootstrap(evaluation.auroc, self.learned.ill, brightest, names)
            if found:
                box = st.error if found.low > 0.6 else st.success
                box(f"The brightest spot of the {name} corner: AUROC {found}. 0.5 is chance.")

    def means(self) -> None:
        ill = self.learned.ill
        means = {"healthy": self.learned.images[~ill].mean(axis=0), "ill": self.learned.images[ill].mean(axis=0)}
        tour_screens.means(means)

    def away(self) -> None:
        home, away = self._verdicts(self.tested), self._verdicts(self.other)
        st.markdown("At another hospital the letter is put on the other way round: on the healthy.")
        tour_screens.home_and_away(home, "at home", away, "at the other hospital")

    def what_if(self) -> None:
        verdicts = self._verdicts(self.tested)
        pixels = list(self.tested.images[~self.tested.ill][:STAMPED])
        flips = planted.flips(lambda image: float(_classifier().predict(image[None])[0]), pixels)
        tour_screens.stamped(tour_screens.tried(flips, pixels, verdicts.threshold), verdicts)

    def instead(self) -> None:
        model = tour_screens.default_model()
        if model is None:
            return
        st.markdown(
            f"**{plain(model.name)}** looks at the lungs that it finds, and says when an image is unlike those that it "
            "learned from. The same drawing without and with the letter:"
        )
        image = self.tested.images[0]
        stamped = what_if.stamp(image, *planted.PLACE, planted.HEIGHT)
        with st.container(horizontal=True, gap="large"):
            for pixels in (image, stamped):
                with st.container(width=tour_screens.LARGE):
                    st.image(imaging.to_png(pixels), width="stretch")
                    told = model.predict(pixels)
                    if told.in_distribution:
                        st.markdown(plain(", ".join(f"{name} {p:.3f}" for name, p in told.by_class().items())))
                    else:
                        st.markdown("**Not sure.** " + plain(told.warning))


class _Drawn(NamedTuple):
    """A drawn patient, as far as verdicts need one."""

    patient: str


@st.cache_resource(show_spinner=False)
def _hospital(seed: int, count: int, on_the_ill: bool) -> Hospital:
    """Drawn when it is first looked at, with a bar."""
    bar = st.progress(0.0, DRAWING)

    def show(part: float) -> None:
        bar.progress(part, DRAWING)

    drawn = planted.hospital(seed, count, lambda ill: ill == on_the_ill, progress=show)
    bar.empty()
    return drawn


@st.cache_resource(show_spinner="The classifier learns")
def _classifier() -> ThumbnailClassifier:
    return ThumbnailClassifier(DrawnStory().learned)
