"""The train page: choose what to train and how, start it, and watch the network learn."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from covid_cnn import adding, datasets, imaging, runs
from covid_cnn.app import pages, run_table, run_view
from covid_cnn.app.shared import plain
from covid_cnn.augmentation import AUGMENTATIONS, augment
from covid_cnn.datasets import Dataset
from covid_cnn.errors import CovidCnnError
from covid_cnn.recipes import RECIPES
from covid_cnn.runs import ACTIVE, TrainConfig
from covid_cnn.splits import Splits, training_splits

AUGMENTATION_LINES = {
    "none": "Every epoch shows the same images.",
    "mirror": "Left and right change places.",
    "notebook": "Zoomed by up to a fifth, and mirrored half of the time, as in the student notebook.",
    "radiograph": "Turned, moved, zoomed and exposed a little, as between two takes of one patient. Never mirrored.",
    "hospitals": "The same, further, with blur, noise, compression and stamped letters, as between hospitals.",
}


def page() -> None:
    """Draw the page."""
    st.title("Train")
    found = runs.discover()
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
                run_table.draw(found)
        else:
            run_view.show(runs.open(name))
    except CovidCnnError as error:
        st.error(plain(str(error)))


def _select_at_first(names: Sequence[str]) -> None:
    """Select the run just started, or the one in the address, or, for who comes new, the newest if it is at work."""
    if "train_next" in st.session_state:
        name = st.session_state.pop("train_next")
    elif "train_run" in st.session_state:
        name = st.session_state["train_run"]
    elif "run" in st.query_params:
        name = st.query_params["run"]
    else:
        name = next((name for name in names[:1] if runs.open(name).state() in ACTIVE), None)
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
    found, problems = datasets.discover()
    for problem in problems:
        st.warning(plain(problem))
    if not found:
        _no_dataset()
        return
    form, beside = st.columns([3, 2], gap="large")
    with form.container(border=True):
        dataset, chosen, name = _settings({dataset.name: dataset for dataset in found})
        try:
            splits = training_splits(dataset, chosen["seed"])
        except CovidCnnError as error:
            st.error(plain(str(error)))
            return
        st.caption(plain(_split_line(splits)))
        if st.button("Start training", type="primary", icon=":material/play_arrow:"):
            _start(dataset.name, chosen, name)
    with beside:
        _preview(splits, chosen)


def _start(data: str, chosen: dict[str, Any], name: str | None) -> None:
    try:
        run = runs.start(TrainConfig.of(data, **chosen), name)
    except CovidCnnError as error:
        st.error(plain(str(error)))
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
            pages.switch(pages.DATASET)
    if draw:
        bar = st.progress(0.0)

        def show(share: float, message: str) -> None:
            bar.progress(share, message)

        adding.add("synthetic", progress=show)
        st.rerun()


def _settings(found: dict[str, Dataset]) -> tuple[Dataset, dict[str, Any], str | None]:
    """The fields: the dataset, the other settings by their names in TrainConfig, and the run's name if one is given."""
    if st.session_state.get("train_data") not in found:  # of a run whose dataset is gone
        st.session_state.pop("train_data", None)
    data = st.selectbox(
        "Dataset",
        found,
        format_func=lambda name: f"{name} ({len(found[name].items)} images, {len(found[name].classes)} classes)",
        key="train_data",
        help="The images to learn from. The Dataset page shows them and adds others.",
    )
    network = st.radio(
        "Network",
        RECIPES,
        format_func=lambda key: RECIPES[key].title,
        captions=[recipe.description for recipe in RECIPES.values()],
        key="train_network",
        help="What learns. The fields below take the settings that suit it.",
    )
    recipe = RECIPES[network]

    # The network is part of the keys, so that another network brings its own defaults.
    def number(label: str, field: str, least: float, most: float, **more: Any) -> Any:
        return st.number_input(label, least, most, getattr(recipe, field), key=f"train_{field}_{network}", **more)

    with st.container(horizontal=True):
        epochs = number("Epochs", "epochs", 1, 1000, help="How many times the network sees all training images.")
        batch_size = number(
            "Batch size",
            "batch_size",
            1,
            1024,
            help="How many images it looks at before each small correction of its weights (a step). Larger is smoother "
            "and needs more memory.",
        )
        learning_rate = number(
            "Learning rate",
            "learning_rate",
            0.0,
            10.0,
            step=recipe.learning_rate / 10,
            format="%.5f",
            help="How large each correction is. Too small learns slowly; too large never settles.",
        )
        seed = st.number_input(
            "Seed",
            0,
            2**31 - 1,
            0,
            key="train_seed",
            help="Decides everything random: first weights, order, variations, splits. The same seed gives the same "
            "run again.",
        )
        patience = st.number_input(
            "Patience",
            0,
            1000,
            0,
            key="train_patience",
            help="Early stopping: the training ends when the validation loss has not fallen for so many epochs. 0: it "
            "never ends early.",
        )
    augmentation = st.radio(
        "Augmentation",
        AUGMENTATIONS,
        index=list(AUGMENTATIONS).index(recipe.augmentation),
        format_func=str.capitalize,
        captions=[AUGMENTATION_LINES.get(key, "") for key in AUGMENTATIONS],
        key=f"train_augmentation_{network}",
        help="How training images are varied at random, so that the network cannot learn them by heart.",
    )
    name = st.text_input(
        "Name (optional)",
        key="train_name",
        placeholder="made from network, dataset and time",
        help="Of the run, and of the model that it makes: letters, digits, dots, dashes and underscores.",
    )
    chosen = {
        "network": network,
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "augmentation": augmentation,
        "seed": seed,
        "patience": patience,
    }
    return found[data], chosen, name.strip() or None


def _split_line(splits: Splits) -> str:
    test = f"tests on {len(splits.test)}" if splits.test else "has none to test on"
    line = f"Learns from {len(splits.train)} images, is watched with {len(splits.val)} (validation), {test}."
    return " ".join([line, *splits.notes])


def _preview(splits: Splits, chosen: dict[str, Any]) -> None:
    """One training image and what the augmentation makes of it."""
    st.subheader("What the network gets to see")
    path = splits.train[0].path
    size = RECIPES[chosen["network"]].input_size
    pictures = _variants(path, path.stat().st_mtime_ns, size, chosen["augmentation"], chosen["seed"])
    with st.container(horizontal=True):
        for number, picture in enumerate(pictures):
            st.image(picture, caption=f"Variant {number}" if number else "As it is", width=130)
    st.caption(f"A training image at the network's {size[1]} x {size[0]} pixels, and five random variants of it.")


@st.cache_data(max_entries=64, show_spinner=False)
def _variants(path: Path, changed: int, size: tuple[int, int], augmentation: str, seed: int) -> list[np.ndarray]:
    """The image as the network takes it and five augmented ones, each float32 ``[H, W]`` 0..1."""
    plain = imaging.prepare(imaging.read(path).pixels, size)
    generators = [np.random.default_rng((seed, variant)) for variant in range(5)]
    varied = [augment(plain, AUGMENTATIONS[augmentation], generator) for generator in generators]
    return [image[..., 0] for image in (plain, *varied)]
