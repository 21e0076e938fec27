"""A dataset as a whole: counts, what the metadata say, and the mean image of each class."""

from collections import Counter, defaultdict
from collections.abc import Hashable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from covid_cnn.app.dataset.images import SPLIT_NAMES
from covid_cnn.app.shared import background
from covid_cnn.app.shared.elements import escape_markdown
from covid_cnn.common.jobs import Job, Progress
from covid_cnn.data import index, overview
from covid_cnn.data.dataset import Dataset
from covid_cnn.data.overview import Mean
from covid_cnn.images import ops

if TYPE_CHECKING:
    import altair


MEAN, CHART = 240, 340  # pixels
DRAWN = 4  # classes whose distributions are drawn, those with the most images: more lines cannot be told apart
MEASURES = {"Width, px": 0, "Height, px": 0, "Width : height": 2, "Brightness": 2, "Contrast": 2}  # and their digits


def draw_overview(dataset: Dataset) -> None:
    """Counts, the mappings of findings, and what the images of each class have in common."""
    chart, table = st.columns(2, gap="large")
    chart.altair_chart(_chart(dataset), alt="Images by class and split")
    table.dataframe(_table(dataset), hide_index=True, height="content")
    for note in dataset.notes:
        st.caption(f":material/info: {escape_markdown(note)}")
    st.caption(f":material/folder: {escape_markdown(str(dataset.root))}")
    _mapping(dataset)
    _pixels(dataset)


def _mapping(dataset: Dataset) -> None:
    """Which findings of the metadata became which class, and under what licences the images are."""
    counted = Counter((item.facts["finding"], item.label) for item in dataset.items if item.facts.get("finding"))
    if not counted:
        return
    rows = [{"Finding": f, "Class": label, "Images": n} for (f, label), n in counted.most_common()]
    licences = Counter(item.licence for item in dataset.items)
    with st.expander("From the metadata: findings, classes and licences", icon=":material/account_tree:"):
        left, right = st.columns(2, gap="large")
        left.dataframe(pd.DataFrame(rows), hide_index=True)
        right.dataframe(pd.DataFrame(licences.most_common(), columns=["Licence", "Images"]), hide_index=True)


class Looked(NamedTuple):
    """What a look at all images gives: the mean images, the table of medians, and each measure's distribution."""

    means: dict[str, Mean]
    facts: pd.DataFrame
    distributions: dict[str, list[tuple[str, float, float]]]


def ensure_look(dataset: Dataset) -> Job[Looked]:
    """The look at all images of a dataset, which begins in the background where nobody has begun it."""
    return background.ensure_work(_key(dataset), lambda progress: _look(dataset, progress))


def _key(dataset: Dataset) -> Hashable:
    return "overview", dataset.root, tuple(item.path for item in dataset.items)


@st.fragment
def _pixels(dataset: Dataset) -> None:
    st.markdown("## What the images of a class have in common")
    looked = background.await_result(_key(dataset), lambda progress: _look(dataset, progress), "Look at all images")
    if looked is None:
        return
    means, facts, distributions = looked
    st.caption(
        "The mean of all images of a class, each stretched to a square. What stays sharp is at one place in most of "
        "them: letters, frames, the crop. Anatomy blurs."
    )
    with st.container(horizontal=True):
        for label, mean in means.items():
            with st.container(width=MEAN, gap="xsmall"):
                st.image(ops.to_png(mean.pixels), width="stretch", alt=f"Mean of {label}")
                st.caption(f"Mean of {escape_markdown(label)}, n = {mean.images}")
        if len(means) > 1:
            _difference(means)
    if few := overview.warn_of_few_images(means):
        st.warning(escape_markdown(few), icon=":material/warning:")
    st.markdown("## Sizes, brightness and contrast by class")
    _distributions(distributions)
    if same := [measure for measure in MEASURES if measure not in distributions]:
        st.caption(f"The same in all images, and not drawn: {', '.join(same)}.")
    if len(means) > DRAWN:
        st.caption(f"Drawn are the {DRAWN} classes with the most images; the table has all.")
    st.dataframe(facts, hide_index=True)
    st.caption("Medians and, in brackets, the middle half of the images. Brightness and contrast run from 0 to 1.")


