"""Datasets: folders of images -> an index of images, classes, splits, patients; and how new ones are added.

It knows folder layouts, the file names of well-known collections, and zip archives. It opens no image: whoever reads
them (training, evaluation, audit) deals with the unreadable ones.
"""

import csv
import hashlib
import lzma
import os
import random
import re
import shutil
import stat
import tempfile
import threading
import zipfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast
from urllib.parse import urlparse

from covid_cnn import paths, synthetic
from covid_cnn.errors import DatasetError
from covid_cnn.imaging import IMAGE_SUFFIXES

Progress = Callable[[float, str], None]

SPLITS = ("train", "val", "test", "")  # "" in a collection without splits
SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
METADATA = "metadata.csv"
FACTS = ("finding", "view", "modality", "date", "sex", "age", "location", "license", "url")  # columns worth showing
NO_FINDING_GIVEN = {"", "todo", "unknown"}

KAGGLE_DEFAULT = "khoongweihao/covid19-xray-dataset-train-test-sets"
KAGGLE_PATIENCE = 60  # seconds without one new byte, after which Kaggle counts as out of reach

# What a .zip may hold. Medical images compress little, so that a high ratio tells a zip bomb.
MAX_ZIP_FILES = 100_000
MAX_ZIP_BYTES = 50 * 2**30  # unpacked
MAX_ZIP_RATIO = 100  # unpacked to packed, all files together


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


@dataclass(frozen=True)
class Dataset:
    """An index of the images of one folder, sorted by path.

    Attributes
    ----------
    name : the name of its folder.
    root : the folder that the classes, splits or metadata.csv lie in.
    items : the images.
    synthetic : every image was drawn by `covid_cnn.synthetic`.
    notes : one sentence for each group of images that was left out.
    """

    name: str
    root: Path
    items: tuple[Item, ...]
    synthetic: bool = False
    notes: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(sorted({item.label for item in self.items}))

    @property
    def splits(self) -> tuple[str, ...]:
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


@dataclass(frozen=True)
class Splits:
    """The images to train on, to watch the training with, and to test on; no patient is in two of them."""

    train: list[Item]
    val: list[Item]
    test: list[Item]
    notes: tuple[str, ...] = ()


def open(name_or_path: str | Path, data_dir: str | Path | None = None) -> Dataset:
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
    folder = Path(name_or_path)
    named = Path(data_dir or paths.data_dir()) / folder.name
    if str(name_or_path) == folder.name and folder.name not in ("", "..") and named.is_dir():
        folder = named
    if not folder.is_dir():
        raise DatasetError(f"There is no dataset {name_or_path}; give a folder, or the name of one under data/.")
    name = folder.resolve().name
    try:
        root = _descend(folder)
        columns = _metadata_columns(root)
        items, notes = _read_metadata(root, name) if columns >= {"filename", "finding"} else _read_folders(root, name)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"The dataset {name} cannot be read: {error}.") from error
    items.sort(key=lambda item: item.path)
    drawn = all(item.path.name.startswith("synthetic_") for item in items)
    return Dataset(name, root, tuple(items), drawn, tuple(notes))


def discover(data_dir: str | Path | None = None) -> tuple[list[Dataset], list[str]]:
    """All datasets under `data_dir`, and one sentence for each folder there that is not one."""
    data_dir = Path(data_dir or paths.data_dir())
    datasets, problems = [], []
    for folder in _subfolders(data_dir) if data_dir.is_dir() else []:
        try:
            datasets.append(open(folder))
        except DatasetError as error:
            problems.append(str(error))
    return datasets, problems


def fingerprint(items: Iterable[Item]) -> str:
    """A SHA-256 over the file names, classes, splits and contents of images, whatever their order and place.

    Raises
    ------
    DatasetError
        a file is gone.
    """
    try:
        lines = sorted(
            f"{item.split}/{item.label}/{item.path.name} {hashlib.sha256(item.path.read_bytes()).hexdigest()}\n"
            for item in items
        )
    except OSError as error:
        raise DatasetError(f"The dataset changed on disk: {error.filename} cannot be read.") from error
    return hashlib.sha256("".join(lines).encode()).hexdigest()


# Patients and splits


