"""Datasets: folders of images -> an index of images, classes, splits, patients.

It knows folder layouts. It opens no image: whoever reads
them (training, evaluation, audit) deals with the unreadable ones.
"""

import csv
import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import urlparse

from covid_cnn.common import paths
from covid_cnn.common.errors import DatasetError
from covid_cnn.data import metadata
from covid_cnn.images.reader import IMAGE_SUFFIXES

SPLITS = ("train", "val", "test", "")  # "" in a collection without splits
SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
METADATA = "metadata.csv"
NOTES = "NOTES.txt"  # beside it: what was left out when the dataset was made, a sentence a line
FACTS = ("finding", "view", "modality", "date", "sex", "age", "location", "license", "url")  # columns worth showing
SYNTHETIC = "synthetic_"  # how the names of drawn images begin
LATERAL_VIEWS = {"l", "ll", "rl", "lateral"}
NO_FINDING_GIVEN = {"", "todo", "unknown"}


@dataclass(frozen=True)
class Item:
    """One image of a dataset.

    Attributes
    ----------
    path : the image file.
    split : "train", "val" or "test"; "" where the collection has no splits.
    label : its class.
    patient : a key that images of one patient share. Unknown patients are one for each image.
    source : the site that published it, or the collection it comes from, or else the dataset's name.
    facts : what the metadata tell besides, for display (finding, view, date, license, ...).
    """

    path: Path
    split: str
    label: str
    patient: str
    source: str
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
    """An index of the images of one folder, sorted by path.

    Attributes
    ----------
    name : the name of its folder.
    root : the folder that the classes, splits or metadata.csv lie in.
    items : the images.
    synthetic : every image was drawn by `covid_cnn.data.synthetic`.
    notes : one sentence for each group of images that was left out.
    """

    name: str
    root: Path
    items: tuple[Item, ...]
    synthetic: bool = False
    notes: tuple[str, ...] = ()

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

    def check_trainable(self) -> None:
        """Raise a DatasetError when no classifier can be trained on this dataset."""
        if len(self.classes) < 2:
            raise DatasetError(f"{self.name} needs two classes to train, and has only {self.classes[0]}.")


def open_dataset(name_or_path: str | Path, data_dir: str | Path | None = None) -> Dataset:
    """Index a dataset.

    Parameters
    ----------
    name_or_path : the name of a dataset under `data_dir`, or any folder.
    data_dir : the folder of the datasets; `paths.data_dir()` by default.

    Raises
    ------
    DatasetError
        there is no such folder, or it holds no images in one of the known layouts.
    """
    folder, _ = _find(name_or_path, data_dir)
    if not folder.is_dir():
        raise DatasetError(f"There is no dataset {name_or_path}; give a folder, or the name of one under data/.")
    name = folder.name if folder.name not in ("", "..") else folder.resolve().name
    try:
        root = _descend(folder)
        columns = _metadata_columns(root)
        items, notes = _read_metadata(root, name) if columns >= {"filename", "finding"} else _read_folders(root, name)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"The dataset {name} cannot be read: {error}.") from error
    items.sort(key=lambda item: item.path)
    return Dataset(name, root, tuple(items), all(item.synthetic for item in items), tuple(notes))


def reference(name_or_path: str | Path) -> str:
    """A dataset's name under data/, or else its whole path: ``open_dataset`` takes it in any working directory."""
    folder, named = _find(name_or_path, None)
    return str(folder.absolute()) if folder.is_dir() and not named else str(name_or_path)


def _find(name_or_path: str | Path, data_dir: str | Path | None) -> tuple[Path, bool]:
    """The folder of a dataset, and whether it was found by its name under ``data_dir``."""
    folder = Path(name_or_path)
    named = Path(data_dir or paths.data_dir()) / folder.name
    if str(name_or_path) == folder.name and folder.name not in ("", "..") and named.is_dir():
        return named, True
    return folder, False


