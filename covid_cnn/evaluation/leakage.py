"""Leakage: which of the images at hand a model has learned from, so that its score on them says nothing.

A bundle brings a fingerprint of its training images along (`FINGERPRINT_FILE`): a perceptual hash of each (see
`data.index`) and digests of their patients' names, by which they are found again in any size, format and name. For a
bundle without one, its training dataset is looked through, where that is under data/.
"""

import hashlib
import io
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from covid_cnn.common.errors import BundleError, CovidCnnError, DatasetError
from covid_cnn.common.storage import load_arrays
from covid_cnn.data import index
from covid_cnn.data.dataset import Dataset, Item, fingerprint
from covid_cnn.data.splits import training_splits
from covid_cnn.images.radiograph import Radiograph
from covid_cnn.models.bundle import Bundle
from covid_cnn.models.info import ModelInfo, TrainingImages

FINGERPRINT_FILE = "training_images.npz"
MAX_FINGERPRINT_BYTES = 256 * 2**20  # packed, and unpacked: those of a million images


@dataclass(frozen=True)
class TrainingFingerprint:
    """Perceptual hashes and patients of the images that a bundle was trained or validated on, to find them again."""

    hashes: np.ndarray  # uint8 ``[N, index.FINE_BYTES]``, the fine hash of each image
    patients: frozenset[int]  # digests of what their patients are called
    drawn: bool  # whether the program drew them

    @classmethod
    def from_items(cls, items: Iterable[Item], hashes: Sequence[bytes], drawn: bool) -> "TrainingFingerprint":
        """The fingerprint of training images, from their fine hashes, in order."""
        return cls(index.stack_hashes(hashes), frozenset(key for item in items for key in _keys(item)), drawn)

    @classmethod
    def from_files(cls, items: Sequence[Item], drawn: bool) -> "TrainingFingerprint":
        """The fingerprint of training images, which are looked at; those that cannot be read are left out."""
        hashes = [record.fingerprint.fine for _, record in index.index_items(items)]
        return cls.from_items(items, hashes, drawn)

    def encoded(self) -> bytes:
        """As the content of `FINGERPRINT_FILE`."""
        file = io.BytesIO()
        patients = np.array(sorted(self.patients), np.uint64)
        np.savez_compressed(file, hashes=self.hashes, patients=patients, drawn=np.array(self.drawn))
        return file.getvalue()

    def summary(self) -> TrainingImages:
        """What model.json says of it."""
        return TrainingImages(len(self.hashes), hashlib.sha256(self.encoded()).hexdigest())


def training_fingerprint(bundle: Bundle, own: Dataset | None = None) -> TrainingFingerprint | None:
    """The fingerprint of a bundle's training images; None where it brings none and its ``own`` dataset is not here.

    Raises BundleError where its `FINGERPRINT_FILE` is damaged, or another bundle's.
    """
    if bundle.info.training_images and (bundle.folder / FINGERPRINT_FILE).is_file():
        return _read(bundle, bundle.info.training_images.sha256)
    items = training_images(bundle, own) if own else None
    return None if items is None else TrainingFingerprint.from_files(items, bundle.info.training_data.synthetic)


def _read(bundle: Bundle, digest: str) -> TrainingFingerprint:
    file = bundle.folder / FINGERPRINT_FILE
    try:
        if file.stat().st_size > MAX_FINGERPRINT_BYTES:
            raise ValueError("too large")
        content = file.read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            raise ValueError("another file")
        entry = load_arrays(content, MAX_FINGERPRINT_BYTES)
        hashes = entry["hashes"].reshape(-1, index.FINE_BYTES)
        return TrainingFingerprint(hashes, frozenset(entry["patients"].tolist()), bool(entry["drawn"]))
    except (ValueError, KeyError, OSError, TypeError) as error:
        raise BundleError(
            f"The {FINGERPRINT_FILE} of model {bundle.name} is not the one its model.json describes: "
            "train it again, or remove it."
        ) from error


def find_training_dataset(info: ModelInfo, datasets: Iterable[Dataset]) -> Dataset | None:
    """That of the datasets which a bundle learned from, whatever it is called here: by its content, or by its name."""
    learned = info.training_data
    named = sorted(datasets, key=lambda one: one.name != learned.name)  # the likeliest first
    alike = (one for one in named if list(one.classes) == info.classes)
    same = (one for one in alike if _fingerprint(one) == learned.fingerprint)
    return next(same, next((one for one in named if one.name == learned.name), None))


def _fingerprint(dataset: Dataset) -> str:
    try:
        return fingerprint(dataset.items)
    except DatasetError:
        return ""  # a file is gone


def training_images(bundle: Bundle, own: Dataset) -> list[Item] | None:
    """The training and validation images of a bundle; None where its dataset has changed since."""
    try:
        splits = training_splits(own, bundle.info.recipe.seed)
    except CovidCnnError:
        return None
    return splits.train + splits.val


def find_leaked(items: Sequence[Item], learned: TrainingFingerprint) -> frozenset[Path]:
    """Those of the items that show a patient who was learned from.

    That is who has an image among them that looks the same as a training image, or is called as the patient of one, in
    the metadata or by the file names.
    """
    readable = index.index_items(items)
    copied = index.find_copies(
        [record.fingerprint.fine for _, record in readable],
        learned.hashes,
        [learned.drawn or record.synthetic or item.synthetic for item, record in readable],
    )
    known = {item.patient for (item, _), copy in zip(readable, copied, strict=True) if copy}
    known |= {item.patient for item in items if not learned.patients.isdisjoint(_keys(item))}
    return frozenset(item.path for item in items if item.patient in known)


def is_training_image(radiograph: Radiograph, learned: TrainingFingerprint) -> bool:
    """Whether one image looks the same as an image that was learned from, in whatever size and format."""
    fine = index.perceptual_hash(radiograph.pixels).fine
    return bool(index.find_copies([fine], learned.hashes, [learned.drawn or radiograph.synthetic])[0])


def _keys(item: Item) -> list[int]:
    """Digests of the patient's names, by which they are known again in another folder; none where nobody is named.

    A dataset that was made of others puts its own name before the patients' that these gave.
    """
    names = {item.patient, item.patient.partition(":")[2]}
    return [int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) for name in names if ":" in name]


def leakage_unknown(bundle: Bundle) -> str:
    """A sentence for a bundle of which it is not known which images it has learned from."""
    data, why = bundle.info.training_data, "It was added without its dataset: add it again with that."
    if data.images.train:
        why = f"It brings no {FINGERPRINT_FILE}, and {data.name}, its dataset, is not under data/: add that."
    return (
        f"Which of these images {bundle.name} has learned from cannot be told, and on those it looks better than it "
        f"is. {why}"
    )


def drop_leaked(bundle: Bundle, items: Sequence[Item], known: Set[Path] | None) -> tuple[Item, ...]:
    """The items that a bundle has not learned from, ``known`` being those that it has (`find_leaked`).

    Raises DatasetError where that cannot be told (None), or it has learned from all of the items.
    """
    if known is None:
        raise DatasetError(leakage_unknown(bundle))
    if len(known) == len({item.path for item in items}):
        raise DatasetError(f"Model {bundle.name} has learned from all of these images: choose another split.")
    return tuple(item for item in items if item.path not in known)
