"""The dataset page: look through the datasets under data/, check them, and add others."""

import math
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st

from covid_cnn import adding, datasets, imaging, paths
from covid_cnn.adding import Progress
from covid_cnn.app import pages
from covid_cnn.app.shared import SYNTHETIC, plain
from covid_cnn.datasets import Dataset, Item
from covid_cnn.errors import CovidCnnError, ImageError

if TYPE_CHECKING:
    import altair

    from covid_cnn.audit import Report

PAGE_SIZES = (12, 24, 48)
CARD = 168  # pixels; two cards fit beside each other on a phone
THUMBNAIL = 160  # pixels, longest side
SHOWN = 24  # images, or pairs of them, that are shown of one finding
SPLIT_NAMES = {"train": "Train", "val": "Validation", "test": "Test", "": "No split"}
SPLIT_COLOURS = {"train": "#14a098", "val": "#f2a541", "test": "#7b6fd0", "": "#14a098"}  # seen on white and on black
SEVERITY_BOXES = {"serious": st.error, "warning": st.warning, "note": st.info}
SEVERITY_ICONS = {"serious": ":material/error:", "warning": ":material/warning:", "note": ":material/info:"}


def page() -> None:
    """Show the page."""
    st.title("Dataset")
    found, problems = _discover(paths.data_dir(), _stamp(paths.data_dir()))
    for problem in problems:
        st.warning(plain(problem), icon=":material/folder_off:")
    if not found:
        st.write("There is no dataset here yet. A first one is a click away:")
        _ways_to_add()
        return
    if added := st.session_state.pop("dataset_added", ""):
        st.session_state["dataset_name"] = added
        st.toast(f"Added {plain(added)}", icon=":material/check:")
    by_name = {dataset.name: dataset for dataset in found}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox("Dataset", list(by_name), key="dataset_name", persist_state="session", width=420)
        if st.button("Add a dataset", icon=":material/add:"):
            _add_dialog()
    dataset = by_name[name]
    st.markdown(_summary(dataset))
    images, overview, checks = st.tabs(
        [":material/photo_library: Images", ":material/bar_chart: Overview", ":material/fact_check: Audit"]
    )
    with images:
        _gallery(dataset)
    with overview:
        _overview(dataset)
    with checks:
        _audit(dataset)


@st.cache_resource(max_entries=4, show_spinner="Looking through the datasets")
def _discover(data_dir: Path, stamp: tuple) -> tuple[list[Dataset], list[str]]:
    return datasets.discover(data_dir)


def _stamp(folder: Path) -> tuple[tuple[str, int], ...]:
    """Differs once images came or went or a metadata.csv was rewritten; a hundredth of the work of an index."""
    stamp = []
    for where, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]  # those are still being added
        for path in [Path(where), *(Path(where, name) for name in files if name == datasets.METADATA)]:
            stamp.append((str(path), path.stat().st_mtime_ns))
    return tuple(sorted(stamp))


def _summary(dataset: Dataset) -> str:
    patients = len({item.patient for item in dataset.items})
    splits = ", ".join(SPLIT_NAMES[split].lower() for split in dataset.splits)
    parts = [
        f"**{len(dataset.items)}** images",
        f"**{len(dataset.classes)}** classes",
        f"**{patients}** patients",
        splits,
    ]
    return " · ".join(parts) + (f"  \n{SYNTHETIC}" if dataset.synthetic else "")


# The gallery


@st.fragment
def _gallery(dataset: Dataset) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        splits = _filter(dataset, "Split", dataset.splits, SPLIT_NAMES.__getitem__)
        labels = _filter(dataset, "Class", dataset.classes)
        sources = _filter(dataset, "Source", sorted({item.source for item in dataset.items}))
        words = st.text_input(
            "Name", key=f"dataset_name_{dataset.name}", placeholder="Any", icon=":material/search:", width=CARD
        )
        size = st.selectbox("Images a page", PAGE_SIZES, index=1, key="dataset_size", width=CARD)
    items = [
        item
        for item in dataset.items
        if (not splits or item.split in splits)
        and (not labels or item.label in labels)
        and (not sources or item.source in sources)
        and words.strip().lower() in item.path.name.lower()
    ]
    if not items:
        st.info("No image fits these filters.", icon=":material/filter_alt_off:")
        return
    count = math.ceil(len(items) / size)
    chosen = dataset.name, *splits, *labels, *sources, words, size
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        place = st.empty()
        number = st.pagination(count, key=f"dataset_page_{hash(chosen)}")  # another choice starts at page 1
    first = size * (number - 1)
    last = min(first + size, len(items))
    place.caption(f"Page {number} of {count}: images {first + 1} to {last} of {len(items)}", width="content")
    with st.container(horizontal=True):
        for n, item in enumerate(items[first:last], first):
            _card(item, f"dataset_view_{n}")


