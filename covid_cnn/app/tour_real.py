"""The tour, told with the dataset that a shipped model learned from and another hospital's images."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from covid_cnn import assessment, evaluation, home_and_away, imaging, looks, overview, planted, questions, subgroups
from covid_cnn.app import evaluate_groups, indexed, pages, tour_screens, working
from covid_cnn.app.evaluate_asking import Place, answers, known, places
from covid_cnn.app.shared import plain
from covid_cnn.bundle import Bundle
from covid_cnn.datasets import Dataset
from covid_cnn.errors import ImageError
from covid_cnn.questions import ILL, Verdicts

if TYPE_CHECKING:
    from covid_cnn.audit import Report

SHOWN = 5  # images of each kind
FINDINGS = 6
STAMPED = 8  # images that letters are tried on
STAMPED_SIZE = (384, 384)


class RealStory:
    """Told with a model, the test split of its own dataset, and other datasets that may hold another hospital."""

    def __init__(self, model: Bundle, home: Place, others: list[Dataset]) -> None:
        self.model, self.home = model, home
        found = home_and_away.another_hospital(home.dataset, others)
        # The test split comes first of a dataset's places.
        self.elsewhere = next(iter(places([found]).values())) if found else None

    def images(self) -> None:
        dataset = self.home.dataset
        counts = ", ".join(
            f"{sum(item.label == label for item in dataset.items)} {plain(label)}" for label in dataset.classes
        )
        st.markdown(
            f"**{plain(dataset.name)}**: {len(dataset.items)} chest X-rays, {counts}. Look at both rows. Can you tell "
            "them apart without any medicine?"
        )
        for label in dataset.classes:
            st.markdown(f"**{plain(label)}**")
            items = [item for item in self.home.items if item.label == label]
            chosen = items[:: max(1, len(items) // SHOWN)][:SHOWN]
            pictures = looks.thumbnails([item.path for item in chosen])
            tour_screens.row([picture for picture in pictures if not isinstance(picture, ImageError)])

    def score(self) -> None:
        if verdicts := _asked(self.model, self.home):
            tour_screens.score(verdicts, f"{self.model.name}, which learned from the other images of this dataset,")

    def audit(self) -> None:
        report = _audit(self.home.dataset)
        if report is None:
            return
        st.markdown(
            "The program looks for what should not tell the classes apart, and for what the test knows already:"
        )
        serious = [finding for finding in report.findings if finding.severity == "serious"]
        for finding in serious[:FINDINGS]:
            st.error(plain(finding.sentence), icon=":material/error:")
        others = len(report.findings) - len(serious[:FINDINGS])
        st.caption(f"{others} more findings stand on the Dataset page.")

    def means(self) -> None:
        dataset = self.home.dataset
        key = "tour means", dataset.root, indexed.stamp(dataset.root)
        means = working.result(key, lambda tell: overview.mean_images(dataset, tell), "Go on", at_once=True)
        if means:
            tour_screens.means(means)

    def away(self) -> None:
        if self.elsewhere is None:
            st.info("For this screen add the X-rays of healthy people of another hospital on the Dataset page.")
            return
        home, away = _asked(self.model, self.home), _asked(self.model, self.elsewhere)
        if home and away:
            tour_screens.home_and_away(home, self.home.name, away, self.elsewhere.name)

    def what_if(self) -> None:
        verdicts = _asked(self.model, self.home)
        if verdicts is None:
            return
        right = np.flatnonzero(verdicts.right)
        unsure = right[np.argsort(np.abs(verdicts.scores[right] - verdicts.threshold))][:STAMPED]
        files = tuple(verdicts.items[i].path for i in unsure)
        tour_screens.stamped(_stamped(self.model, self.model.info["sha256"], files, verdicts.threshold), verdicts)

    def instead(self) -> None:
        model = tour_screens.default_model()
        if model is None:
            return
        place = self.elsewhere or self.home
        learned = known(model, place)
        if learned and len(learned) < len(place.items):
            place = place.without(learned)
        st.markdown(
            f"**{plain(model.name)}** learned from several hospitals, each class from more than one, and looks at the "
            f"lungs that it finds. On {len(place.items)} images of {plain(place.dataset.name)}"
            + (", none of which it has learned from:" if learned is not None else ":")
        )
        first, other = _asked(self.model, place), _asked(model, place)
        if first and other:
            named = ((self.model.name, first), (model.name, other))
            evaluate_groups.dots([subgroups.shares(name, verdicts) for name, verdicts in named])
            flagged = evaluation.wilson(int(other.flagged.sum()), len(other.items))
            st.markdown(f"It says of **{flagged.value:.1%}** of these images that they are unlike those it knows.")
        if learned is None:
            st.caption("It may have learned from a part of these images; its card tells its score on other patients.")
        st.markdown("It is better, and it is not good: what was measured of it stands beside it on the Predict page.")
        if st.button("Hold models against each other", icon=":material/monitoring:"):
            pages.switch(pages.EVALUATE)


def _asked(model: Bundle, place: Place) -> Verdicts | None:
    told = answers(model, place)
    return questions.verdicts(model, told, ILL) if told else None


def _audit(dataset: Dataset) -> "Report | None":
    from covid_cnn import audit  # here, as it brings scikit-learn along

    # Under the key of the Dataset page, so that neither waits for what the other has done.
    key = "audit", dataset.root, indexed.stamp(dataset.root)
    return working.result(key, lambda tell: audit.audit(dataset, tell), "Go on", at_once=True)


@st.cache_resource(max_entries=2, show_spinner="Stamping letters")
def _stamped(_model: Bundle, digest: str, files: tuple[Path, ...], threshold: float) -> tour_screens.Tried:
    healthy = _model.classes.index(str(assessment.matching_class("normal", _model.classes)))
    pixels = [imaging.prepare(imaging.read(file).pixels, STAMPED_SIZE)[..., 0] for file in files]
    return tour_screens.tried(
        planted.flips(lambda image: 1 - float(_model.predict(image).probabilities[healthy]), pixels), pixels, threshold
    )
