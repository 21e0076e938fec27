"""Which images a model has learned from, under whatever name they lie: on those its score says nothing."""

from collections.abc import Sequence
from pathlib import Path

from covid_cnn.bundle import Bundle
from covid_cnn.datasets import Dataset, Item
from covid_cnn.errors import CovidCnnError, DatasetError
from covid_cnn.splits import training_splits
from covid_cnn.store import Store


def learned_from(bundle: Bundle, found: Sequence[Dataset]) -> list[Item] | None:
    """The images that a bundle was fitted on or chosen by; None where its dataset is not among those that are found."""
    name = bundle.info["training_data"]["name"]
    dataset = next((one for one in found if one.name == name), None)
    if dataset is None:
        return None
    try:
        splits = training_splits(dataset, int((bundle.info.get("recipe") or {}).get("seed", 0)))
    except CovidCnnError:
        return None  # it has changed since
    return splits.train + splits.val


def among(items: Sequence[Item], learned: Sequence[Item], store: Store) -> frozenset[Path]:
    """Those of the items that are, byte for byte, images that were learned from."""
    digests = store.file_digests([item.path for item in (*items, *learned)])
    known = {digests.get(item.path) for item in learned} - {None}
    return frozenset(item.path for item in items if digests.get(item.path) in known)


def unseen(bundle: Bundle, items: Sequence[Item], found: Sequence[Dataset], store: Store) -> tuple[Item, ...]:
    """The items that a bundle has not learned from.

    Raises
    ------
    DatasetError
        Its dataset is not among those that are found, or it has learned from all of the items.
    """
    learned = learned_from(bundle, found)
    if learned is None:
        name = bundle.info["training_data"]["name"]
        raise DatasetError(f"Model {bundle.name} has learned from {name}, which is not under data/: add it first.")
    known = among(items, learned, store)
    if len(known) == len({item.path for item in items}):
        raise DatasetError(f"Model {bundle.name} has learned from all of these images: choose another split.")
    return tuple(item for item in items if item.path not in known)