def _filter(dataset: Dataset, label: str, options: Sequence[str], shown: Callable[[str], str] = str) -> list[str]:
    """The chosen options, of which none stands for all; asks only where there is a choice."""
    if len(options) < 2:
        return []
    return st.multiselect(
        label,
        options,
        key=f"dataset_{label.lower()}_{dataset.name}",
        format_func=shown,
        placeholder="All",
        width=CARD,
    )


def _card(item: Item, key: str) -> None:
    """A small image, or the reason why there is none, with its class and split and a button that opens it."""
    with st.container(border=True, width=CARD, gap="xsmall"):
        try:
            png, synthetic = _thumbnail(item.path, item.path.stat().st_mtime_ns if item.path.is_file() else 0)
        except ImageError as error:
            with st.container(height=CARD - 34, border=False):  # as high as the images beside it
                st.caption(f":material/broken_image: {plain(str(error))}")
        else:
            st.image(png, width="stretch", alt=f"{item.label}, {item.path.name}")
            if synthetic:
                st.badge("Synthetic", icon=":material/draw:", color="violet")
        st.text(item.label)
        st.caption(SPLIT_NAMES[item.split] if item.split else plain(item.source))
        if st.button("View", key=key, icon=":material/zoom_in:", width="stretch"):
            _view(item)


@st.cache_data(max_entries=5000, show_spinner=False)
def _thumbnail(path: Path, changed: int) -> tuple[bytes, bool]:
    """A square PNG with the whole image in it, and whether the image is synthetic; raises ImageError."""
    radiograph = imaging.read(path)
    height, width = radiograph.pixels.shape
    scale = THUMBNAIL / max(height, width)
    small = imaging.prepare(radiograph.pixels, (max(1, round(scale * height)), max(1, round(scale * width))))[..., 0]
    top, left = (THUMBNAIL - small.shape[0]) // 2, (THUMBNAIL - small.shape[1]) // 2
    rows = (top, THUMBNAIL - small.shape[0] - top)
    columns = (left, THUMBNAIL - small.shape[1] - left)
    return imaging.to_png(np.pad(small, (rows, columns))), radiograph.synthetic


@st.dialog("Image", width="large", icon=":material/radiology:")
def _view(item: Item) -> None:
    picture, facts = st.columns([3, 2], gap="medium")
    try:
        radiograph = imaging.read(item.path)
    except ImageError as error:
        picture.error(plain(str(error)))
        radiograph = None
    told = {
        "Name": item.path.name,
        "Class": item.label,
        "Split": SPLIT_NAMES[item.split],
        "Patient": item.patient,
        "Source": item.source,
    }
    if radiograph:
        picture.image(imaging.to_png(radiograph.pixels), width="stretch", alt=f"{item.label}, {item.path.name}")
        told["Format"] = radiograph.origin
    told |= {name.capitalize(): value for name, value in item.facts.items()}
    with facts:
        if radiograph and st.button("Send to Predict", icon=":material/radiology:", type="primary", width="stretch"):
            st.session_state["predict_path"] = str(item.path)
            pages.switch(pages.PREDICT)
        if radiograph and radiograph.synthetic:
            st.markdown(SYNTHETIC)
        for warning in radiograph.warnings if radiograph else ():
            st.warning(plain(warning), icon=":material/warning:")
        for name, value in told.items():
            with st.container(horizontal=True, gap="small"):
                st.caption(name, width=72)
                st.text(value, width="stretch")


# The overview


def _overview(dataset: Dataset) -> None:
    chart, table = st.columns(2, gap="large")
    chart.altair_chart(_chart(dataset))
    table.dataframe(_table(dataset), hide_index=True, height="content")
    for note in dataset.notes:
        st.caption(f":material/info: {plain(note)}")
    st.caption(f":material/folder: {plain(str(dataset.root))}")


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


# The audit


@st.cache_resource
def _audits() -> "dict[tuple, Report]":
    """The reports of this process, by folder and state of the dataset."""
    return {}


@st.fragment
def _audit(dataset: Dataset) -> None:
    key = dataset.root, _stamp(dataset.root)
    if key not in _audits():
        st.write(
            "The audit reads every image and looks for what would make results mislead: unreadable images, "
            "duplicates, patients in two splits, labels that the file names contradict, and shortcuts that tell "
            "the classes apart without any medicine."
        )
        if not st.button("Start the audit", icon=":material/fact_check:", type="primary"):
            return
        with _progress() as progress:
            from covid_cnn import audit  # here, as it brings scikit-learn along

            _audits()[key] = audit.audit(dataset, progress)
        st.rerun()
    report = _audits()[key]
    if not report.findings:
        st.success(f"The audit of {report.images} images found nothing amiss.", icon=":material/check:")
    else:
        found = "1 finding" if len(report.findings) == 1 else f"{len(report.findings)} findings"
        st.caption(f"{found} in {report.images} images: reasons to look, not verdicts.")
    items = {item.path.relative_to(dataset.root).as_posix(): item for item in dataset.items}
    for n, finding in enumerate(report.findings):
        SEVERITY_BOXES[finding.severity](plain(finding.sentence), icon=SEVERITY_ICONS[finding.severity])
        groups = [(path,) for path in finding.paths] + list(finding.pairs)
        if groups:
            _evidence([[items[path] for path in group] for group in groups], f"dataset_finding_{n}")


