"""A dataset as a whole: counts, what the metadata say, and the mean image of each class."""

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st

from covid_cnn import imaging, looks, overview
from covid_cnn.app import working
from covid_cnn.app.dataset_images import SPLIT_NAMES
from covid_cnn.app.shared import plain
from covid_cnn.datasets import Dataset
from covid_cnn.jobs import Progress
from covid_cnn.looks import Look

if TYPE_CHECKING:
    import altair

SPLIT_COLOURS = {"train": "#14a098", "val": "#f2a541", "test": "#7b6fd0", "": "#14a098"}  # seen on white and on black
MEAN = 240  # pixels


def show(dataset: Dataset) -> None:
    """Counts, the mappings of findings, and what the images of each class have in common."""
    chart, table = st.columns(2, gap="large")
    chart.altair_chart(_chart(dataset))
    table.dataframe(_table(dataset), hide_index=True, height="content")
    for note in dataset.notes:
        st.caption(f":material/info: {plain(note)}")
    st.caption(f":material/folder: {plain(str(dataset.root))}")
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


@st.fragment
def _pixels(dataset: Dataset) -> None:
    st.markdown("##### What the images of a class have in common")
    key = "overview", dataset.root, tuple(item.path for item in dataset.items)
    found = working.result(key, lambda tell: _looked(dataset, tell), "Look at all images")
    if found is None:
        return
    means, facts = found
    st.caption(
        "The mean of all images of a class, each stretched to a square. What stays sharp is at one place in most of "
        "them: letters, frames, the crop. Anatomy blurs."
    )
    with st.container(horizontal=True):
        for label, mean in means.items():
            with st.container(width=MEAN, gap="xsmall"):
                st.image(imaging.to_png(mean), width="stretch", alt=f"Mean of {label}")
                st.caption(f"Mean of {plain(label)}")
        if len(means) > 1:
            _difference(means)
    st.dataframe(facts, hide_index=True)
    st.caption("Medians and, in brackets, the middle half of the images. Brightness and contrast run from 0 to 1.")


def _difference(means: dict[str, np.ndarray]) -> None:
    """The mean of one class less that of another, which the person chooses where there are more than two."""
    one, other = list(means)[:2]
    with st.container(width=MEAN, gap="xsmall"):
        chosen = st.empty()
        below = st.empty()
        if len(means) > 2:
            one = st.selectbox("Mean of", list(means), key="dataset_one")
            other = st.selectbox("less that of", [name for name in means if name != one], key="dataset_other")
        chosen.image(overview.difference(means[one], means[other]), width="stretch", alt=f"{one} less {other}")
        below.caption(f"Difference: red where {plain(one)} is brighter, blue where {plain(other)} is")


def _looked(dataset: Dataset, tell: Progress) -> tuple[dict[str, np.ndarray], pd.DataFrame]:
    seen = looks.of([item.path for item in dataset.items], lambda part, line: tell(0.8 * part, line), thumbnails=False)
    means = overview.mean_images(dataset, lambda part, line: tell(0.8 + 0.2 * part, line))
    rows = []
    for label in means:
        own = [look for i, look in zip(dataset.items, seen, strict=True) if i.label == label and isinstance(look, Look)]
        sizes = np.array([look.size for look in own])
        rows.append(
            {
                "Class": label,
                "Width, px": _middle(sizes[:, 0], 0),
                "Height, px": _middle(sizes[:, 1], 0),
                "Width : height": _middle(sizes[:, 0] / sizes[:, 1], 2),
                "Brightness": _middle(np.array([look.brightness for look in own]), 2),
                "Contrast": _middle(np.array([look.contrast for look in own]), 2),
                "Formats": ", ".join(f"{n} {name}" for name, n in Counter(look.format for look in own).most_common()),
            }
        )
    return means, pd.DataFrame(rows)


def _middle(values: np.ndarray, digits: int) -> str:
    low, median, high = np.percentile(values, [25, 50, 75])
    return f"{median:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _chart(dataset: Dataset) -> "altair.Chart":
    """A bar for each class, the largest first, in parts for the splits."""
    import altair as alt  # here, as it takes a while, and every page would wait for it

    names = [SPLIT_NAMES[split] for split in dataset.splits]
    colours = alt.Scale(domain=names, range=[SPLIT_COLOURS[split] for split in dataset.splits])
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
            x="Images:Q",
            y=alt.Y("Class:N", sort="-x", title=None, axis=alt.Axis(labelLimit=220)),
            color=alt.Color("Split:N", scale=colours, legend=legend),
            order="Place:O",
            tooltip=["Class", "Split", "Images"],
        )
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