def _distributions(histograms: dict[str, list[tuple[str, float, float]]]) -> None:
    """A small chart of each measure: where the lines lie apart, the measure alone tells the classes."""
    import altair as alt  # here, as it takes a while, and every page would wait for it

    with st.container(horizontal=True):
        for measure, rows in histograms.items():
            frame = pd.DataFrame(rows, columns=["Class", "Value", "Share"])
            scale = alt.Scale(domain=list(dict.fromkeys(frame["Class"])))
            chart = (
                alt.Chart(frame)
                .mark_line(interpolate="step", strokeWidth=2)
                .encode(
                    x=alt.X("Value:Q", title=measure, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=5)),
                    y=alt.Y("Share:Q", title="Of the class", axis=alt.Axis(format=".0%", tickCount=4)),
                    color=alt.Color("Class:N", scale=scale, legend=alt.Legend(orient="top", title=None, columns=2)),
                    tooltip=["Class", alt.Tooltip("Value:Q", format=".3~r"), alt.Tooltip("Share:Q", format=".1%")],
                )
                .properties(height=230)
            )
            with st.container(width=CHART):
                st.altair_chart(chart, alt=f"{measure} by class")


def _difference(means: dict[str, Mean]) -> None:
    """The mean of one class less that of another, which the person chooses where there are more than two."""
    one, other = list(means)[:2]
    with st.container(width=MEAN, gap="xsmall"):
        chosen = st.empty()
        below = st.empty()
        if len(means) > 2:
            one = st.selectbox("Mean of", list(means), key="dataset_one")
            other = st.selectbox("less that of", [name for name in means if name != one], key="dataset_other")
        picture, most = overview.difference_image(means[one].pixels, means[other].pixels)
        chosen.image(picture, width="stretch", alt=f"{one} less {other}")
        below.caption(
            f"Difference: red where {escape_markdown(one)} is brighter, blue where {escape_markdown(other)} is. "
            f"{overview.colour_scale(most)}"
        )


def _look(dataset: Dataset, progress: Progress) -> Looked:
    indexed = index.index_items(dataset.items, lambda part, line: progress(0.8 * part, line))
    means = overview.mean_images(dataset, lambda part, line: progress(0.8 + 0.2 * part, line))
    rows = [
        (item.label, *record.size, record.size[0] / record.size[1], record.brightness, record.contrast, record.format)
        for item, record in indexed
    ]
    images = pd.DataFrame(rows, columns=["Class", *MEASURES, "Formats"])
    by_class = images.groupby("Class")
    facts = pd.DataFrame({measure: by_class[measure].agg(_middle, digits) for measure, digits in MEASURES.items()})
    facts["Formats"] = by_class["Formats"].agg(_formats)
    drawn = sorted(means, key=lambda label: -means[label].images)[:DRAWN]
    distributions = {
        measure: overview.distribution({label: by_class[measure].get_group(label).to_numpy(float) for label in drawn})
        for measure in MEASURES
        if images[measure].nunique() > 1
    }
    return Looked(means, facts.reset_index(), distributions)


def _formats(values: pd.Series) -> str:
    return ", ".join(f"{n} {name}" for name, n in Counter(values).most_common())


def _middle(values: pd.Series, digits: int) -> str:
    low, median, high = np.percentile(values, [25, 50, 75])
    return f"{median:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _chart(dataset: Dataset) -> "altair.Chart":
    """A bar for each class, the largest first, in parts for the splits."""
    import altair as alt  # here, as it takes a while, and every page would wait for it

    names = [SPLIT_NAMES[split] for split in dataset.splits]
    rows = [
        {"Class": label, "Split": SPLIT_NAMES[split], "Images": count, "Place": place}
        for place, (split, counts) in enumerate(dataset.counts.items())
        for label, count in counts.items()
    ]
    legend = alt.Legend(orient="top", title=None) if len(names) > 1 else None
    return (
        alt.Chart(pd.DataFrame(rows))
        .mark_bar()
        .encode(
            x=alt.X("Images:Q", axis=alt.Axis(tickMinStep=1)),
            y=alt.Y("Class:N", sort="-x", title=None, axis=alt.Axis(labelLimit=220)),
            color=alt.Color("Split:N", scale=alt.Scale(domain=names), legend=legend),
            order="Place:O",
            tooltip=["Class", "Split", "Images"],
        )
        .properties(height=130 + 30 * len(dataset.classes))
    )


def _table(dataset: Dataset) -> pd.DataFrame:
    """A row for each class: its images in each split, all its images, and its patients."""
    patients = defaultdict(set)
    for item in dataset.items:
        patients[item.label].add(item.patient)
    images = pd.DataFrame(dataset.counts).rename(columns=SPLIT_NAMES)
    if len(dataset.splits) > 1:
        images["All"] = images.sum(axis=1)
    else:
        images.columns = ["Images"]
    images["Patients"] = [len(patients[label]) for label in images.index]
    return images.reset_index(names="Class")