# Collections whose file names tell the patient (group 1).
_COLLECTIONS = (
    ("NIH ChestX-ray8", re.compile(r"(\d{8})_\d{3}")),  # PATIENT_FOLLOWUP (Wang et al. 2017)
    # Kermany et al. 2018, as on Kaggle and in its third version. NORMAL2-IM and IM number different patients.
    ("Kermany et al. 2018", re.compile(r"((?:normal2-)?im-\d{4})-\d{4}(?:-\d{4})?|(person\d+)_(?:bacteria|virus)_\d+")),
    ("Kermany et al. 2018", re.compile(r"((?:normal|bacteria|virus)-\d+)-\d{4}")),
    ("Eurorad", re.compile(r"(\d{5})_\d+_\d+")),  # CASE_FIGURE_PANEL
)

# Cases of the Italian radiologists' society (SIRM) in ieee8023/covid-chestxray-dataset with several images: their
# names are random, and only its metadata.csv tells which belong together. Patient: starts of the names.
_SIRM = {
    start: patient
    for patient, starts in {
        "32": "39ee8e69 191f3b3a de488fe1",
        "33": "7c69c012 44c8e3d6 3ed3c0e1",
        "34": "fc230fe2 66298cbf",
        "35": "925446ae 6a7d4110",
        "36": "8fde8dba 9c34af49 21ddebfd",
        "37": "f2de909f 31ba3780",
        "38": "f051e018 5083a6b7",
        "39": "1312a392 396a81a5",
        "51": "f4341ce7 d5acaa93 e63574a7 35af5c3b",
        "70": "7d2cf6ce fe9f9a5d 4c4defd8",
        "71": "171cb377 5931b64a c6ea0be5",
        "77": "03bf7561 254b82fc",
        "86": "b2d20576 6c94a287",
    }.items()
    for start in starts.split()
}
# The first patient in the United States, whom three publications show in copies of the same images.
_FIRST_US = re.compile(r"nejmoa2001191_.+|auntminnie-2020_01_31_.+_us|ncov-snohomish-.+")
_UUID = re.compile(r"([0-9a-f]{8})-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

# Case reports, named after the paper or web page they come from. All figures of one paper count as one patient: some
# are (nejmoa2001191_f1 to _f5), the names do not tell which, and patients taken together cannot leak.
_CASE = re.compile(r"(.*(?:pneumonia|caso)-\d+)[-_].+")  # Radiopaedia, SIRM: covid-19-pneumonia-35-2
_PANEL = re.compile(r"-[a-f](?=-\d{4}_)|(?<=case\d)[a-f]$")  # auntminnie-b-2020_..., lancet-case2a
_AFTER_THE_CASE = re.compile(
    r"[-_.](?:fig(?:ure)?-?\d|gr?\d|fx\d|f\d+[a-z]?(?:-|$)|pdf-\d{3}).*"  # figure
    r"|[-_](?:day-?\d+|\d+-(?:days|hours)|prior|admission|on-admission)(?:[-_].*)?$"  # day
    r"|(?<=\d)f\d+(?:-[a-z])?$"  # figure without a separator: tpmd200203f2-a
    r"|[-_](?:pa|ap|aps|l|lat|lateral|frontal)$"  # view
)


def patient_of(name: str) -> tuple[str, str]:
    """The collection and the patient that an image's file name tells, ("", "") where it tells none.

    Names that follow the conventions of NIH ChestX-ray8 (Wang et al. 2017), Kermany et al. (2018), Eurorad, and
    ieee8023/covid-chestxray-dataset (Cohen et al. 2020) are known. Images of one patient get one key; images of
    several patients of one paper may also get one.
    """
    stem = Path(name).stem.lower()
    for collection, pattern in _COLLECTIONS:
        if match := pattern.fullmatch(stem):
            return collection, f"{collection}:{next(filter(None, match.groups()))}"
    if _FIRST_US.fullmatch(stem):
        return "case reports", "case reports:first in the United States"
    if match := _UUID.fullmatch(stem):
        return ("SIRM", f"SIRM:{_SIRM[match[1]]}") if match[1] in _SIRM else ("", "")
    if match := _CASE.fullmatch(stem):
        return "case reports", f"case reports:{match[1]}"
    case = _PANEL.sub("", _AFTER_THE_CASE.sub("", stem))
    return ("case reports", f"case reports:{case}") if case not in (stem, "") else ("", "")


def split_by_patient(items: Sequence[Item], fraction: float, seed: int) -> tuple[list[Item], list[Item]]:
    """Part the images in two, no patient in both, each class in about the same share.

    Parameters
    ----------
    items : the images.
    fraction : the share of every class that the second part shall have, above 0 and below 1.
    seed : another seed, another choice.

    Returns
    -------
    The rest and the part, both in the order of `items`. Each has at least one image of every class.

    Raises
    ------
    DatasetError
        a class has too few patients to be on both sides.
    """
    images_of = defaultdict(list)
    for item in items:
        images_of[item.patient].append(item)
    patients = sorted(images_of)
    random.Random(seed).shuffle(patients)
    total = Counter(item.label for item in items)
    taken: Counter[str] = Counter()
    part: set[str] = set()

    def take(patient: str) -> bool:
        labels = Counter(item.label for item in images_of[patient])
        if patient in part or any(taken[label] + n >= total[label] for label, n in labels.items()):
            return False
        part.add(patient)
        taken.update(labels)
        return True

    for label in sorted(total, key=lambda label: (total[label], label)):  # the rarest has the least choice
        target = max(1, round(fraction * total[label]))
        own = {patient: sum(item.label == label for item in images_of[patient]) for patient in patients}
        candidates = [patient for patient in patients if own[patient]]
        for patient in candidates:
            if taken[label] + own[patient] <= target:
                take(patient)
        if not taken[label] and not any(take(patient) for patient in sorted(candidates, key=own.__getitem__)):
            raise DatasetError(
                f"{label} has {total[label]} images of {len(candidates)} patients, too few to put some aside; "
                "add images of other patients."
            )
    return (
        [item for item in items if item.patient not in part],
        [item for item in items if item.patient in part],
    )


def training_splits(dataset: Dataset, seed: int, val_fraction: float = 0.2, test_fraction: float = 0.2) -> Splits:
    """The splits to train with: the dataset's own, and what it lacks made by patient from its training images.

    A dataset without any split gets val and test. One that has its own train split but no test split gets none: its
    author keeps the test images elsewhere. A patient who is in a later split (val, test) leaves the earlier ones.

    Parameters
    ----------
    dataset : where the images come from.
    seed : chooses the patients of the splits that are made here.
    val_fraction : the share of the images that are left for training, when val is made here.
    test_fraction : the share of all images, when test is made here.

    Raises
    ------
    DatasetError
        one class only, no training images, or too few patients to part.
    """
    dataset.check_trainable()
    notes = []
    train, val, test = (list(dataset.subset(split)) for split in ("train", "val", "test"))
    if dataset.splits == ("",):
        train, test = split_by_patient(dataset.items, test_fraction, seed)
        notes.append(f"{len(test)} images, by patient, were put aside for the test.")
    train, dropped = _without(train, val + test)
    val, dropped_val = _without(val, test)
    if dropped or dropped_val:
        notes.append(
            f"{dropped} images were dropped from train and {dropped_val} from val: a later split holds their patients."
        )
    missing = set(dataset.classes) - {item.label for item in train}
    if missing:
        raise DatasetError(f"{dataset.name} has no training images of {', '.join(sorted(missing))}.")
    if not val:
        train, val = split_by_patient(train, val_fraction, seed)
        notes.append(f"{len(val)} of the training images, by patient, were put aside for validation.")
    return Splits(train, val, test, tuple(notes))


def _without(items: list[Item], others: list[Item]) -> tuple[list[Item], int]:
    """The items whose patients are not among the others, and how many were dropped."""
    patients = {item.patient for item in others}
    kept = [item for item in items if item.patient not in patients]
    return kept, len(items) - len(kept)


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

    told = {patient for *_, path in found if (patient := patient_of(path.name)[1])}
    items = []
    for split, label, path in found:
        collection, patient = patient_of(path.name)
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
    """A folder with a metadata.csv, as ieee8023/covid-chestxray-dataset (Cohen et al. 2020)."""
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
        if row.get("modality", "").upper() == "CT":
            left_out["CT slices"] += 1
        elif row.get("view", "").lower() in ("l", "ll", "lateral"):
            left_out["lateral views"] += 1
        elif row["finding"].lower() in NO_FINDING_GIVEN:
            left_out["images without a finding"] += 1
        elif (path := _image_of(row, root)) is None:
            left_out["rows without their image file"] += 1
        elif path not in indexed:
            indexed.add(path)
            collection, told = patient_of(path.name)
            own = path.relative_to(root).as_posix()
            patient = f"{name}:{same_as[row['patientid']]}" if row.get("patientid") else told or own
            source = urlparse(row.get("url", "")).netloc.removeprefix("www.") or collection or name
            facts = {fact: row[fact] for fact in FACTS if row.get(fact)}
            items.append(Item(path, "", _class_of(row["finding"]), patient, source, facts))
    if not items:
        raise DatasetError(f"There are no frontal X-rays in {name} that its {METADATA} names.")
    return items, [f"{n} {what} were left out." for what, n in sorted(left_out.items())]


def _class_of(finding: str) -> str:
    """The class of a finding: Pneumonia/Viral/COVID-19 and "COVID-19, ARDS" are COVID-19."""
    return finding.split(",")[0].split("/")[-1].strip()


def _image_of(row: dict[str, str], root: Path) -> Path | None:
    """The image that a row of metadata.csv names, None unless it is there, inside the dataset."""
    for folder in dict.fromkeys((row.get("folder") or "images", "images", "")):
        path = root / folder / row["filename"]
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file() and _inside(path, root):
            return path
    return None


def _subfolders(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_dir() and not _hidden(path.name) and (not path.is_symlink() or _inside(path, folder))
    )


def _images(folder: Path) -> Iterator[Path]:
    """The images in a folder and below; links to elsewhere are not followed."""
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _hidden(name))
        for name in sorted(files):
            path = Path(where) / name
            if path.suffix.lower() in IMAGE_SUFFIXES and not _hidden(name) and _inside(path, folder):
                yield path


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _inside(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root.resolve())


