"""Browse the images of a dataset: filters, order, pages of thumbnails, and one image opened large."""

import io
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import streamlit as st
from PIL import Image, ImageOps

from covid_cnn.app import pages
from covid_cnn.app.evaluate import asking
from covid_cnn.app.shared import background, elements
from covid_cnn.app.shared.elements import SYNTHETIC, escape_markdown
from covid_cnn.common.errors import ImageError
from covid_cnn.data import index, overview
from covid_cnn.data.dataset import Dataset, Item
from covid_cnn.data.index import ImageRecord
from covid_cnn.images import ops, reader
from covid_cnn.models import bundle

NEIGHBOURS = 6
NO_MODEL = "None"
PAGE_SIZES = (12, 24, 48)
CARD = 168  # pixels; two cards fit beside each other on a phone
SHOWN = 12  # other images of a patient
SPLIT_NAMES = {"train": "Train", "val": "Validation", "test": "Test", "": "No split"}
FACT_NAMES = {"license": "Licence", "url": "Address"}
# Keys of the session: the image to open, and those that were framed on the map.
OPENED, FRAMED = "dataset_opened", "dataset_framed"


class AnswerOf(NamedTuple):
    """A model's answer to an image, the class and its probability; `right` is None where it knows no such class."""

    label: str
    probability: float
    right: bool | None


# Which answers to show; none for an image that could not be read.
KINDS: dict[str, Callable[[AnswerOf | None], bool]] = {
    "Any": lambda answer: True,
    "Wrong": lambda answer: answer is not None and answer.right is False,
    "Right": lambda answer: answer is not None and answer.right is True,
}

# What to sort by; the images that cannot be read come last. None is the order of the files.
ORDERS: dict[str, Callable[[ImageRecord | None], float] | None] = {
    "Name": None,
    "Size": lambda record: record.size[0] * record.size[1] if record else math.inf,
    "Brightness": lambda record: record.brightness if record else math.inf,
    "Contrast": lambda record: record.contrast if record else math.inf,
}
# The same by what a model answers, once one is chosen.
SURE: dict[str, Callable[[AnswerOf | None], float]] = {
    "Least sure": lambda answer: answer.probability if answer else math.inf,
    "Most sure": lambda answer: -answer.probability if answer else math.inf,
}


@st.fragment
def draw_gallery(dataset: Dataset) -> None:
    """The images that fit the filters, a page of them at a time."""
    row = st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute")
    door = row.popover("Filter and sort", icon=":material/filter_list:")  # or images would come last
    with door, st.container(horizontal=True, vertical_alignment="bottom"):
        splits = _filter(dataset, "Split", dataset.splits, SPLIT_NAMES.__getitem__)
        labels = _filter(dataset, "Class", dataset.classes)
        sources = _filter(dataset, "Source", sorted({item.source for item in dataset.items}))
        views = _filter(dataset, "View", sorted({view for item in dataset.items if (view := item.facts.get("view"))}))
        words = st.text_input(
            "Name or patient",
            key=f"dataset_name_{dataset.name}",
            placeholder="Any",
            icon=":material/search:",
            width=CARD,
        )
        model, kind = choose_answers(dataset, CARD)
        orders = [*ORDERS, *(SURE if model != NO_MODEL else ())]
        order = st.selectbox("Sort by", orders, key=f"dataset_order_{dataset.name}", width=CARD)
        size = st.selectbox("Images a page", PAGE_SIZES, index=1, key="dataset_size", width=CARD)
    by_path = answers_of(dataset, model) if model != NO_MODEL else {}
    if by_path is None:
        return
    if framed := framed_on_map(dataset):
        st.button(
            f"{len(framed)} images framed on the map",
            icon=":material/close:",
            help="Show all images again.",
            on_click=lambda: st.session_state.pop(FRAMED, None),
        )
    items = [
        item
        for item in dataset.items
        if (not framed or item.path in framed)
        and (not splits or item.split in splits)
        and (not labels or item.label in labels)
        and (not sources or item.source in sources)
        and (not views or item.facts.get("view") in views)
        and words.strip().lower() in f"{item.path.name} {item.patient}".lower()
        and KINDS[kind](by_path.get(item.path))
    ]
    if not items:
        st.info("No image fits these filters.", icon=":material/filter_alt_off:")
        return
    if order in SURE:
        items.sort(key=lambda item: SURE[order](by_path.get(item.path)))
    elif (value := ORDERS[order]) is not None:
        indexed = background.await_result(
            ("looks", dataset.root, len(items)), partial(index.index_items, items), "Read the images"
        )
        if indexed is None:
            return
        records = {item.path: record for item, record in indexed}
        items.sort(key=lambda item: value(records.get(item.path)))
    count = math.ceil(len(items) / size)
    chosen = dataset.name, framed, *splits, *labels, *sources, *views, words, model, kind, order, size
    with row:
        place = st.empty()
        number = st.pagination(count, key=f"dataset_page_{hash(chosen)}")  # another choice starts at page 1
    first = size * (number - 1)
    last = min(first + size, len(items))
    among = f", chosen among {len(dataset.items)}" if len(items) < len(dataset.items) else ""
    place.caption(f"Page {number} of {count}: images {first + 1} to {last} of {len(items)}{among}", width="content")
    draw_cards(items[first:last], [f"dataset_view_{n}" for n in range(first, last)], by_path)