def discover_datasets(data_dir: str | Path | None = None) -> tuple[list[Dataset], list[str]]:
    """All datasets under `data_dir`, and one sentence for each folder there that is not one."""
    data_dir = Path(data_dir or paths.data_dir())
    datasets, problems = [], []
    folders = sorted(path for path in data_dir.glob("*") if path.is_dir() and not hidden(path.name))
    for folder in folders:  # links too: a large collection may lie elsewhere
        try:
            datasets.append(open_dataset(folder))
        except DatasetError as error:
            problems.append(str(error))
    return datasets, problems


def fingerprint(items: Iterable[Item], digests: Mapping[Path, str] | None = None) -> str:
    """A SHA-256 over the file names, classes, splits and contents of images, whatever their order and place.

    Parameters
    ----------
    items : the images.
    digests : the SHA-256 of each file, where they are known already; by default all are read.

    Raises
    ------
    DatasetError
        a file is gone.
    """
    digest = _digest if digests is None else digests.__getitem__
    try:
        lines = sorted(f"{item.split}/{item.label}/{item.path.name} {digest(item.path)}\n" for item in items)
    except KeyError as error:
        raise DatasetError(f"The dataset changed on disk: {error.args[0]} cannot be read.") from error
    except OSError as error:
        raise DatasetError(f"The dataset changed on disk: {error.filename} cannot be read.") from error
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def same_files(one: Path, other: Path) -> bool:
    """Whether two folders hold the same dataset: images, splits, classes, and what is told of each image."""
    try:
        first, second = open_dataset(one).items, open_dataset(other).items
        return _told(first) == _told(second) and fingerprint(first) == fingerprint(second)
    except DatasetError:
        return False


def _told(items: Iterable[Item]) -> list[tuple[str, ...]]:
    return sorted((item.path.name, item.patient, item.source, *map("=".join, item.facts.items())) for item in items)


# Layouts


def _descend(folder: Path) -> Path:
    """Past folders that hold nothing but the one that is the dataset, as archives often have."""
    while not (folder / METADATA).is_file():
        inner = _subfolders(folder)
        if len(inner) != 1 or inner[0].name.lower() in SPLIT_FOLDERS:
            break
        if not _subfolders(inner[0]) and not (inner[0] / METADATA).is_file():
            break  # the one folder of a one-class dataset
        folder = inner[0]
    return folder


def _read_folders(root: Path, name: str) -> tuple[list[Item], list[str]]:
    """SPLIT/CLASS/image, or CLASS/image."""
    folders = _subfolders(root)
    split_folders = [folder for folder in folders if folder.name.lower() in SPLIT_FOLDERS]
    others = [folder for folder in folders if folder not in split_folders]
    if split_folders:
        places = [(SPLIT_FOLDERS[split.name.lower()], c) for split in split_folders for c in _subfolders(split)]
    else:
        places = [("", c) for c in others]
    found = [(split, c.name, path) for split, c in places for path in _images(c)]
    if not found:
        if any(_images(root)):
            where = "train/CLASS/ and test/CLASS/" if split_folders else "folders that are named by their classes"
            raise DatasetError(f"The images of {name} are not sorted by class; put them into {where}.")
        raise DatasetError(f"There are no images in {name}.")

    told = {patient for *_, path in found if (patient := metadata.patient_of(path.name)[1])}
    items = []
    for split, label, path in found:
        collection, patient = metadata.patient_of(path.name)
        # A name that tells nothing stands for itself, except where other names are the same case's with a day or view.
        if not patient and (case := f"case reports:{path.stem.lower()}") in told:
            collection, patient = "case reports", case
        own = path.relative_to(root).as_posix()
        items.append(Item(path, split, label, patient or own, collection or name))
    notes = []
    if split_folders and others:
        left_out = ", ".join(folder.name for folder in others)
        notes.append(f"Left out, beside the splits: {left_out}.")
    return items, notes


def _metadata_columns(root: Path) -> set[str]:
    if not (root / METADATA).is_file():
        return set()
    with (root / METADATA).open(newline="", encoding="utf-8-sig") as file:
        return set(csv.DictReader(file).fieldnames or ())


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            # A short row has None for its missing values; a long one has its surplus under the key None.
            yield {key: (value or "").strip() for key, value in row.items() if key is not None}