# Adding datasets


def add(
    source: str | Path, data_dir: str | Path | None = None, name: str | None = None, progress: Progress | None = None
) -> Dataset:
    """Add a dataset to `data_dir`, whole or not at all; one that is already there is left as it is.

    Parameters
    ----------
    source : a folder, a .zip file, "kaggle:owner/name", or "synthetic".
    data_dir : the folder of the datasets; `paths.data_dir()` by default.
    name : what to call it; by default as its folder, file, or Kaggle page.
    progress : called with the part done (0..1) and a line about it.

    Raises
    ------
    DatasetError
        the source cannot be read or reached, is not a dataset, is not safe to unpack, or another
        dataset has its name.
    """
    data_dir = Path(data_dir or paths.data_dir())
    text = str(source)
    if text == "synthetic":
        return open(synthetic.write_dataset(data_dir / _name(name or text), progress=progress))
    if text.startswith("kaggle:"):
        handle = text.removeprefix("kaggle:")
        folder = _download(handle, progress or _silent)
        return _add_folder(folder, _name(name or handle.split("/")[1]), data_dir, progress or _silent)
    path = Path(source)
    if path.is_dir():
        return _add_folder(path, _name(name or path.resolve().name), data_dir, progress or _silent)
    if path.is_file():
        with path.open("rb") as file:
            return add_zip(file, name or path.stem, data_dir, progress)
    raise DatasetError(f"There is no folder or .zip file {source}; other sources are kaggle:owner/name and synthetic.")


