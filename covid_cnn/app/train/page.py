"""The train page: choose what to train and how, start it, and watch the network learn."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from covid_cnn.app import pages
from covid_cnn.app.shared import demo, elements
from covid_cnn.app.shared.elements import escape_markdown
from covid_cnn.app.train import run_view, settings, table
from covid_cnn.common.errors import CovidCnnError
from covid_cnn.data import importer
from covid_cnn.data.dataset import discover_datasets
from covid_cnn.data.splits import Splits, training_splits
from covid_cnn.images import ops, reader
from covid_cnn.images.augment import AUGMENTATIONS, augment
from covid_cnn.runs import config
from covid_cnn.runs.config import TrainConfig
from covid_cnn.runs.run import ACTIVE, discover_runs, open_run, runs_ahead, start_run


def draw_page() -> None:
    """Draw the page."""
    st.title("Train")
    found = discover_runs()
    names = [run.name for run in found]
    _select_at_first(names)
    name = _selected(names) if names else None
    if name:
        st.query_params["run"] = name
    else:
        st.query_params.pop("run", None)
    try:
        if name is None:
            _new_run()
            if found:
                table.draw_table(found)
        else:
            run_view.draw_run(open_run(name))
    except CovidCnnError as error:
        st.error(escape_markdown(str(error)))


def _select_at_first(names: Sequence[str]) -> None:
    """Select the run just started, or the one in the address, or, for who comes new, the newest if it is at work."""
    if "train_next" in st.session_state:
        name = st.session_state.pop("train_next")
    elif "train_run" in st.session_state:
        name = st.session_state["train_run"]
    elif "run" in st.query_params:
        name = st.query_params["run"]
    else:
        name = next((name for name in names[:1] if open_run(name).state() in ACTIVE), None)
    _select(name if name in names else None)


def _select(name: str | None) -> None:
    st.session_state["train_run"] = name


def _selected(names: Sequence[str]) -> str | None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox(
            "Run",
            names,
            index=None,
            placeholder="A new one, or choose one to look at",
            key="train_run",
            persist_state="session",
            help="The runs under runs/, the newest first. A run goes on when you leave this page or close the browser.",
        )
        st.button("New run", icon=":material/add:", on_click=_select, args=(None,), disabled=name is None)
    return name


# A new run


def _new_run() -> None:
    found, problems = discover_datasets()
    for problem in problems:
        st.warning(escape_markdown(problem))
    if not found:
        _no_dataset()
        return
    form, beside = st.columns([3, 2], gap="large")
    with form.container(border=True):
        dataset, chosen, name = settings.draw_settings({dataset.name: dataset for dataset in found})
        try:
            splits = training_splits(dataset, chosen["seed"])
        except CovidCnnError as error:
            st.error(escape_markdown(str(error)))
            return
        st.caption(escape_markdown(_split_line(splits)))
        if st.button("Start training", type="primary", icon=":material/play_arrow:"):
            _start(dataset.name, chosen, name, len(splits.train))
        if before := runs_ahead():
            names = ", ".join(run.name for run in before)
            st.caption(escape_markdown(f"The machine is at work on {names}: a new run waits for its turn."))
    with beside:
        _preview(splits, chosen)


def _start(data: str, chosen: dict[str, Any], name: str | None, images: int) -> None:
    try:
        config = TrainConfig.of(data, **chosen)
        demo.check_run(config, images)
        run = start_run(config, name)
        demo.own(run)
    except CovidCnnError as error:
        st.error(escape_markdown(str(error)))
        return
    st.session_state["train_next"] = run.name
    st.rerun()


def _no_dataset() -> None:
    st.info(
        "There is no dataset yet. Add your own on the Dataset page, or let the program draw synthetic radiographs: "
        "200 images, in about 20 seconds.",
        icon=":material/photo_library:",
    )
    with st.container(horizontal=True):
        draw = st.button("Draw the synthetic dataset and use it", type="primary", icon=":material/draw:")
        if st.button("Go to the Dataset page", icon=":material/photo_library:"):
            pages.switch_to(pages.DATASET)
    if draw:
        bar = st.progress(0.0)

        def show(share: float, message: str) -> None:
            bar.progress(share, message)

        importer.add_dataset("synthetic", progress=show)
        st.rerun()


def _split_line(splits: Splits) -> str:
    test = f"tests on {len(splits.test)}" if splits.test else "has none to test on"
    line = f"Learns from {len(splits.train)} images, is watched with {len(splits.val)} (validation), {test}."
    return " ".join([line, *splits.notes])


def _preview(splits: Splits, chosen: dict[str, Any]) -> None:
    """One training image and what the augmentation makes of it."""
    st.subheader("What the network gets to see")
    path = splits.train[0].path
    size = config.find_recipe(chosen["network"]).input_size
    try:
        pictures = _variants(path, path.stat().st_mtime_ns, size, chosen["augmentation"], chosen["seed"])
    except (CovidCnnError, OSError) as error:
        reason = str(error) if isinstance(error, CovidCnnError) else f"{path.name} is gone."
        st.warning(escape_markdown(f"{reason} The training leaves such images out."), icon=":material/broken_image:")
        return
    with st.container(horizontal=True):
        for number, picture in enumerate(pictures):
            st.image(elements.data_address(picture), caption=f"Variant {number}" if number else "As it is", width=130)
    st.caption(f"A training image at the network's {size[1]} x {size[0]} pixels, and five random variants of it.")


@st.cache_data(max_entries=64, show_spinner=False)
def _variants(path: Path, changed: int, size: tuple[int, int], augmentation: str, seed: int) -> list[np.ndarray]:
    """The image as the network takes it and five augmented ones, each float32 ``[H, W]`` 0..1."""
    image = ops.prepare(reader.read(path).pixels, size)
    generators = [np.random.default_rng((seed, variant)) for variant in range(5)]
    varied = [augment(image, AUGMENTATIONS[augmentation], generator) for generator in generators]
    return [variant[..., 0] for variant in (image, *varied)]
