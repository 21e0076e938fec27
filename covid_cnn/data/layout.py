"""What a tree of files is as a dataset: the split, class and patient of each image, and what is left out and why.

It knows folder layouts and tables. It opens an image only to tell whether it is a mask.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import urlparse

from covid_cnn.common.errors import DatasetError
from covid_cnn.common.words import count
from covid_cnn.data import metadata
from covid_cnn.data.classes import LATERAL_VIEWS, NO_FINDING_GIVEN
from covid_cnn.data.masks import find_masks
from covid_cnn.data.metadata import MetadataTable
from covid_cnn.data.tables import METADATA, NOTES, TABLE_SUFFIXES, ImageFinder, Table, parse_table
from covid_cnn.data.tree import Tree, beginning
from covid_cnn.images import headers, limits
from covid_cnn.images.reader import IMAGE_SUFFIXES

FACTS = ("finding", "view", "modality", "date", "sex", "age", "location", "license", "url")  # columns worth showing
_SPLIT = re.compile(
    r"(?:(train(?:ing)?|tr)|(val(?:id(?:ation|ate)?)?|dev(?:elopment)?)|(tests?|testing|holdout|heldout))"
    r"(?:sets?|data|datasets?|images?|imgs?|splits?|folder)?"
)
_BOXES = re.compile(r"images?|imgs?|pictures?|data|files?", re.IGNORECASE)  # folders that name no class
# Endings that are no image's, and tell nothing about what is left out.
_DOCUMENTS = frozenset({"", ".txt", ".md", ".rst", ".csv", ".tsv", ".tab", ".xlsx", ".json", ".html", ".py", ".ipynb"})


@dataclass(frozen=True)
class Entry:
    """One image of a layout, as `dataset.Item`, but by its place in the tree."""

    place: PurePosixPath
    split: str
    label: str
    patient: str
    source: str
    facts: dict[str, str] = field(default_factory=dict, hash=False)


class Layout(NamedTuple):
    """What a tree holds."""

    root: PurePosixPath  # the folder in the tree that the classes, splits or the table lie in
    entries: list[Entry]  # the images
    notes: list[str]  # a sentence for each group of what was left out, or taken otherwise than it is written
    table: PurePosixPath | None = None  # the place of the table that tells the classes; None where folders do
    findings: MetadataTable | None = None  # what that table tells, where it has findings that are no classes yet
    about_files: tuple[str, ...] = ()  # those of the notes that tell of no row of the table
    every: tuple[Entry, ...] = ()  # with findings, the images of all its rows, those that are left out among them


def split_of(name: str) -> str:
    """The split that a folder or a cell of a table means, such as "Training" or "TEST"; "" if none."""
    match = _SPLIT.fullmatch("".join(filter(str.isalnum, name.casefold())))
    return ("train", "val", "test")[(match.lastindex or 1) - 1] if match else ""


def understand(tree: Tree, name: str) -> Layout:
    """What a tree is as a dataset called `name`; raises DatasetError where it has none of the known layouts."""
    images, notes = _images(tree)
    masks = find_masks(tree, images)
    if masks:
        notes.append(f"{count(len(masks), 'mask was', 'masks were')} left out: no X-rays, but where something lies.")
    images = [place for place in images if place not in masks]
    found, problem = find_table(tree, images)
    if found:
        place, table = found
        layout = _from_table(place, table, images, name)
    else:
        layout = _from_folders(images, name, problem)
    own = next((place for place in (layout.root / NOTES, PurePosixPath(NOTES)) if place in tree.files), None)
    kept = _text(tree, own).splitlines() if own else []
    entries, linked = _without_second_links(layout.entries, tree)
    entries, merged = _merge_spellings(entries)
    about_files = [*kept, *notes, *([problem] if problem else [])]
    notes = list(dict.fromkeys([*about_files, *layout.notes, *linked, *merged]))
    return layout._replace(entries=entries, notes=notes, about_files=tuple(about_files))


def _images(tree: Tree) -> tuple[list[PurePosixPath], list[str]]:
    """The images of a tree, told by their endings or else by their content, and notes on what else there is."""
    images, others = [], Counter[str]()
    for place in sorted(tree.files):
        ending = place.suffix.lower()
        if ending in IMAGE_SUFFIXES:
            images.append(place)
        elif ending in _DOCUMENTS and ending:
            continue
        elif headers.is_image(beginning(tree, place)):
            images.append(place)
        else:
            others[ending or "without an ending"] += 1
    notes = list(tree.notes)
    if others:
        names = ", ".join(f"{number} {ending}" for ending, number in others.most_common(6))
        number = sum(others.values())
        notes.append(f"{count(number, 'file is', 'files are')} of no kind that is read, and left out: {names}.")
    return images, notes


def _text(tree: Tree, place: PurePosixPath) -> str:
    return b"".join(tree.pieces(place)).decode("utf-8", errors="replace")


def find_table(tree: Tree, images: Iterable[PurePosixPath]) -> tuple[tuple[PurePosixPath, Table] | None, str]:
    """The table that tells the classes of images, by its place; and a sentence on one that should and does not."""
    images = list(images)
    candidates = [place for place in tree.files if place.suffix.lower() in TABLE_SUFFIXES]
    candidates.sort(key=lambda place: (place.name.lower() != METADATA, len(place.parts), place))
    problem = ""
    for place in candidates:
        meant = place.name.lower() == METADATA
        if tree.files[place].size > limits.MAX_FILE_BYTES:
            if meant:
                raise DatasetError(f"The {METADATA} of {tree.name} is far too large for a table of images.")
            continue
        try:
            table = parse_table(b"".join(tree.pieces(place)), place.name)
        except DatasetError:
            if meant:
                raise
            continue
        if table.names_images:
            finder = ImageFinder([one.relative_to(place.parent) for one in images if one.is_relative_to(place.parent)])
            if meant or any(map(finder.find, table.rows)):
                return (place, table), ""
        elif meant and not problem:
            there = ", ".join(table.columns[:8]) or "none"
            problem = (
                f"{place.name} was not used: it needs the columns filename and finding (or label, or class), and has "
                f"{there}."
            )
    return None, problem


def _from_table(at: PurePosixPath, table: Table, images: list[PurePosixPath], name: str) -> Layout:
    """A table of images, as ieee8023/covid-chestxray-dataset has (Cohen et al. 2020).

    It may have columns ``class``, ``split`` and ``source`` besides, as the datasets that ``importer`` and ``gather``
    write. A row with a class was chosen by somebody, so that it is taken whatever its view and modality.
    """
    root = at.parent
    inner = [place.relative_to(root) for place in images if place.is_relative_to(root)]
    finder, left_out = ImageFinder(inner), Counter[str]()
    same_as = _same_patients(table)
    entries: dict[PurePosixPath, Entry] = {}
    every: dict[PurePosixPath, Entry] = {}
    unknown = Counter[str]()
    for row in table.rows:
        place = finder.find(row)
        if place and place not in every:
            every[place] = _entry(row, place, name, same_as)
        if reason := _why_left_out(row):
            left_out[reason] += 1
        elif place is None:
            left_out["rows without their image file"] += 1
        elif place in entries:
            if entries[place].label != (row.get("class") or label_of(row.get("finding", ""))):
                left_out["rows that give an image a second class"] += 1
        else:
            entries[place] = _entry(row, place, name, same_as)
            if row.get("split") and not entries[place].split:
                unknown[row["split"]] += 1
    if not entries:
        raise DatasetError(f"There are no frontal X-rays in {name} that its {at.name} names.")
    notes = [f"{number} {what} were left out." for what, number in sorted(left_out.items())]
    if unnamed := len(images) - len(every):
        notes.append(f"{count(unnamed, 'image is', 'images are')} not named in {at.name}, and left out.")
    if unknown:
        names = ", ".join(value for value, _ in unknown.most_common(4))
        number = sum(unknown.values())
        notes.append(f"{count(number, 'image belongs', 'images belong')} to no split that is known: {names}.")
    taken, rest = ([replace(e, place=root / e.place) for e in some.values()] for some in (entries, every))
    return Layout(root, taken, notes, at, MetadataTable.of(table, inner), every=tuple(rest))


def _why_left_out(row: Mapping[str, str]) -> str:
    if row.get("class"):
        return ""
    if row.get("modality", "").upper() == "CT":
        return "CT slices"
    if row.get("view", "").lower() in LATERAL_VIEWS:
        return "lateral views"
    return "images without a finding" if row.get("finding", "").lower() in NO_FINDING_GIVEN else ""


def _same_patients(table: Table) -> dict[str, str]:
    """The collection lists some cases twice, under two ids (000001-24.jpg and 000001-24_jpg.jpg): one patient."""
    first_id: dict[tuple[str, str], str] = {}
    same_as: dict[str, str] = {}
    for row in table.rows:
        image = row.get("url", ""), re.sub(r"_(jpe?g|png)$", "", Path(row["filename"]).stem)
        same_as.setdefault(row.get("patientid", ""), first_id.setdefault(image, row.get("patientid", "")))
    return same_as


def _entry(row: Mapping[str, str], place: PurePosixPath, name: str, same_as: Mapping[str, str]) -> Entry:
    collection, by_name = metadata.patient_of(place.name)
    patient = f"{name}:{same_as[row['patientid']]}" if row.get("patientid") else by_name or place.as_posix()
    site = urlparse(row.get("url", "")).netloc.removeprefix("www.")
    source = row.get("source") or site or collection or name
    facts = {fact: row[fact] for fact in FACTS if row.get(fact)}
    label = row.get("class") or label_of(row.get("finding", ""))
    return Entry(place, split_of(row.get("split", "")), label, patient, source, facts)


def label_of(finding: str) -> str:
    """The class of a finding: Pneumonia/Viral/COVID-19 and "COVID-19, ARDS" are COVID-19."""
    return finding.split(",", maxsplit=1)[0].rsplit("/", maxsplit=1)[-1].strip()


def _from_folders(images: list[PurePosixPath], name: str, problem: str) -> Layout:
    """SPLIT/CLASS/image, CLASS/SPLIT/image or CLASS/image, whatever folders called images lie between."""
    if not images:
        raise DatasetError(f"There are no images in {name}.")
    root = _descend([place for place in images if any(_class_folders(place.parts[:-1]))])
    entries, flat = [], Counter[str]()
    for place in images:
        folders = (place.relative_to(root) if place.is_relative_to(root) else place).parts[:-1]
        split = next(filter(None, map(split_of, folders)), "")
        label = next(_class_folders(folders), "")
        if label and place.is_relative_to(root):
            entries.append(Entry(place, split, label, "", ""))
        else:
            flat["/".join(folders) or "."] += 1
    has_splits = any([entry.split for entry in entries] + [split_of(folder.split("/")[0]) for folder in flat])
    beside = Counter(entry.label for entry in entries if has_splits and not entry.split)
    entries = [entry for entry in entries if entry.split or not has_splits]
    if not entries:
        where = "train/CLASS/ and test/CLASS/" if has_splits else "folders that are named by their classes"
        sentence = f"The images of {name} are not sorted by class; put them into {where}."
        raise DatasetError(f"{problem} {sentence}".strip())
    notes = [
        f"{count(number, 'image')} in {'the folder itself' if folder == '.' else folder + '/'} left out: "
        "in no folder of a class."
        for folder, number in sorted(flat.items())
    ]
    if beside:
        names = ", ".join(f"{label} ({count(number, 'image')})" for label, number in sorted(beside.items()))
        notes.append(f"Left out, beside the splits: {names}.")
    return Layout(root, _with_patients(entries, root, name), notes)


def _class_folders(folders: Iterable[str]) -> Iterator[str]:
    return (folder for folder in folders if not split_of(folder) and not _BOXES.fullmatch(folder))


def _descend(images: list[PurePosixPath]) -> PurePosixPath:
    """Past folders that hold nothing but the one that is the dataset, as archives often have."""
    root = PurePosixPath()
    while images:
        depth = len(root.parts)
        first = {place.parts[depth] if len(place.parts) > depth + 1 else "" for place in images}
        if len(first) != 1 or not (inner := first.pop()) or split_of(inner):
            return root
        if not any(any(_class_folders(place.parts[depth + 1 : -1])) for place in images):
            break  # the one folder of a one-class dataset
        root /= inner
    return root


def _with_patients(entries: list[Entry], root: PurePosixPath, name: str) -> list[Entry]:
    known = {patient for entry in entries if (patient := metadata.patient_of(entry.place.name)[1])}
    found = []
    for entry in entries:
        collection, patient = metadata.patient_of(entry.place.name)
        # A name that tells nothing stands for itself, except where other names are the same case's with a day or view.
        if not patient and (case := f"case reports:{entry.place.stem.lower()}") in known:
            collection, patient = "case reports", case
        own = entry.place.relative_to(root).as_posix()
        found.append(Entry(entry.place, entry.split, entry.label, patient or own, collection or name))
    return found


def _without_second_links(entries: list[Entry], tree: Tree) -> tuple[list[Entry], list[str]]:
    """No image twice: a link to one that counts anyhow, or that another link leads to, is left out."""
    files = {entry.place for entry in entries if entry.place not in tree.links}
    kept, outside = [], 0
    for entry in entries:
        target = tree.links.get(entry.place, entry.place)
        if entry.place in tree.links:
            if target in files:
                continue
            files.add(target)
            outside += target.is_absolute()
        kept.append(entry)
    notes = []
    if twice := len(entries) - len(kept):
        one, several = "link to an image of the same folder was", "links to images of the same folder were"
        notes.append(f"{count(twice, one, several)} left out.")
    if outside:
        notes.append(f"{count(outside, 'image is a link', 'images are links')} out of the folder, and read.")
    return kept, notes


def _merge_spellings(entries: list[Entry]) -> tuple[list[Entry], list[str]]:
    """Classes whose names differ in case, hyphens or blanks alone are one, called as most of its images are."""
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    for entry in entries:
        spellings[re.sub(r"[\s_-]+", "", entry.label.casefold()) or entry.label][entry.label] += 1
    called: dict[str, str] = {}
    notes = []
    for counted in spellings.values():
        best = min(counted, key=lambda label: (-counted[label], label))
        called |= dict.fromkeys(counted, best)
        if len(counted) > 1:
            names = " and ".join(
                f"{label} ({number})" for label, number in sorted(counted.items(), key=lambda one: (-one[1], one[0]))
            )
            notes.append(f"{names} are one class, called {best}.")
    if not notes:
        return entries, []
    return [replace(entry, label=called[entry.label]) for entry in entries], notes