def add_zip(file: BinaryIO, name: str, data_dir: str | Path | None = None, progress: Progress | None = None) -> Dataset:
    """Add a dataset from a .zip, as `add`; its images and metadata.csv are unpacked and nothing else.

    The archive may come from anywhere: one that names files outside its folder, holds links, is encrypted, or
    unpacks to more than MAX_ZIP_FILES, MAX_ZIP_BYTES or MAX_ZIP_RATIO is refused.
    """
    name = _name(name)

    def unpack(folder: Path) -> None:
        try:
            with zipfile.ZipFile(file) as archive:
                members = _checked_members(archive, name)
                for n, member in enumerate(members, 1):
                    target = folder / member.filename
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with archive.open(member) as packed, target.open("xb") as unpacked:
                        shutil.copyfileobj(packed, unpacked)  # ends at the size that was checked
                    (progress or _silent)(n / len(members), f"Unpacked {n} of {len(members)} files")
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError, EOFError, ValueError) as error:
            raise DatasetError(f"{name} is not a .zip that can be read: it is damaged, or no .zip at all.") from error
        except FileExistsError as error:
            raise DatasetError(f"{name} holds two files of one name, and was not unpacked.") from error

    return _install(unpack, name, Path(data_dir or paths.data_dir()))


def _checked_members(archive: zipfile.ZipFile, name: str) -> list[zipfile.ZipInfo]:
    """The files of an archive that are to be unpacked, once the whole of it is found harmless."""
    members = archive.infolist()
    for member in members:
        parts = PurePosixPath(member.filename).parts
        if ".." in parts or re.match(r"[/\\]|[A-Za-z]:|.*\\", member.filename):
            raise DatasetError(f"{name} was not unpacked: it names files outside its own folder.")
        if stat.S_ISLNK(member.external_attr >> 16):
            raise DatasetError(f"{name} was not unpacked: it holds links, where only files belong.")
        if member.flag_bits & 1:
            raise DatasetError(f"{name} is encrypted; unpack it, and add the folder.")
    unpacked = sum(member.file_size for member in members)
    packed = sum(member.compress_size for member in members)
    if len(members) > MAX_ZIP_FILES or unpacked > MAX_ZIP_BYTES or unpacked > MAX_ZIP_RATIO * max(packed, 1):
        raise DatasetError(
            f"{name} was not unpacked: {len(members)} files of {unpacked / 1e6:.0f} MB in {packed / 1e6:.0f} MB are "
            "more than a .zip of images has; unpack it, and add the folder."
        )
    return [member for member in members if not member.is_dir() and _belongs(PurePosixPath(member.filename))]


