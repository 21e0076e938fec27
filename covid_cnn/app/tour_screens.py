"""What both ways to tell the tour draw alike."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import streamlit as st

from covid_cnn import bundle, figures, imaging, overview, subgroups
from covid_cnn.app import evaluate_groups, shared
from covid_cnn.app.shared import plain
from covid_cnn.bundle import Bundle
from covid_cnn.evaluation import wilson
from covid_cnn.questions import Verdicts

SMALL = 168  # pixels of a picture in a row; two stand beside each other on a phone
LARGE = 320


def row(pictures: Iterable[bytes]) -> None:
    """Small pictures beside each other, as many as there is room for."""
    with st.container(horizontal=True, gap="small"):
        for picture in pictures:
            st.image(picture, width=SMALL)


def score(verdicts: Verdicts, who: str) -> None:
    """The share of right answers, with its interval."""
    right = wilson(int(verdicts.right.sum()), len(verdicts.items))
    st.markdown(f"{plain(who)} is tested on {right.n} images that it never saw:")
    st.metric(
        "Right answers",
        f"{right.value:.0%}",
        f"95 % interval {right.low:.1%} to {right.high:.1%}",
        delta_color="off",
        delta_arrow="off",
    )
    st.markdown("Would you trust it?")


def means(means: dict[str, np.ndarray]) -> None:
    """The mean images of the first two classes, and their difference."""
    st.markdown(
        "All images of a class, laid over each other. Anatomy blurs; what stands sharp is at one place in most images. "
        "The last picture is the difference of the first two: a network needs nothing else."
    )
    one, *others = list(means)[:2]
    with st.container(horizontal=True):
        for name in (one, *others):
            st.image(imaging.to_png(means[name]), caption=plain(name), width=LARGE)
        for other in others:
            st.image(
                overview.difference(means[one], means[other]),
                caption=f"Red where {plain(one)} is brighter, blue where {plain(other)} is.",
                width=LARGE,
            )


def home_and_away(home: Verdicts, home_name: str, away: Verdicts, away_name: str) -> None:
    """How many of the healthy are called healthy at home and elsewhere, and the ill ill."""
    lines = [subgroups.shares(home_name, home), subgroups.shares(away_name, away)]
    here, there = (line.specificity for line in lines)
    if here and there:
        st.markdown(
            f"Of {here.n} healthy people ({plain(home_name)}) it calls **{here.value:.0%}** healthy; of {there.n} "
            f"({plain(away_name)}), **{there.value:.0%}**."
        )
    evaluate_groups.dots(lines)


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


def tried(
    flips: Iterable[tuple[int, np.ndarray, str, float, float]], pixels: Sequence[np.ndarray], threshold: float
) -> Tried:
    """The most telling of ``planted.flips`` on some images: a turned answer, and of these the one that moved most."""
    found = list(flips)

    def turns(before: float, after: float) -> bool:
        return (before >= threshold) != (after >= threshold)

    turned = {i for i, _, _, before, after in found if turns(before, after)}
    i, stamped, text, before, after = max(found, key=lambda one: (turns(*one[3:]), abs(one[4] - one[3])))
    return Tried(len(pixels), len(turned), pixels[i], stamped, text, before, after)


def stamped(tried: Tried, verdicts: Verdicts) -> None:
    """An image before and after a stamp, with the answers to both."""
    scores = tried.score_before, tried.score_after
    said = [verdicts.yes if score >= verdicts.threshold else verdicts.no for score in scores]
    if said[0] != said[1]:
        st.markdown(f"The same X-ray, with **{tried.text}** stamped on it. The patient is the same; the answer turns.")
    else:
        st.markdown(
            f"The same X-ray, with **{tried.text}** stamped on it. This network's answer moves and does not turn."
        )
    with st.container(horizontal=True, gap="large"):
        for pixels, answer, score in zip((tried.before, tried.after), said, scores, strict=True):
            with st.container(width=LARGE):
                st.image(imaging.to_png(figures.fit_within(pixels, 480)), width="stretch")
                told = f"probability of {verdicts.yes} {score:.3f}"
                st.metric("The network says", answer, told, delta_color="off", delta_arrow="off")
    st.caption(
        f"Letters were tried on {tried.images} images, those it was least sure of first; on {tried.turned} of them "
        "some stamp turned the answer. Shown is the one that moved the most."
    )


def default_model() -> Bundle | None:
    """The default model; where it is not here, that is said."""
    if bundle.DEFAULT in bundle.discover()[0]:
        return shared.load_bundle(bundle.DEFAULT)
    st.info("The default model is not here.")
    return None
