"""A dataset: the index of a folder's images with their classes, splits and patients.

Whoever reads the images (training, evaluation, audit) deals with the unreadable ones.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from covid_cnn.common import paths
from covid_cnn.common.errors import DatasetError
from covid_cnn.common.storage import Cache
from covid_cnn.data import layout, metadata
from covid_cnn.data.tree import Folder

SPLITS = ("train", "val", "test", "")  # "" in a collection without splits
SYNTHETIC = "synthetic_"  # how the names of drawn images begin


@dataclass(frozen=True)
class Item:
    """One image of a dataset."""

    path: Path  # the image file
    split: str  # "train", "val" or "test"; "" where the collection has no splits
    label: str  # its class
    patient: str  # a key that images of one patient share. Unknown patients are one for each image.
    source: str  # the site that published it, or the collection it comes from, or else the dataset's name
    # What the metadata tell besides, for display (finding, view, date, license, ...)
    facts: dict[str, str] = field(default_factory=dict, hash=False)

    @property
    def synthetic(self) -> bool:
        """Whether `covid_cnn.data.synthetic` drew it, as its name tells."""
        return self.path.name.startswith(SYNTHETIC)

    @property
    def licence(self) -> str:
        """The licence of the image: its own, or else its collection's; "not told" where neither is known."""
        if self.synthetic:
            return "none needed: drawn by the program"
        return self.facts.get("license") or metadata.LICENCES.get(self.source, "not told")


@dataclass(frozen=True)
class Dataset:
    """An index of the images of one folder, sorted by path."""

    name: str  # the name of its folder
    root: Path  # the folder that the classes, splits or metadata.csv lie in
    items: tuple[Item, ...]  # the images
    synthetic: bool = False  # every image was drawn by `covid_cnn.data.synthetic`
    notes: tuple[str, ...] = ()  # one sentence for each group of images that was left out

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of its classes, sorted."""
        return tuple(sorted({item.label for item in self.items}))

    @property
    def splits(self) -> tuple[str, ...]:
        """Its splits, in the order of ``SPLITS``."""
        present = {item.split for item in self.items}
        return tuple(split for split in SPLITS if split in present)

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Images of each class in each split; a class that a split lacks counts 0."""
        counted = Counter((item.split, item.label) for item in self.items)
        return {split: {label: counted[split, label] for label in self.classes} for split in self.splits}

    def subset(self, split: str) -> tuple[Item, ...]:
        """The images of one split."""
        return tuple(item for item in self.items if item.split == split)

    def place_of(self, item: Item) -> str:
        """Where one of its images lies below its root, with slashes."""
        return item.path.relative_to(self.root).as_posix()

    def check_trainable(self) -> None:
        """Raise a DatasetError when no classifier can be trained on this dataset."""
        if len(self.classes) < 2:
            raise DatasetError(f"{self.name} needs two classes to train, and has only {self.classes[0]}.")


def open_dataset(name_or_path: str | Path) -> Dataset:
    """Index a dataset, by its name under data/, or any folder.

    Raises DatasetError where there is no such folder, or it holds no images in one of the known layouts.
    """
    folder, _ = _find(name_or_path)
    if not folder.is_dir():
        raise DatasetError(f"There is no dataset {name_or_path}; give a folder, or the name of one under data/.")
    name = folder.name if folder.name not in ("", "..") else folder.resolve().name
    try:
        understood = layout.understand(Folder(folder), name)
    except OSError as error:
        raise DatasetError(f"The dataset {name} cannot be read: {error.strerror or error}.") from error
    items = [Item(folder / e.place, e.split, e.label, e.patient, e.source, e.facts) for e in understood.entries]
    items.sort(key=lambda item: item.path)
    notes = tuple(understood.notes)
    return Dataset(name, folder / understood.root, tuple(items), all(item.synthetic for item in items), notes)


def reference(name_or_path: str | Path) -> str:
    """What ``open_dataset`` finds a dataset by from anywhere: its name under data/, or else its whole path."""
    folder, named = _find(name_or_path)
    return str(folder.absolute()) if folder.is_dir() and not named else str(name_or_path)


def _find(name_or_path: str | Path) -> tuple[Path, bool]:
    """The folder of a dataset, and whether it was found by its name under data/."""
    folder = Path(name_or_path)
    named = paths.data_dir() / folder.name
    if str(name_or_path) == folder.name and folder.name not in ("", "..") and named.is_dir():
        return named, True
    return folder, False


def discover_datasets() -> tuple[list[Dataset], list[str]]:
    """All datasets under data/, and one sentence for each folder there that is not one."""
    datasets, problems = [], []
    folders = sorted(path for path in paths.data_dir().glob("*") if path.is_dir() and not path.name.startswith("."))
    for folder in folders:  # links too: a large collection may lie elsewhere
        try:
            datasets.append(open_dataset(folder))
        except DatasetError as error:
            problems.append(str(error))
    return datasets, problems


def fingerprint(items: Iterable[Item]) -> str:
    """The SHA-256 of names, classes, splits and contents of images, whatever their order and folder.

    Raises DatasetError where a file is gone.
    """
    every = list(items)
    digests = Cache().file_digests([item.path for item in every])
    try:
        lines = sorted(f"{item.split}/{item.label}/{item.path.name} {digests[item.path]}\n" for item in every)
    except KeyError as error:
        raise DatasetError(f"The dataset changed on disk: {error.args[0]} cannot be read.") from error
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def same_files(one: Path, other: Path) -> bool:
    """Whether two folders hold the same dataset: images, splits, classes, and what is told of each image."""
    try:
        first, second = open_dataset(one).items, open_dataset(other).items
        return _facts(first) == _facts(second) and fingerprint(first) == fingerprint(second)
    except DatasetError:
        return False


def _facts(items: Iterable[Item]) -> list[tuple[str, ...]]:
    return sorted((item.path.name, item.patient, item.source, *map("=".join, item.facts.items())) for item in items)