def _add_folder(source: Path, name: str, data_dir: Path, progress: Progress) -> Dataset:
    wanted = [path for path in _files(source) if _belongs(path.relative_to(source))]

    def copy(folder: Path) -> None:
        for n, path in enumerate(wanted, 1):
            target = folder / path.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            progress(n / len(wanted), f"Copied {n} of {len(wanted)} files")

    return _install(copy, name, data_dir)


def _files(folder: Path) -> Iterator[Path]:
    for where, _, names in os.walk(folder):
        yield from (path for path in (Path(where) / name for name in names) if _inside(path, folder))


def _belongs(path: PurePosixPath | Path) -> bool:
    """Whether a file, named inside its dataset, is an image or the metadata.csv."""
    wanted = path.suffix.lower() in IMAGE_SUFFIXES or path.name == METADATA
    return wanted and not any(map(_hidden, path.parts))


def _install(write: Callable[[Path], None], name: str, data_dir: Path) -> Dataset:
    """Write a dataset into a temporary folder, check it, and rename it into its place."""
    place = data_dir / name
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=data_dir, prefix=".adding-") as temporary:
            unfinished = Path(temporary) / name
            unfinished.mkdir()
            write(unfinished)
            added = open(unfinished)
            if not place.exists():
                unfinished.rename(place)
            elif not _same(place, added):
                raise DatasetError(f"There is another dataset {name} already; give this one another name.")
    except OSError as error:
        raise DatasetError(f"{name} cannot be added: {error.strerror or error}.") from error
    return open(place)


def _same(place: Path, added: Dataset) -> bool:
    try:
        return fingerprint(open(place).items) == fingerprint(added.items)
    except DatasetError:
        return False


def _name(text: str) -> str:
    """A name that is safe as a folder's."""
    name = re.sub(r"[^\w.-]+", "_", text).strip("._")
    if not name:
        raise DatasetError(f"{text!r} is no name for a dataset; use letters and digits.")
    return name


def _download(handle: str, progress: Progress) -> Path:
    """Download a dataset from Kaggle into kagglehub's cache, and say where it is."""
    if not re.fullmatch(r"[\w-]+/[\w-]+", handle):
        raise DatasetError(f"kaggle:{handle} is no Kaggle dataset; give kaggle:owner/name, as in its address.")
    import kagglehub
    from kagglehub.config import get_cache_folder

    outcome: list[str | Exception] = []

    def download() -> None:
        try:
            outcome.append(kagglehub.dataset_download(handle))
        except Exception as error:  # kagglehub lets through whatever its HTTP library, archives and disk raise
            outcome.append(error)

    # kagglehub waits without end for a server that accepts a connection and says nothing, so that it is watched.
    thread = threading.Thread(target=download, daemon=True)
    thread.start()
    cache = Path(get_cache_folder()) / "datasets" / handle
    received, quiet = 0, 0
    while thread.is_alive() and quiet < KAGGLE_PATIENCE:
        progress(0.0, f"Downloading {handle} from Kaggle: {received / 1e6:.0f} MB")
        thread.join(1)
        now = sum(path.stat().st_size for path in cache.rglob("*") if path.is_file()) if cache.is_dir() else 0
        received, quiet = now, quiet + 1 if now == received else 0
    if outcome and isinstance(outcome[0], str):
        return Path(outcome[0])
    reason = type(outcome[0]).__name__ if outcome else f"no answer in {KAGGLE_PATIENCE} s"
    raise DatasetError(
        f"Kaggle could not be reached for {handle} ({reason}); download it by hand from "
        f"https://www.kaggle.com/datasets/{handle} and add the .zip."
    ) from cast("Exception | None", outcome[0] if outcome else None)


def _silent(part: float, message: str) -> None:
    pass
