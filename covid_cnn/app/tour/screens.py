"""What both ways to tell the tour draw alike."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import streamlit as st

from covid_cnn.app.evaluate import figures
from covid_cnn.app.shared import elements
from covid_cnn.app.shared.elements import escape_markdown
from covid_cnn.common.jobs import Progress
from covid_cnn.common.statistics import Interval, wilson
from covid_cnn.data import overview, planted
from covid_cnn.data.overview import Mean
from covid_cnn.evaluation.binary import BinaryPredictions
from covid_cnn.evaluation.cohorts import Shares
from covid_cnn.images import ops
from covid_cnn.models import bundle
from covid_cnn.models.bundle import Bundle

if TYPE_CHECKING:
    from covid_cnn.data.audit import AuditReport


SMALL = 168  # pixels of a picture in a row; two stand beside each other on a phone
LARGE = 320
FINDINGS = 6


def screen(what: str) -> None:
    """What a screen is shown on."""
    st.caption(f":material/visibility: Shown on {escape_markdown(what)}.")


def percent(told: Interval) -> str:
    """A share in words that need no statistics, with its numbers and its interval, in Markdown."""
    value, low, high = (f"{100 * part:.1f}".removesuffix(".0") for part in (told.value, told.low, told.high))
    return f"**{value} %** ({round(told.value * told.n)} of {told.n}; 95 % interval {low} to {high} %)"


def pictures_row(pictures: Iterable[tuple[bytes, str]]) -> None:
    """Small pictures beside each other, as many as there is room for, each over its words."""
    with st.container(horizontal=True, gap="small"):
        for picture, words in pictures:
            st.image(picture, caption=escape_markdown(words) or None, width=SMALL, alt=words or "A chest X-ray")


def score_line(right: Interval, who: str) -> None:
    """The share of right answers."""
    st.markdown(f"{escape_markdown(who)} was tested on {right.n} images that it never saw. Right answers:")
    st.metric("Right answers", f"{100 * right.value:.0f} %", label_visibility="collapsed")
    st.markdown(f"{percent(right)}. Would you trust it?")


def draw_audit_screen(report: "AuditReport") -> None:
    """The serious findings."""
    st.markdown("The program looks for what should not tell the classes apart, and for what the test knows already:")
    serious = [finding for finding in report.findings if finding.severity == "serious"]
    if not serious:
        st.success("Nothing serious was found here.", icon=":material/check:")
    for finding in serious[:FINDINGS]:
        st.error(escape_markdown(finding.sentence), icon=":material/error:")
    others = len(report.findings) - len(serious[:FINDINGS])
    st.caption(f"{others} more {'finding' if others == 1 else 'findings'}. AUROC: 0.5 is chance, 1 is perfect.")


def draw_means(means: Mapping[str, Mean]) -> None:
    """The mean images of the two classes with the most images, and their difference."""
    st.markdown(
        "All images of a class, laid over each other. Anatomy blurs; what stands sharp is at one place in most images. "
        "The last picture is the difference of the first two: where it has colour, a network can tell the classes "
        "apart, disease or not."
    )
    two = sorted(sorted(means, key=lambda name: -means[name].images)[:2])
    with st.container(horizontal=True):
        for name in two:
            caption = f"{escape_markdown(name)}, mean of n = {means[name].images}"
            st.image(ops.to_png(means[name].pixels), caption=caption, width=LARGE, alt=caption)
        if len(two) == 2:
            one, other = two
            picture, most = overview.difference_image(means[one].pixels, means[other].pixels)
            caption = (
                f"Red where {escape_markdown(one)} is brighter, blue where {escape_markdown(other)} is. "
                f"{overview.colour_scale(most)}"
            )
            st.image(picture, caption=caption, width=LARGE, alt=caption)
    if few := overview.warn_of_few_images({name: means[name] for name in two}):
        st.warning(escape_markdown(few), icon=":material/warning:")


def draw_external_screen(home: Shares, away: Shares) -> None:
    """How many of the healthy are called healthy at home and elsewhere, and the ill ill."""
    here, there = home.specificity, away.specificity
    if here and there:
        st.markdown(
            f"Healthy people whom it calls healthy: {percent(here)} in {escape_markdown(home.name)}; "
            f"{percent(there)} in "
            f"{escape_markdown(away.name)}."
        )
    figures.draw_dots([home, away])


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


def tried_cases(
    flips: Iterable[tuple[int, np.ndarray, str, float, float]],
    pixels: Sequence[np.ndarray],
    threshold: float,
    tell: Progress = lambda part, line: None,
) -> Tried:
    """The stamp of ``planted.stamp_everywhere`` that moved an answer most, a turned answer before all others."""

    def key(flip: tuple[int, np.ndarray, str, float, float]) -> tuple[bool, float]:
        *_, before, after = flip
        return (before >= threshold) != (after >= threshold), abs(after - before)

    turned: set[int] = set()
    best = None
    for flip in flips:
        if key(flip)[0]:
            turned.add(flip[0])
        if best is None or key(flip) > key(best):
            best = flip
        tell(flip[0] / len(pixels), f"Stamping letters on {len(pixels)} images")
    assert best  # there are images
    i, stamped, text, before, after = best
    return Tried(len(pixels), len(turned), pixels[i], stamped, text, before, after)


def draw_stamped(tried: Tried, verdicts: BinaryPredictions, which: str) -> None:
    """An image before and after a stamp, with the answers to both; ``which`` images were tried, in words."""
    yes, no, limit = verdicts.yes, verdicts.no, verdicts.threshold
    st.markdown(
        f"The same X-ray, with the letter **{tried.text}** stamped on it. The patient is the same; "
        + ("**the answer turns.**" if tried.turned else "the probability moves, and the answer stays.")
    )
    with st.container(horizontal=True, gap="large"):
        for pixels, score in ((tried.before, tried.score_before), (tried.after, tried.score_after)):
            with st.container(width=LARGE):
                st.image(ops.to_png(ops.fit_within(pixels, 480)), width="stretch", alt="A chest X-ray")
                told = f"probability of {yes} {score:.3f}, threshold {limit:.3f}"
                answer = yes if score >= limit else no
                st.metric("The network says", answer, told, delta_color="off", delta_arrow="off")
    turned = wilson(tried.turned, tried.images)
    if tried.turned:
        shown = "Shown is, of those that turned, the one that moved the most."
    else:
        shown = "None turned: by this test the network holds. Shown is the largest move."
    st.caption(
        f"Tried were {' and '.join(planted.MARKERS)} in {len(planted.SIZES)} sizes at {len(planted.PLACES)} places of "
        f"{tried.images} images, {which}. Images whose answer some letter turned: {percent(turned).replace('**', '')}. "
        f"{shown}"
    )


def default_model() -> Bundle | None:
    """The default model; where it is not here, that is said."""
    if bundle.DEFAULT_MODEL in bundle.discover_bundles()[0]:
        return elements.load_bundle(bundle.DEFAULT_MODEL)
    st.info("The default model is not here.")
    return None