def _evidence(groups: list[list[Item]], key: str) -> None:
    """The images, or pairs of them, that a finding is about; read once a person asks for them."""
    what = "image" if len(groups[0]) == 1 else "pair"
    label = f"Show the {what}" if len(groups) == 1 else f"Show {len(groups)} {what}s"
    expander = st.expander(label, key=key, type="compact", on_change="rerun")
    if not expander.open:
        return
    with expander:
        with st.container(horizontal=True):
            for n, group in enumerate(groups[:SHOWN]):
                with st.container(horizontal=True, width="content", border=len(group) > 1):
                    for m, item in enumerate(group):
                        _card(item, f"{key}_{n}_{m}")
        if len(groups) > SHOWN:
            st.caption(f"The first {SHOWN} of {len(groups)}; `python -m covid_cnn data audit` with `--json` lists all.")


# Adding datasets


@st.dialog("Add a dataset", width="large", icon=":material/add:")
def _add_dialog() -> None:
    _ways_to_add()


def _ways_to_add() -> None:
    drawn, kaggle, own = st.columns(3, border=True)
    with drawn:
        st.markdown("##### :material/draw: Synthetic radiographs")
        st.write(
            "200 chest X-rays that the program draws, half of them with opacities. They show no patient and need no "
            "internet: made for trying everything out."
        )
        if st.button("Draw synthetic radiographs", type="primary", width="stretch"):
            _add(lambda progress: adding.add("synthetic", progress=progress))
    with kaggle:
        _kaggle()
    with own:
        _own()


def _kaggle() -> None:
    st.markdown("##### :material/cloud_download: From Kaggle")
    with st.form("dataset_kaggle", border=False):
        handle = st.text_input("Owner/name", adding.KAGGLE_DEFAULT, help="As in the address of the dataset's page.")
        if st.form_submit_button("Download", width="stretch"):
            source = f"kaggle:{handle.strip().removeprefix('https://www.kaggle.com/datasets/')}"
            _add(lambda progress: adding.add(source, progress=progress))
    st.caption(
        "The one that is filled in has 188 chest X-rays, collected by Jordan Micah Bennett. The licences are those of "
        "its sources: NORMAL is from Kermany et al. 2018, children of one to five years (CC BY 4.0); PNEUMONIA from "
        "[ieee8023/covid-chestxray-dataset](https://github.com/ieee8023/covid-chestxray-dataset), each image under a "
        "licence of its own. It stays on this computer."
    )


def _own() -> None:
    st.markdown("##### :material/folder_open: Your own images")
    with st.form("dataset_own", border=False):
        upload = st.file_uploader("A .zip file", type="zip")
        folder = st.text_input("Or a folder or .zip on this computer", placeholder="/home/me/radiographs")
        name = st.text_input("Call it", placeholder="As its file or folder").strip()
        if st.form_submit_button("Add", width="stretch"):
            if upload:
                _add(lambda progress: adding.add_zip(upload, name or Path(upload.name).stem, progress=progress))
            elif folder.strip():
                path = Path(folder.strip()).expanduser().absolute()
                _add(lambda progress: adding.add(path, name=name or None, progress=progress))
            else:
                st.error("Choose a .zip file, or give the path of a folder.")
    st.caption(
        "Sorted into folders by class (`NORMAL/`, `PNEUMONIA/`), or by split and class (`train/NORMAL/`), or with a "
        "`metadata.csv` that has the columns `filename` and `finding`. The images are copied and stay on this computer."
    )


def _add(add: Callable[[Progress], Dataset]) -> None:
    """Add a dataset with a progress bar, and show it; or say why it cannot be added."""
    try:
        with _progress() as progress:
            added = add(progress)
    except CovidCnnError as error:
        st.error(plain(str(error)))
        return
    st.session_state["dataset_added"] = added.name
    st.rerun()


@contextmanager
def _progress() -> Iterator[Progress]:
    bar = st.progress(0.0, "Starting")
    try:

        def show(part: float, message: str) -> None:
            bar.progress(part, plain(message))

        yield show
    finally:
        bar.empty()