def _read_metadata(root: Path, name: str) -> tuple[list[Item], list[str]]:
    """A folder with a metadata.csv, as ieee8023/covid-chestxray-dataset (Cohen et al. 2020).

    It may have columns ``class``, ``split`` and ``source`` besides, as the datasets that ``adding`` and ``hospitals``
    write. A row with a class was chosen by somebody, so that it is taken whatever its view and modality.
    """
    items: list[Item] = []
    left_out: Counter[str] = Counter()
    first_id: dict[tuple[str, str], str] = {}
    rows = list(_rows(root / METADATA))
    # The collection lists some cases twice, under two ids (000001-24.jpg and 000001-24_jpg.jpg): one patient.
    same_as: dict[str, str] = {}
    for row in rows:
        image = row.get("url", ""), re.sub(r"_(jpe?g|png)$", "", Path(row["filename"]).stem)
        same_as.setdefault(row.get("patientid", ""), first_id.setdefault(image, row.get("patientid", "")))
    indexed = set()
    for row in rows:
        label = row.get("class", "")
        if not label and row.get("modality", "").upper() == "CT":
            left_out["CT slices"] += 1
        elif not label and row.get("view", "").lower() in LATERAL_VIEWS:
            left_out["lateral views"] += 1
        elif not label and row["finding"].lower() in NO_FINDING_GIVEN:
            left_out["images without a finding"] += 1
        elif (path := _image_of(row, root)) is None:
            left_out["rows without their image file"] += 1
        elif path not in indexed:
            indexed.add(path)
            collection, told = metadata.patient_of(path.name)
            own = path.relative_to(root).as_posix()
            patient = f"{name}:{same_as[row['patientid']]}" if row.get("patientid") else told or own
            site = urlparse(row.get("url", "")).netloc.removeprefix("www.")
            source = row.get("source") or site or collection or name
            facts = {fact: row[fact] for fact in FACTS if row.get(fact)}
            label = label or _class_of(row["finding"])
            items.append(Item(path, SPLIT_FOLDERS.get(row.get("split", ""), ""), label, patient, source, facts))
    if not items:
        raise DatasetError(f"There are no frontal X-rays in {name} that its {METADATA} names.")
    notes = (root / NOTES).read_text(encoding="utf-8").splitlines() if (root / NOTES).is_file() else []
    return items, notes + [f"{n} {what} were left out." for what, n in sorted(left_out.items())]


def _class_of(finding: str) -> str:
    """The class of a finding: Pneumonia/Viral/COVID-19 and "COVID-19, ARDS" are COVID-19."""
    return finding.split(",", maxsplit=1)[0].rsplit("/", maxsplit=1)[-1].strip()


def places_of(row: Mapping[str, str]) -> list[PurePosixPath]:
    """Where the image of a row of metadata.csv may lie, relative to its folder, the likeliest first."""
    folders = dict.fromkeys((row.get("folder") or "images", "images", ""))
    return [PurePosixPath(folder) / row["filename"] for folder in folders]


def _image_of(row: Mapping[str, str], root: Path) -> Path | None:
    """The image that a row of metadata.csv names, None unless it is there, inside the dataset."""
    for place in places_of(row):
        path = root / place
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file() and inside(path, root):
            return path
    return None


def _subfolders(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_dir() and not hidden(path.name) and (not path.is_symlink() or inside(path, folder))
    )


def _images(folder: Path) -> Iterator[Path]:
    """The images in a folder and below; links to elsewhere are not followed."""
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not hidden(name))
        for name in sorted(files):
            path = Path(where) / name
            wanted = path.suffix.lower() in IMAGE_SUFFIXES and not hidden(name)
            if wanted and (not path.is_symlink() or inside(path, folder)):  # to resolve every path takes long
                yield path


def hidden(name: str) -> bool:
    """Whether a file or folder of this name is the system's and no image."""
    return name.startswith(".") or name == "__MACOSX"


def inside(path: Path, root: Path) -> bool:
    """Whether a path leads to a place under ``root``, links followed."""
    return path.resolve().is_relative_to(root.resolve())
