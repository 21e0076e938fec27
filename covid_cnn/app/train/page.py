"""The train page: choose images and a network, start, and watch the network learn. Three steps on one screen."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from covid_cnn.app.dataset import adding
from covid_cnn.app.shared import background, demo, elements, library
from covid_cnn.app.shared.elements import escape_markdown
from covid_cnn.app.train import run_view, settings, table
from covid_cnn.common.errors import CovidCnnError
from covid_cnn.data import importer, synthetic
from covid_cnn.data.dataset import Dataset
from covid_cnn.data.splits import Splits, training_splits
from covid_cnn.images import ops, reader
from covid_cnn.images.augment import AUGMENTATIONS, augment
from covid_cnn.runs import config
from covid_cnn.runs.config import TrainConfig
from covid_cnn.runs.run import ACTIVE, discover_runs, open_run, runs_ahead, start_run

WITHOUT_TENSORFLOW = (
    "Training needs TensorFlow, which is not installed here: run `pip install 'covid-cnn[app,train]'`, "
    "and start the app again. Everything else works without."
)
DRAWING, WAITING = "train_drawing", "train_waiting"  # keys of the session: the drawing, and the run that waits for it
DRAWN = "synthetic"  # the name under data/ of the dataset that the program draws
DATA, WANTED = "train_data", "train_data_wanted"  # keys of the session: the dataset, and that of a run made again
THUMBNAIL, SHOWN = 96, 3  # pixels, pictures


def draw_page() -> None:
    """Draw the page."""
    elements.draw_heading("Train")
    runs = discover_runs()
    names = [run.name for run in runs]
    _select_at_first(names)
    name = _selected(names) if names else None
    if name:
        st.query_params["run"] = name
    else:
        st.query_params.pop("run", None)
    with elements.draw_errors():
        if name is None:
            _new_run()
            if runs:
                table.draw_table(runs)
        else:
            run_view.draw_run(open_run(name))


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
            placeholder="A new run, or choose one to look at",
            key="train_run",
            persist_state="session",
            label_visibility="collapsed",
            help="The runs under runs/, the newest first. A run goes on when you leave this page or close the browser.",
        )
        st.button("New run", icon=":material/add:", on_click=_select, args=(None,), disabled=name is None)
    return name


def _new_run() -> None:
    if importlib.util.find_spec("tensorflow") is None:
        st.info(WITHOUT_TENSORFLOW, icon=":material/download:")
        return
    adding.draw_under_way()
    datasets, problems = library.all_datasets()
    for problem in problems:
        st.warning(escape_markdown(problem))
    _draw_steps({dataset.name: dataset for dataset in datasets})


def _draw_steps(datasets: Mapping[str, Dataset]) -> None:
    """Images, network and Start beside each other, and everything else below, closed."""
    images, networks, start = st.columns([4, 4, 3], gap="medium")
    with images:
        st.markdown("## 1 &nbsp; Images")
        data = _choose_dataset(datasets)
    with networks:
        st.markdown("## 2 &nbsp; Network")
        network = settings.choose_network()
    start.markdown("## 3 &nbsp; Start")
    with st.expander("Settings", icon=":material/tune:"):
        form, beside = st.columns([3, 2], gap="large")
        with form:
            chosen, name = settings.draw_settings(network)
    with start, elements.draw_errors():
        splits = training_splits(datasets[data], chosen["seed"]) if data in datasets else None
        _draw_start(data, splits, chosen, name)
        if splits:
            with beside:
                _preview(splits, chosen)


def _draw_start(data: str, splits: Splits | None, chosen: dict[str, Any], name: str | None) -> None:
    """The button, and what it will do."""
    if DRAWING in st.session_state:
        if background.take_result(DRAWING):
            chosen, name = st.session_state[WAITING]
            _start(DRAWN, chosen, name, 2 * synthetic.COUNTS["train"])
        return
    if st.button("Start training", type="primary", icon=":material/play_arrow:", width="stretch"):
        if splits:
            _start(data, chosen, name, len(splits.train))
        else:
            st.session_state[WAITING] = chosen, name
            background.start_for_session(DRAWING, lambda tell: importer.add_dataset(DRAWN, progress=tell))
    if splits:
        st.caption(escape_markdown(_split_line(splits)))
    else:
        counts = {split: 2 * count for split, count in synthetic.COUNTS.items()}
        st.caption(
            f"Draws the images first, in about 20 seconds. Learns from {counts['train']}, is watched with "
            f"{counts['val']} (validation), tests on {counts['test']}."
        )
    if before := runs_ahead():
        names = ", ".join(run.name for run in before)
        st.caption(escape_markdown(f"A new run waits for its turn, after {names}."))


def _start(data: str, chosen: dict[str, Any], name: str | None, images: int) -> None:
    with elements.draw_errors():
        wanted = TrainConfig.of(data, **chosen)
        demo.check_run(wanted, images)
        run = start_run(wanted, name)
        demo.own(run)
        st.session_state["train_next"] = run.name
        st.rerun()


def _split_line(splits: Splits) -> str:
    test = f"tests on {len(splits.test)}" if splits.test else "has none to test on"
    line = f"Learns from {len(splits.train)} images, is watched with {len(splits.val)} (validation), {test}."
    return " ".join([line, *splits.notes])


def _preview(splits: Splits, chosen: dict[str, Any]) -> None:
    """One training image and what the augmentation makes of it."""
    st.markdown("**What the network gets to see**")
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
            elements.draw_captioned(
                st, elements.data_address(picture), f"Variant {number}" if number else "As it is", 130
            )
    st.caption(f"A training image at the network's {size[1]} x {size[0]} pixels, and five random variants of it.")


@st.cache_data(max_entries=64, show_spinner=False)
def _variants(path: Path, changed: int, size: tuple[int, int], augmentation: str, seed: int) -> list[np.ndarray]:
    """The image as the network takes it and five augmented ones, each float32 ``[H, W]`` 0..1."""
    image = ops.prepare(reader.read(path).pixels, size)
    generators = [np.random.default_rng((seed, variant)) for variant in range(5)]
    varied = [augment(image, AUGMENTATIONS[augmentation], generator) for generator in generators]
    return [variant[..., 0] for variant in (image, *varied)]


def _choose_dataset(datasets: Mapping[str, Dataset]) -> str:
    """The name of the dataset to learn from; ``DRAWN`` also where it has yet to be drawn."""
    yours = [name for name in datasets if name != DRAWN]
    chosen = _chosen(datasets, yours)
    if (wanted := st.session_state.get(WANTED)) and wanted not in datasets:
        st.warning(
            f"The run learned from {escape_markdown(wanted)}, which is not under data/: add it, or take others.",
            icon=":material/photo_library:",
        )
    with st.container(border=True, key="train_drawn"):
        with st.container(horizontal=True, gap="xsmall"):
            for picture in _drawn_pictures():
                st.image(picture, width=THUMBNAIL, alt="A drawn chest X-ray")
        st.caption(f"{2 * sum(synthetic.COUNTS.values())} X-rays that the program draws, half with opacities.")
        _pick("Drawn", chosen == DRAWN, DRAWN)
    with st.container(border=True, key="train_yours"):
        if yours:
            st.selectbox(
                "Dataset",
                yours,
                index=yours.index(chosen) if chosen in yours else 0,
                format_func=lambda name: f"{name} ({len(datasets[name].items)} images)",
                key="train_yours_name",
                on_change=lambda: _take(st.session_state["train_yours_name"]),
            )
            with st.container(horizontal=True):
                _pick("Yours", chosen != DRAWN, st.session_state["train_yours_name"])
                adding.offer_adding()
        else:
            st.caption("Your own images: a .zip, a folder, or from Kaggle.")
            adding.offer_adding()
    return chosen


def _chosen(datasets: Mapping[str, Dataset], yours: list[str]) -> str:
    """What was chosen before; to begin with, a person's own images."""
    name = st.session_state.get(DATA)
    if name not in datasets and name != DRAWN:  # of a run whose dataset is gone, or was never under data/
        name = next(
            (name for name in yours if name != synthetic.ELSEWHERE), DRAWN
        )  # that one is there to be asked about
    st.session_state[DATA] = name
    if name in yours:
        st.session_state["train_yours_name"] = name
    return str(name)


def _pick(label: str, is_chosen: bool, name: str) -> None:
    """The button of a card; it tells by its colour and its icon whether the card is chosen."""
    st.button(
        label,
        type="primary" if is_chosen else "secondary",
        icon=":material/radio_button_checked:" if is_chosen else ":material/radio_button_unchecked:",
        key=f"train_pick_{label}",
        on_click=_take,
        args=(name,),
    )


def _take(name: str) -> None:
    st.session_state[DATA] = name
    st.session_state.pop(WANTED, None)


@st.cache_data(show_spinner=False)
def _drawn_pictures() -> list[str]:
    return [
        elements.data_address(synthetic.draw_radiograph(seed, bool(seed % 2), 2 * THUMBNAIL)) for seed in range(SHOWN)
    ]