def framed_on_map(dataset: Dataset) -> frozenset[Path]:
    """The images of this dataset that were framed on its map; empty where none were."""
    root, paths = st.session_state.get(FRAMED, (None, frozenset()))
    return paths if root == dataset.root else frozenset()


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


def draw_cards(items: Sequence[Item], keys: Sequence[str], by_path: Mapping[Path, AnswerOf] | None = None) -> None:
    """Small images beside each other, each with a button that opens it, and with what a model answers to it."""
    small = index.load_thumbnails([item.path for item in items])
    with st.container(horizontal=True):
        for item, jpeg, key in zip(items, small, keys, strict=True):
            draw_card(item, jpeg, key, (by_path or {}).get(item.path))


def draw_card(item: Item, jpeg: bytes | ImageError, key: str, answer: AnswerOf | None = None) -> None:
    """A small image, or the reason why there is none, with its class and split and a button that opens it."""
    with st.container(border=True, width=CARD, gap="xsmall", key=f"card_{key}"):
        if isinstance(jpeg, ImageError):
            with st.container(height=CARD - 34, border=False):  # as high as the images beside it
                st.caption(f":material/broken_image: {escape_markdown(str(jpeg))}")
        else:
            st.image(_squared(jpeg), width="stretch", alt=f"{item.label}, {item.path.name}")
            if item.synthetic:
                st.badge("Synthetic", icon=":material/draw:", color="violet")
        st.text(item.label)
        st.caption(SPLIT_NAMES[item.split] if item.split else escape_markdown(item.source))
        if answer:
            icon = {None: "question_mark", True: "check", False: "close"}[answer.right]
            st.caption(f":material/{icon}: called {escape_markdown(answer.label)}, {answer.probability:.2f}")
        if not item.synthetic:
            st.caption(f":material/copyright: {escape_markdown(item.licence)}")
        if st.button("View", key=key, icon=":material/zoom_in:", width="stretch"):
            st.session_state[OPENED] = item
            st.rerun()  # a dialog must be opened by the page: this may be a dialog itself, or a part of the page


@st.cache_data(max_entries=2000, show_spinner=False)
def _squared(jpeg: bytes) -> bytes:
    """A square PNG with the whole of a small image in it."""
    with Image.open(io.BytesIO(jpeg)) as picture:
        square = ImageOps.pad(picture, (index.GALLERY_SIDE, index.GALLERY_SIDE))
        return ops.to_png(np.asarray(square, np.float32) / 255)


def draw_opened(dataset: Dataset) -> None:
    """Show, over the page, the image whose card was clicked last."""
    if item := st.session_state.pop(OPENED, None):
        _view(item, dataset)


