"""Put a model to a dataset's images in the background, and know which of them it has learned from."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import streamlit as st

from covid_cnn.app.shared import background, library
from covid_cnn.app.shared.elements import escape_markdown
from covid_cnn.common import paths
from covid_cnn.common.jobs import Work
from covid_cnn.common.storage import Cache
from covid_cnn.data.dataset import Dataset
from covid_cnn.evaluation import leakage, predictions
from covid_cnn.evaluation.evaluate import EvaluationSet
from covid_cnn.evaluation.predictions import DatasetPredictions
from covid_cnn.models import bundle
from covid_cnn.models.bundle import Bundle
from covid_cnn.models.info import ModelInfo

LEFT_OUT = (
    "Left out are the images that look the same as one of its training images, in whatever size, format and name, and "
    "all others of those patients, as far as metadata and names tell who they are."
)
SPLITS = {"train": "train", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class Evaluated:
    """A model, the images, and its answers to them."""

    model: Bundle
    place: EvaluationSet
    answers: DatasetPredictions

    @property
    def key(self) -> tuple[str, int, str]:
        """The same for the same answers."""
        return _key(self.model, self.place)


def choose_sets(datasets: Iterable[Dataset]) -> dict[str, EvaluationSet]:
    """What can be evaluated on, by name: the test splits first, since the others flatter a model."""
    every = [place for dataset in datasets for place in _places(dataset)]
    return {place.name: place for place in sorted(every, key=lambda place: place.split not in ("test", ""))}


def _places(dataset: Dataset) -> Iterator[EvaluationSet]:
    for split in dataset.splits:
        name = f"{dataset.name}, {SPLITS[split]}" if split else dataset.name
        yield EvaluationSet(name, dataset, split, dataset.subset(split))
    if len(dataset.splits) > 1:
        yield replace(whole_set(dataset), name=f"{dataset.name}, all images")


def whole_set(dataset: Dataset) -> EvaluationSet:
    """All images of a dataset."""
    return EvaluationSet(dataset.name, dataset, "all", dataset.items)


def _key(model: Bundle, place: EvaluationSet) -> tuple[str, int, str]:
    """The same for the same answers."""
    return str(model.folder), (model.folder / bundle.INFO_FILE).stat().st_mtime_ns, place.key


def _work(model: Bundle, place: EvaluationSet, embeddings: bool = False) -> Work[DatasetPredictions]:
    return lambda progress: predictions.predict_dataset(model, place.items, Cache(), progress, embeddings)


def cached_predictions(model: Bundle, place: EvaluationSet, embeddings: bool = False) -> DatasetPredictions | None:
    """The answers of a model, perhaps with embeddings; None where there are none yet, and the way to them is drawn."""
    notice = st.empty()
    if missing := count_missing(model, place, embeddings):
        notice.write(
            f"{escape_markdown(model.name)} has yet to be asked about {missing} of the {len(place.items)} images of "
            f"{escape_markdown(place.name)}. Its answers are kept, so that this is done once."
        )
    key, work = (*_key(model, place), embeddings), _work(model, place, embeddings)
    answers = background.await_result(key, work, "Ask the model", at_once=not missing)
    if answers is not None:
        notice.empty()  # of what was asked within this run
    return answers


def count_missing(model: Bundle, place: EvaluationSet, embeddings: bool = False) -> int:
    """How many of the images a model has yet to be asked about; none where it is at it."""
    if background.is_known((*_key(model, place), embeddings)):
        return 0
    return len(place.items) - predictions.count_cached(model, place.items, Cache())


def begin_predictions(pairs: Iterable[tuple[Bundle, EvaluationSet]]) -> None:
    """Ask all of these in the background."""
    for model, place in pairs:
        background.begin_work((*_key(model, place), False), _work(model, place))


def fingerprint_of(model: Bundle) -> EvaluationSet | None:
    """The images that a model has learned from; None where they are not under data/, or have changed."""
    own = own_dataset(model.info)
    items = leakage.training_images(model, own) if own else None
    return EvaluationSet(f"{own.name}, which it learned from", own, "train", tuple(items)) if own and items else None


def own_dataset(info: ModelInfo) -> Dataset | None:
    """The dataset that the model with this model.json learned from, whatever it is called here."""
    datasets, learned = library.all_datasets()[0], info.training_data
    key = learned.name, learned.fingerprint, tuple(info.classes)
    root = _own_root(info, datasets, (*key, library.folder_stamp(paths.data_dir())))
    return next((one for one in datasets if one.root == root), None)


@st.cache_data(max_entries=64, show_spinner="Looking for what the model has learned from")
def _own_root(_info: ModelInfo, _found: Sequence[Dataset], key: tuple) -> Path | None:
    own = leakage.find_training_dataset(_info, _found)
    return own.root if own else None


def home_or_away(model: Bundle, place: EvaluationSet) -> str:
    """Whether images are of where a model learned: "At home", "Away", or empty where that cannot be told.

    At home are also images that it never saw, where it learned from others of their dataset.
    """
    own = own_dataset(model.info)
    if place.unseen or (own and own.root == place.dataset.root):
        return "At home"
    known = leaked_images(model, whole_set(place.dataset))
    if known:
        return "At home"
    return "" if own is None and known is None else "Away"


def leaked_images(model: Bundle, place: EvaluationSet) -> frozenset[Path] | None:
    """Which of the images show a patient whom a model has learned from; None where that cannot be told."""
    own = own_dataset(model.info)
    return _known(model, place, own, (*_key(model, place), own and library.folder_stamp(own.root)))


@st.cache_data(max_entries=64, show_spinner="Looking which images the model has learned from")
def _known(_model: Bundle, _place: EvaluationSet, _own: Dataset | None, key: tuple) -> frozenset[Path] | None:
    learned = leakage.training_fingerprint(_model, _own)
    return None if learned is None else leakage.find_leaked(_place.items, learned)
