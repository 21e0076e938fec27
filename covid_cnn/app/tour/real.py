"""The tour, told with the datasets that are here; what none of them can tell is drawn."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from covid_cnn.app import pages
from covid_cnn.app.evaluate import figures
from covid_cnn.app.evaluate.asking import EvaluationSet, cached_predictions, leaked_images
from covid_cnn.app.shared import background, datasets
from covid_cnn.app.shared.elements import escape_markdown
from covid_cnn.app.tour import screens
from covid_cnn.app.tour.drawn import DrawnStory
from covid_cnn.app.tour.screens import Tried
from covid_cnn.common import statistics
from covid_cnn.common.errors import ImageError
from covid_cnn.common.jobs import Progress
from covid_cnn.data import classes, index, overview, planted
from covid_cnn.data.dataset import Dataset, Item
from covid_cnn.evaluation import binary, cohorts
from covid_cnn.evaluation.binary import DISEASED, BinaryPredictions
from covid_cnn.evaluation.cohorts import Shares
from covid_cnn.images import ops, reader
from covid_cnn.models.bundle import Bundle

if TYPE_CHECKING:
    from covid_cnn.data.audit import AuditReport


SHOWN = 5  # images of each kind
STAMPED = 12  # images that letters are tried on
STAMPED_SIZE = (384, 384)


class RealStory:
    """Told with what is here.

    Parameters
    ----------
    dataset : whose images, audit and mean images are shown.
    model : with the perfect score; None where it is not here.
    home : the test split of the model's own dataset, where that is here.
    elsewhere : images of another hospital, healthy people among them.
    """

    def __init__(
        self, dataset: Dataset, model: Bundle | None, home: EvaluationSet | None, elsewhere: EvaluationSet | None
    ) -> None:
        self.dataset, self.model, self.home, self.elsewhere = dataset, model, home, elsewhere

    def images(self) -> None:
        """The images that the network learned from."""
        dataset = self.dataset
        counts = Counter(item.label for item in dataset.items).most_common()
        told = ", ".join(f"{n} {escape_markdown(label)}" for label, n in counts)
        screens.screen(f"{dataset.name}, {len(dataset.items)} chest X-rays")
        st.markdown(f"{told}. Look at both rows. Can you tell them apart without any medicine?")
        for label in sorted(label for label, _ in counts[:2]):
            st.markdown(f"**{escape_markdown(label)}**")
            items = [item for item in dataset.items if item.label == label]
            chosen = items[:: max(1, len(items) // SHOWN)][:SHOWN]
            pictures = index.load_thumbnails([item.path for item in chosen])
            screens.pictures_row(
                (picture, f"{_source(item, dataset)}; licence: {item.licence}")
                for item, picture in zip(chosen, pictures, strict=True)
                if not isinstance(picture, ImageError)
            )

    def score(self) -> None:
        """Its score on the test images of its own hospital."""
        if self.model is None:
            _drawn("The network with the perfect score is not here", DrawnStory().score)
            return
        who = f"{self.model.name}, which learned from other images of the same dataset,"
        if self.home is not None:
            screens.screen(f"{self.home.name}, {len(self.home.items)} images")
            if verdicts := _asked(self.model, self.home):
                right = statistics.wilson(int(verdicts.right.sum()), len(verdicts.items))
                screens.score_line(right, who)
            return
        own = self.model.info.training_data.name
        if told := self.model.info.metrics.test:
            st.caption(
                f":material/visibility: {escape_markdown(own)} is not here: told is what the model's card says of it."
            )
            screens.score_line(told.accuracy, who)
        else:
            _drawn(f"{own}, on which {self.model.name} was tested, is not here", DrawnStory().score)

    def audit(self) -> None:
        """What the audit finds in the dataset."""
        screens.screen(f"{self.dataset.name}, {len(self.dataset.items)} images")
        report = _audit(self.dataset)
        if report is not None:
            screens.draw_audit_screen(report)
            st.caption("The Dataset page shows the images behind each.")

    def means(self) -> None:
        """The mean image of each class."""
        dataset = self.dataset
        screens.screen(f"{dataset.name}, {len(dataset.items)} images")
        key = "tour means", dataset.root, datasets.folder_stamp(dataset.root)
        means = background.await_result(key, lambda tell: overview.mean_images(dataset, tell), "Go on", at_once=True)
        if means:
            screens.draw_means(means)

    def away(self) -> None:
        """Its score at another hospital."""
        if self.model is None or self.elsewhere is None:
            missing = "No X-rays of healthy people of another hospital are here; the Dataset page adds some"
            _drawn(missing if self.model else "The network with the perfect score is not here", DrawnStory().away)
            return
        place, told = _unseen(self.model, self.elsewhere)
        screens.screen(f"{_images(place)}, asked of {self.model.name}")
        home, away = self._at_home(self.model), _asked(self.model, place)
        if home and away:
            screens.draw_external_screen(home, cohorts.shares_of(place.name, away))
            st.caption(told)

    def _at_home(self, model: Bundle) -> Shares | None:
        """What the model does on its own test images: as it answers, or else as its card tells."""
        if self.home is not None:
            verdicts = _asked(model, self.home)
            return cohorts.shares_of(self.home.name, verdicts) if verdicts else None
        name = f"{model.info.training_data.name}, test, as its card tells"
        report = model.info.metrics.test
        if not report:
            return None
        # The one that it looks for first, as everywhere.
        answers = sorted(model.classes, key=lambda one: one != model.positive)
        by_answer = {answer: report.patients_by_class.get(answer, 0) for answer in answers}
        return Shares(
            name, report.n, report.n_patients, report.sensitivity or None, report.specificity or None, by_answer
        )

    def what_if(self) -> None:
        """What becomes of its answer under a stamped letter."""
        place = self.home or self.elsewhere
        if self.model is None or place is None:
            _drawn("No images are here that the network with the perfect score can be asked of", DrawnStory().what_if)
            return
        screens.screen(f"{place.name}, asked of {self.model.name}")
        verdicts = _asked(self.model, place)
        if verdicts is None:
            return
        # Rightly answered images first, and of these the ones that it is least sure of.
        order = np.lexsort((np.abs(verdicts.scores - verdicts.threshold), ~verdicts.right))[:STAMPED]
        files, model, limit = tuple(verdicts.items[i].path for i in order), self.model, verdicts.threshold
        key = "tour letters", model.info.sha256, files, limit
        tried = background.await_result(
            key, lambda tell: _stamped(model, files, limit, tell), "Stamp letters", at_once=True
        )
        if tried:
            screens.draw_stamped(tried, verdicts, "the rightly answered ones of which it is least sure")

    def instead(self) -> None:
        """What to do instead."""
        model = screens.default_model()
        if model is None:
            return
        place = self.elsewhere or self.home
        if place is None:
            _drawn("No images are here that the models can be asked of", DrawnStory().instead)
            return
        place, told = _unseen(model, place)
        screens.screen(_images(place))
        st.markdown(
            f"**{escape_markdown(model.name)}** learned from several hospitals, each class from more than one, "
            "and looks at the "
            "lungs that it finds."
        )
        asked = {one.name: _asked(one, place) for one in (self.model, model) if one}
        other = asked[model.name]
        if other and all(asked.values()):
            lines = [cohorts.shares_of(name, verdicts) for name, verdicts in asked.items() if verdicts]
            for line in lines:
                if line.specificity:
                    right = screens.percent(line.specificity)
                    st.markdown(f"Of the healthy, {escape_markdown(line.name)} calls healthy {right}.")
            figures.draw_dots(lines)
            flagged = statistics.wilson(int(other.flagged.sum()), len(other.items))
            st.markdown(f"Images that it says are unlike those it knows: {screens.percent(flagged)}.")
            st.caption(told)
        st.markdown("It is better, and it is not good: what was measured of it stands beside it on the Predict page.")
        if st.button("Hold models against each other", icon=":material/monitoring:"):
            pages.switch_to(pages.EVALUATE)


def _source(item: Item, dataset: Dataset) -> str:
    return "unknown source" if item.source == dataset.name else item.source


def _drawn(why: str, screen: Callable[[], None]) -> None:
    """A screen that nothing here can tell, told with drawings."""
    st.info(f"{escape_markdown(why)}. This screen is told with drawings.", icon=":material/draw:")
    screen()


def _images(place: EvaluationSet) -> str:
    return place.name if place.unseen else f"{place.name}, {len(place.items)} images"


def _unseen(model: Bundle, place: EvaluationSet) -> tuple[EvaluationSet, str]:
    """The images that a model has not learned from, as far as that can be told, and a sentence about it in Markdown."""
    learned = leaked_images(model, place)
    name = escape_markdown(model.name)
    if learned is None:
        return place, f"Whether {name} has learned from some of these images cannot be told: its own are not here."
    if learned and len(learned) < len(place.items):
        return place.without(learned), f"The {len(learned)} images that {name} has learned from are left out."
    return place, f"{name} has learned from {'all' if learned else 'none'} of these images."


def _asked(model: Bundle, place: EvaluationSet) -> BinaryPredictions | None:
    told = cached_predictions(model, place)
    return binary.binarize(model, told, DISEASED) if told else None


def _audit(dataset: Dataset) -> "AuditReport | None":
    from covid_cnn.data import audit  # here, as it brings scikit-learn along

    # Under the key of the Dataset page, so that neither waits for what the other has done.
    key = "audit", dataset.root, datasets.folder_stamp(dataset.root)
    return background.await_result(key, lambda tell: audit.audit_dataset(dataset, tell), "Go on", at_once=True)


def _stamped(model: Bundle, files: Sequence[Path], threshold: float, tell: Progress) -> Tried:
    healthy = model.classes.index(str(classes.matching_class("normal", model.classes)))
    pixels = [ops.prepare(reader.read(file).pixels, STAMPED_SIZE)[..., 0] for file in files]

    def score(image: np.ndarray) -> float:
        return 1 - float(model.predict(image).probabilities[healthy])

    return screens.tried_cases(planted.stamp_everywhere(score, pixels), pixels, threshold, tell)
