"""Put a model to a dataset's images in the background, and know which of them it has learned from."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import streamlit as st

from covid_cnn import assessment, bundle, paths, seen
from covid_cnn.app import indexed, working
from covid_cnn.app.shared import plain
from covid_cnn.assessment import Answers
from covid_cnn.bundle import Bundle
from covid_cnn.datasets import Dataset, Item
from covid_cnn.jobs import Work
from covid_cnn.store import Store

LEFT_OUT = (
    "Left out are the images that look the same as one of its training images, in whatever size, format and name, and "
    "all others of those patients, as far as metadata and names tell who they are."
)
SPLITS = {"train": "train", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Place:
    """Images to ask about: some of a dataset's, by what their choice is called.

    Attributes
    ----------
    split : of the dataset; "all" for every image.
    unseen : whether those that a model learned from are left out.
    """

    name: str
    dataset: Dataset
    split: str
    items: tuple[Item, ...]
    unseen: bool = False

    @cached_property
    def key(self) -> str:
        """The same for the same images under the same classes."""
        lines = (f"{item.path}|{item.label}|{item.patient}\n" for item in self.items)
        return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()

    def without(self, known: Set[Path]) -> "Place":
        """The images that a model has not learned from."""
        items = tuple(item for item in self.items if item.path not in known)
        return replace(self, name=f"{self.name}, {len(items)} it never saw", items=items, unseen=True)


@dataclass(frozen=True)
class Asked:
    """A model, the images, and its answers to them."""

    model: Bundle
    place: Place
    answers: Answers

    @property
    def key(self) -> tuple[str, int, str]:
        """The same for the same answers."""
        return _key(self.model, self.place)


def places(found: Iterable[Dataset]) -> dict[str, Place]:
    """What can be evaluated on, by name: the test splits first, since the others flatter a model."""
    every = [place for dataset in found for place in _places(dataset)]
    return {place.name: place for place in sorted(every, key=lambda place: place.split not in ("test", ""))}


def _places(dataset: Dataset) -> Iterator[Place]:
    for split in dataset.splits:
        name = f"{dataset.name}, {SPLITS[split]}" if split else dataset.name
        yield Place(name, dataset, split, dataset.subset(split))
    if len(dataset.splits) > 1:
        yield Place(f"{dataset.name}, all images", dataset, "all", dataset.items)


def _key(model: Bundle, place: Place) -> tuple[str, int, str]:
    """The same for the same answers."""
    return str(model.folder), (model.folder / bundle.INFO).stat().st_mtime_ns, place.key


def _work(model: Bundle, place: Place, embeddings: bool = False) -> Work[Answers]:
    return lambda progress: assessment.ask_all(model, place.items, Store(), progress, embeddings)


def answers(model: Bundle, place: Place, embeddings: bool = False) -> Answers | None:
    """The answers of a model, perhaps with embeddings; None where there are none yet, and the way to them is drawn."""
    key = *_key(model, place), embeddings
    missing = 0 if working.known(key) else len(place.items) - assessment.kept(model, place.items, Store())
    if missing:
        st.write(
            f"{plain(model.name)} has yet to be asked about {missing} of the {len(place.items)} images of "
            f"{plain(place.name)}. Its answers are kept, so that this is done once."
        )
    return working.result(key, _work(model, place, embeddings), "Ask the model", at_once=not missing)


def missing(pairs: Sequence[tuple[Bundle, Place]]) -> list[tuple[Bundle, Place]]:
    """Those of the pairs of a model and images that nobody has asked yet."""
    return [
        (model, place)
        for model, place in pairs
        if not working.known((*_key(model, place), False))
        and assessment.kept(model, place.items, Store()) < len(place.items)
    ]


def ask(pairs: Sequence[tuple[Bundle, Place]]) -> None:
    """Ask all of these in the background."""
    for model, place in pairs:
        working.begin((*_key(model, place), False), _work(model, place))


def learned(model: Bundle) -> Place | None:
    """The images that a model has learned from; None where they are not under data/, or have changed."""
    own = own_dataset(model.info)
    items = seen.learned_from(model, own) if own else None
    return Place(f"{own.name}, which it learned from", own, "train", tuple(items)) if own and items else None


def own_dataset(info: Mapping[str, Any]) -> Dataset | None:
    """The dataset that the model with this model.json learned from, whatever it is called here."""
    found, told = indexed.every()[0], info["training_data"]
    key = told["name"], told.get("fingerprint"), tuple(info["classes"])
    root = _own_root(info, found, (*key, indexed.stamp(paths.data_dir())))
    return next((one for one in found if one.root == root), None)


@st.cache_data(max_entries=64, show_spinner="Looking for what the model has learned from")
def _own_root(_info: Mapping[str, Any], _found: Sequence[Dataset], key: tuple) -> Path | None:
    own = seen.own_dataset(_info, _found, Store())
    return own.root if own else None


def known(model: Bundle, place: Place) -> frozenset[Path] | None:
    """Which of the images show a patient whom a model has learned from; None where that cannot be told."""
    own = own_dataset(model.info)
    return _known(model, place, own, (*_key(model, place), own and indexed.stamp(own.root)))


@st.cache_data(max_entries=64, show_spinner="Looking which images the model has learned from")
def _known(_model: Bundle, _place: Place, _own: Dataset | None, key: tuple) -> frozenset[Path] | None:
    learned = seen.memory(_model, _own, Store())
    return None if learned is None else seen.among(_place.items, learned, Store())
