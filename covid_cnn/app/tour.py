"""The guided tour: why a score of 100 % says little, in seven screens with live pictures.

It is told with the notebook's dataset and a shipped model where they are at hand, and else with radiographs that the
program draws, a letter planted on the ill ones, and a small classifier that learns from them on the spot. Either way
all that it shows is worked out while one looks.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import streamlit as st

from covid_cnn import assessment, bundle, evaluation, figures, imaging, overview, planted, questions, what_if
from covid_cnn.app import evaluate, pages, shared
from covid_cnn.app.evaluate import Place
from covid_cnn.app.shared import plain
from covid_cnn.bundle import Bundle
from covid_cnn.datasets import Dataset
from covid_cnn.errors import CovidCnnError
from covid_cnn.evaluation import Interval, wilson
from covid_cnn.planted import Hospital, ThumbnailClassifier
from covid_cnn.questions import ILL, Verdicts

STEP, PRESENTING = "tour_step", "tour_presenting"
PERFECT = "efficientnet_lite0"  # of the shipped models, the one with the perfect score
SHOWN = 5  # images of each kind
STAMPED = 8  # images that letters are tried on
LARGE = "<style>[data-testid=stMarkdownContainer] p {font-size: 1.35rem; line-height: 1.5}</style>"


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
    """The whole page."""
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
        large = st.toggle("Presenter", key=PRESENTING, help="Larger words. The arrow keys turn the pages.")
    if large:
        st.html(LARGE)
    st.header(titles[step])
    try:
        STEPS[titles[step]](_story())
    except CovidCnnError as error:
        st.error(plain(str(error)), icon=":material/error:")


def _go(by: int) -> None:
    st.session_state[STEP] = st.session_state.get(STEP, 0) + by


def _story() -> Story:
    found, _ = evaluate.every_dataset()
    models, _ = bundle.discover()
    if PERFECT in models:
        model = shared.load_bundle(PERFECT)
        own = model.info["training_data"]["name"]
        home = next((one for one in found if one.name == own and "test" in one.splits), None)
        if home is not None:
            return RealStory(model, home, [one for one in found if one.name != own and not one.synthetic])
    return DrawnStory()


# Told with real images


class RealStory:
    """Told with the dataset that a shipped model learned from, and another hospital's, if there is one."""

    def __init__(self, model: Bundle, home: Dataset, others: list[Dataset]) -> None:
        self.model, self.home, self.test = model, home, Place(home, "test")
        # A dataset that shares a source with this one is no other hospital.
        sources = {item.source for item in home.items}
        apart = [one for one in others if sources.isdisjoint(item.source for item in one.items)]
        healthy = [one for one in apart if any(map(_healthy, one.classes))]
        # The one with the most healthy people says most about false alarms.
        healthy.sort(key=lambda one: -sum(bool(_healthy(item.label)) for item in one.items))
        away = healthy[0] if healthy else None
        self.elsewhere = Place(away, "test" if "test" in away.splits else away.splits[0]) if away else None

    def images(self) -> None:
        counts = ", ".join(
            f"{sum(item.label == label for item in self.home.items)} {plain(label)}" for label in self.home.classes
        )
        st.markdown(
            f"**{plain(self.home.name)}**: {len(self.home.items)} chest X-rays, {counts}. Look at both rows. Can you "
            "tell them apart without any medicine?"
        )
        for label in self.home.classes:
            st.markdown(f"**{plain(label)}**")
            items = [item for item in self.test.items if item.label == label]
            chosen = items[:: max(1, len(items) // SHOWN)][:SHOWN]
            for column, item in zip(st.columns(SHOWN), chosen, strict=False):
                if picture := evaluate.thumbnail(item.path):
                    column.image(picture, width="stretch")

    def score(self) -> None:
        verdicts = _asked(self.model, self.test)
        if verdicts:
            _scored(verdicts, f"{self.model.name}, which learned from the other images of this dataset,")

    def audit(self) -> None:
        from covid_cnn import audit  # here, as it brings scikit-learn along

        @st.cache_resource(max_entries=2, show_spinner="Auditing the images")
        def found(root: str, count: int) -> Any:
            return audit.audit(self.home)

        report = found(str(self.home.root), len(self.home.items))
        st.markdown(
            "The program looks for what should not tell the classes apart, and for what the test knows already:"
        )
        for finding in [one for one in report.findings if one.severity == "serious"][:6]:
            st.error(plain(finding.sentence), icon=":material/error:")
        others = sum(one.severity != "serious" for one in report.findings)
        st.caption(f"{others} findings of less weight stand on the Dataset page.")

    def means(self) -> None:
        @st.cache_resource(max_entries=2, show_spinner="Laying the images over each other")
        def made(root: str, count: int) -> dict[str, np.ndarray]:
            return overview.mean_images(self.home)

        _means(made(str(self.home.root), len(self.home.items)))

    def away(self) -> None:
        if self.elsewhere is None:
            st.info("For this screen add the X-rays of healthy people of another hospital on the Dataset page.")
            return
        home, away = _asked(self.model, self.test), _asked(self.model, self.elsewhere)
        if home and away:
            _home_and_away(home, str(self.test), away, str(self.elsewhere))

    def what_if(self) -> None:
        verdicts = _asked(self.model, self.test)
        if verdicts is None:
            return
        right = np.flatnonzero(verdicts.right)
        surest = right[np.argsort(np.abs(verdicts.scores[right] - verdicts.threshold))][:STAMPED]
        healthy = self.model.classes.index(str(assessment.matching_class("normal", self.model.classes)))

        @st.cache_resource(max_entries=2, show_spinner="Stamping letters")
        def tried(name: str, digest: str, places: tuple[int, ...]) -> "Tried":
            pixels = [imaging.prepare(imaging.read(verdicts.items[i].path).pixels, (384, 384))[..., 0] for i in places]
            return _try(
                lambda image: 1 - float(self.model.predict(image).probabilities[healthy]), pixels, verdicts.threshold
            )

        _stamped(tried(self.model.name, self.model.info["sha256"], tuple(map(int, surest))), verdicts)

    def instead(self) -> None:
        _default(self.elsewhere or self.test)


# Told with drawn ones


class DrawnStory:
    """Told with radiographs that the program draws, with a letter on the ill ones."""

    def __init__(self) -> None:
        self.learned, self.tested, self.other = _hospitals()
        self.classifier = ThumbnailClassifier(self.learned)

    def _verdicts(self, of: Hospital) -> Verdicts:
        items: list[Any] = [_Drawn(f"patient {i}") for i in range(len(of.ill))]
        scores, flagged = self.classifier.predict(of.images), np.zeros(len(of.ill), bool)
        return Verdicts("ill", "healthy", items, of.ill, scores, 0.5, flagged, [])

    def images(self) -> None:
        st.markdown(
            f"{len(self.learned.ill)} X-rays to learn from. No dataset is at hand, so the program drew these; the ill "
            "ones have patchy opacities in the lungs. Look at both rows. Can you tell them apart without any medicine?"
        )
        st.markdown(shared.SYNTHETIC)
        for name, ill in (("Healthy", False), ("Ill", True)):
            st.markdown(f"**{name}**")
            for column, image in zip(st.columns(SHOWN), self.learned.images[self.learned.ill == ill], strict=False):
                column.image(image, width="stretch", clamp=True)

    def score(self) -> None:
        _scored(
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
        _means({"healthy": self.learned.images[~ill].mean(axis=0), "ill": self.learned.images[ill].mean(axis=0)})

    def away(self) -> None:
        home, away = self._verdicts(self.tested), self._verdicts(self.other)
        st.markdown("At another hospital the letter is put on the other way round: on the healthy.")
        _home_and_away(home, "at home", away, "at the other hospital")

    def what_if(self) -> None:
        verdicts = self._verdicts(self.tested)
        pixels = list(self.tested.images[~self.tested.ill][:STAMPED])
        tried = _try(lambda image: float(self.classifier.predict(image[None])[0]), pixels, verdicts.threshold)
        _stamped(tried, verdicts)

    def instead(self) -> None:
        found, _ = bundle.discover()
        if bundle.DEFAULT not in found:
            st.info("The default model is not here.")
            return
        model = shared.load_bundle(bundle.DEFAULT)
        st.markdown(
            f"**{plain(model.name)}** looks at the lungs that it finds, and says when an image is unlike those that it "
            "learned from. The same drawing without and with the letter:"
        )
        image = self.tested.images[0]
        for column, pixels in zip(
            st.columns(2), (image, what_if.stamp(image, *planted.PLACE, planted.HEIGHT)), strict=True
        ):
            told = model.predict(pixels)
            column.image(pixels, width="stretch", clamp=True)
            if told.in_distribution:
                names = ", ".join(f"{name} {p:.3f}" for name, p in told.by_class().items())
                column.markdown(plain(names))
            else:
                column.markdown("**Not sure.** " + plain(told.warning))


class _Drawn(NamedTuple):
    """A drawn patient, as far as verdicts need one."""

    patient: str


@st.cache_resource(show_spinner=False)
def _hospitals() -> tuple[Hospital, Hospital, Hospital]:
    """To learn from, to test with, and another hospital, where the letter stands on the healthy."""
    bar = st.progress(0.0, "Drawing radiographs")
    drawn = []
    for n, (count, on_the_ill) in enumerate(((40, True), (20, True), (20, False))):

        def marked(ill: bool, on_the_ill: bool = on_the_ill) -> bool:
            return ill == on_the_ill

        def show(part: float, n: int = n) -> None:
            bar.progress((n + part) / 3, "Drawing radiographs")

        drawn.append(planted.hospital(n + 1, count, marked, progress=show))
    bar.empty()
    return drawn[0], drawn[1], drawn[2]


# What both tell


def _healthy(label: str) -> str | None:
    return assessment.matching_class(label, ["normal"])


def _asked(model: Bundle, place: Place) -> Verdicts | None:
    told = evaluate.answers(model, place, f"tour_{model.name}_{place}")
    return questions.verdicts(model, told, ILL) if told else None


def _scored(verdicts: Verdicts, who: str) -> None:
    right = wilson(int(verdicts.right.sum()), len(verdicts.items))
    st.markdown(f"{plain(who)} is tested on {right.n} images that it never saw:")
    st.metric(
        "Right answers", f"{right.value:.0%}", f"95 % interval {right.low:.1%} to {right.high:.1%}", delta_color="off"
    )
    st.markdown("Would you trust it?")


def _means(means: dict[str, np.ndarray]) -> None:
    st.markdown(
        "All images of a class, laid over each other. Anatomy blurs; what stands sharp is at one place in most images. "
        "The last picture is the difference of the first two: a network needs nothing else."
    )
    names = list(means)[:2]
    pictures: list[tuple[str, np.ndarray]] = [(name, means[name]) for name in names]
    columns = st.columns(3)
    for column, (name, picture) in zip(columns, pictures, strict=False):
        column.image(picture, caption=plain(name), width="stretch", clamp=True)
    if len(names) == 2:
        difference = means[names[1]] - means[names[0]]
        spread = max(float(np.abs(difference).max()), 1e-6)
        columns[2].image(
            _diverging(difference / spread),
            caption=f"Orange: {plain(names[1])} brighter. Blue: {plain(names[0])} brighter. Up to {spread:.2f}.",
            width="stretch",
        )


def _diverging(values: np.ndarray) -> np.ndarray:
    """-1..1 as blue over black to orange, uint8 ``[H, W, 3]``."""
    orange, blue = np.array([255, 160, 40]), np.array([40, 140, 255])
    shown = np.where(values[..., None] > 0, orange, blue) * np.abs(values[..., None])
    return np.rint(shown).astype(np.uint8)


def _home_and_away(home: Verdicts, home_name: str, away: Verdicts, away_name: str) -> None:
    rows = [{"Group": home_name} | evaluate._shares(home), {"Group": away_name} | evaluate._shares(away)]
    healthy: list[Interval] = [row["Specificity"] for row in rows]
    if all(healthy):
        st.markdown(
            f"Of {healthy[0].n} healthy people {plain(home_name)} it calls **{healthy[0].value:.0%}** healthy; of "
            f"{healthy[1].n} {plain(away_name)}, **{healthy[1].value:.0%}**."
        )
    evaluate._dots(rows)


class Tried(NamedTuple):
    """What stamping letters did.

    Attributes
    ----------
    images, turned : images that were tried, and of these the ones whose answer some stamp turned
    before, after : float32 ``[H, W]``, the image whose answer moved the most, and the same stamped
    text : what was stamped
    score_before, score_after : probability of ill
    """

    images: int
    turned: int
    before: np.ndarray
    after: np.ndarray
    text: str
    score_before: float
    score_after: float


def _try(score: Callable[[np.ndarray], float], pixels: list[np.ndarray], threshold: float) -> Tried:
    found = list(planted.flips(score, pixels))
    turned = {i for i, _, _, before, after in found if (before >= threshold) != (after >= threshold)}
    # The most telling is a turned answer, and of these the one that moved the farthest.
    i, stamped, text, before, after = max(
        found, key=lambda one: (one[0] in turned and _turns(one, threshold), abs(one[4] - one[3]))
    )
    return Tried(len(pixels), len(turned), pixels[i], stamped, text, before, after)


def _turns(one: tuple[int, np.ndarray, str, float, float], threshold: float) -> bool:
    return (one[3] >= threshold) != (one[4] >= threshold)


def _stamped(tried: Tried, verdicts: Verdicts) -> None:
    said = [
        verdicts.yes if score >= verdicts.threshold else verdicts.no
        for score in (tried.score_before, tried.score_after)
    ]
    if said[0] != said[1]:
        st.markdown(f"The same X-ray, with **{tried.text}** stamped on it. The patient is the same; the answer turns.")
    else:
        st.markdown(
            f"The same X-ray, with **{tried.text}** stamped on it. This network's answer moves and does not turn."
        )
    for column, pixels, answer, score in zip(
        st.columns(2), (tried.before, tried.after), said, (tried.score_before, tried.score_after), strict=True
    ):
        column.image(figures.fit_within(pixels, 480), width="stretch", clamp=True)
        column.metric("The network says", answer, f"probability of {verdicts.yes} {score:.3f}", delta_color="off")
    st.caption(
        f"Letters were tried on {tried.images} images, those it was least sure of first; on {tried.turned} of them "
        "some stamp turned the answer. Shown is the one that moved the most."
    )


def _default(place: Place) -> None:
    found, _ = bundle.discover()
    if bundle.DEFAULT not in found:
        st.info("The default model is not here.")
        return
    model = shared.load_bundle(bundle.DEFAULT)
    st.markdown(
        f"**{plain(model.name)}** learned from several hospitals, each class from more than one, and looks at the "
        "lungs that it finds. On the same images of the other hospital:"
    )
    verdicts = _asked(model, place)
    if verdicts:
        shares = evaluate._shares(verdicts)
        evaluate._dots([{"Group": f"{model.name} on {place}"} | shares])
        flagged = wilson(int(verdicts.flagged.sum()), len(verdicts.items))
        st.markdown(f"It says of **{flagged.value:.0%}** of these images that they are unlike those it knows.")
    st.markdown("It is better, and it is not good: what was measured of it stands beside it on the Predict page.")
    if model.info["training_data"]["name"] == "three-collections":
        st.caption("It may have learned from a part of these; its model card tells its score on held-out patients.")
    if st.button("Hold models against each other", icon=":material/monitoring:"):
        pages.switch(pages.EVALUATE)