@st.dialog("Image", width="large", icon=":material/radiology:", on_dismiss=lambda: st.session_state.pop(OPENED, None))
def _view(item: Item, dataset: Dataset) -> None:
    picture, facts = st.columns([3, 2], gap="medium")
    try:
        radiograph = reader.read(item.path)
    except ImageError as error:
        picture.error(escape_markdown(str(error)))
        radiograph = None
    details = {
        "Name": item.path.name,
        "Class": item.label,
        "Split": SPLIT_NAMES[item.split],
        "Patient": item.patient,
        "Source": item.source,
        "Licence": item.licence,
    }
    if radiograph:
        picture.image(ops.to_png(radiograph.pixels), width="stretch", alt=f"{item.label}, {item.path.name}")
        details["Format"] = radiograph.origin
    details |= {FACT_NAMES.get(name, name.capitalize()): value for name, value in item.facts.items()}
    with facts:
        if radiograph and st.button("Send to Predict", icon=":material/radiology:", type="primary", width="stretch"):
            st.session_state["predict_path"], st.session_state["predict_sample"] = str(item.path), None
            pages.switch_to(pages.PREDICT)
        if radiograph and radiograph.synthetic:
            st.markdown(SYNTHETIC)
        for warning in radiograph.warnings if radiograph else ():
            st.warning(escape_markdown(warning), icon=":material/warning:")
        for name, value in details.items():
            with st.container(horizontal=True, gap="small"):
                st.caption(name, width=72)
                st.text(value, width="stretch")
    others = [other for other in dataset.items if other.patient == item.patient and other != item]
    if others:
        st.markdown(f"**Of the same patient**, {len(others)}")
        draw_cards(others[:SHOWN], [f"dataset_same_{n}" for n in range(min(SHOWN, len(others)))])
    alike = alike_images(dataset, item) if radiograph else ()
    if alike is None:
        st.session_state[OPENED] = item  # the page runs anew once the model has answered, and opens it again
    elif alike:
        draw_cards(alike, [f"dataset_alike_{n}" for n in range(len(alike))])


# ---- what a model answers to the images: where it errs, how sure it is, what it finds alike


def choose_answers(dataset: Dataset, width: int) -> tuple[str, str]:
    """Ask for a model and a kind of its answers; both are the first of their lists where there is no model."""
    models = list(bundle.discover_bundles()[0])
    if not models:
        return NO_MODEL, "Any"
    name = st.selectbox("Answers of model", [NO_MODEL, *models], key=f"dataset_model_{dataset.name}", width=width)
    if name == NO_MODEL:
        return name, "Any"
    kind = st.selectbox("Its answer", list(KINDS), key=f"dataset_answer_{dataset.name}", width=width)
    return name, kind


def answers_of(dataset: Dataset, name: str) -> dict[Path, AnswerOf] | None:
    """A model's answer to each image that can be read; None until they are there, and the way to them is drawn."""
    with elements.draw_errors():
        model = elements.load_bundle(name)
        if (answers := asking.cached_predictions(model, asking.whole_set(dataset))) is None:
            return None
        rows = zip(answers.items, answers.labels, answers.predicted, answers.probabilities, strict=True)
        return {
            item.path: AnswerOf(model.classes[said], float(shares[said]), bool(true == said) if true >= 0 else None)
            for item, true, said, shares in rows
        }
    return None


def alike_images(dataset: Dataset, item: Item) -> Sequence[Item] | None:
    """The images that a model finds most like one; None until it has answered, and the way to that is drawn."""
    models = list(bundle.discover_bundles()[0])
    if not models:
        return ()
    name = st.selectbox("The images most like it, as a model sees them", models, key="dataset_alike_model", width=320)
    with elements.draw_errors():
        answers = asking.cached_predictions(elements.load_bundle(name), asking.whole_set(dataset), embeddings=True)
        if answers is None:
            return None
        paths = [other.path for other in answers.items]
        if item.path in paths:  # it can be read
            near = overview.nearest_neighbours(answers.embeddings, paths.index(item.path), NEIGHBOURS)
            return [answers.items[n] for n in near]
    return ()
