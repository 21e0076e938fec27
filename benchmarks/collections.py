"""Public collections as one list, with patients told across them; and the three that the lung network learns from.

The collections overlap: the pneumonias of the notebook's dataset came from ieee8023/covid-chestxray-dataset, under
other names and sizes. So patients are told across collections, by their names and by the looks of their images, and
whoever is in the notebook's test split leaves the training under every name. `default_model.hospitals` does the same
with six collections, and compares crops to the lungs, which this cannot before there is a network that finds them.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scipy.cluster.hierarchy import DisjointSet

from covid_cnn.common.errors import ImageError
from covid_cnn.data import dataset, index
from covid_cnn.data.classes import COVID, NORMAL, OTHER
from covid_cnn.data.dataset import Item
from covid_cnn.data.metadata import patient_of
from covid_cnn.data.splits import split_by_patient
from covid_cnn.images.reader import read_ahead

COHEN, NIH, NOTEBOOK = COLLECTIONS = ("covid-chestxray-dataset", "nih-chestxray8-subset", "xray_dataset_covid19")
NOTEBOOK_TEST = "the notebook's test split"  # the source of its images here
NAME = "three-collections"
TEST_SHARE, VAL_SHARE = 0.2, 0.15


@dataclass(frozen=True)
class Gathered:
    """The images under the three classes, each with its split, and sentences about what was left out and why."""

    items: tuple[Item, ...]
    notes: tuple[str, ...]


def gather_collections(folder: Path, seed: int = 0, progress: Callable[[float, str], None] | None = None) -> Gathered:
    """Index the three collections as one dataset.

    The test split holds the notebook's own test images, a fifth of the NIH patients and a stratified fifth of the
    other patients; every other image of a patient of the notebook's test split is dropped, from all collections. A
    part of the rest is for validation. No patient is in two splits.

    Parameters
    ----------
    folder : holds the three collections, each in a folder of its name in ``COLLECTIONS``
    seed : chooses the patients of the splits
    progress : called with the part done (0..1) and a line about it

    Raises
    ------
    DatasetError
        A collection is not there.
    """
    found = [item for name in COLLECTIONS for item in dataset.open_dataset(folder.absolute() / name).items]
    readable, pairs, notes = _compare(found, progress)
    items = unify_patients(readable, pairs)
    copies = find_originals(items, pairs)

    notebook = [item for item in items if NOTEBOOK in item.path.parts]
    asked = {item for item in notebook if item.split == "test"}
    patients, cases = {item.patient for item in asked}, {case_of(item) for item in asked}
    rest = [item for item in items if item not in asked]
    free = [item for item in rest if item.patient not in patients and case_of(item) not in cases]
    notes.append(
        f"{len(rest) - len(free)} images of patients of the notebook's {len(asked)} test images were dropped, found by "
        f"patient, file name and perceptual hash ("
        + ", ".join(f"{n} from {name}" for name, n in _by_collection(set(rest) - set(free)).items())
        + ")."
    )
    # The notebook's pneumonias are copies of the collection's, and only there is it known which pneumonia each is.
    own = [item for item in free if not (item in notebook and item.label == "PNEUMONIA")]
    notes.append(f"{len(free) - len(own)} pneumonias of the notebook's training split were dropped as copies.")

    tested = [relabel(item, copies.get(item, item), "test") for item in items if item in asked]
    tested = [replace(item, source=NOTEBOOK_TEST) for item in tested]
    labelled = [relabel(item, item, "") for item in own]
    nih = [item for item in labelled if NIH in item.path.parts]
    others = [item for item in labelled if NIH not in item.path.parts]
    for part in (nih, others):
        learned, held_out = split_by_patient(part, TEST_SHARE, seed)
        train, val = split_by_patient(learned, VAL_SHARE, seed)
        for split, group in (("train", train), ("val", val), ("test", held_out)):
            tested += [replace(item, split=split) for item in group]
    return Gathered(tuple(sorted(tested, key=lambda item: item.path)), tuple(notes))


def _compare(
    items: list[Item], progress: Callable[[float, str], None] | None
) -> tuple[list[Item], list[tuple[int, int]], list[str]]:
    """The readable items, the pairs of their indices that look the same, and a note about the others."""
    readable, prints = [], []
    looks = read_ahead([item.path for item in items], lambda radiograph: index.perceptual_hash(radiograph.pixels))
    for n, (item, look) in enumerate(zip(items, looks, strict=True), 1):
        if not isinstance(look, ImageError):
            readable.append(item)
            prints.append(look)
        if progress:
            progress(n / len(items), f"Compared {n} of {len(items)} images")
    unread = len(items) - len(readable)
    return readable, index.find_near_duplicates(prints), [f"{unread} images could not be read."] if unread else []


def unify_patients(items: Sequence[Item], pairs: Iterable[tuple[int, int]]) -> list[Item]:
    """The items with one patient key each: patients with an image in common are one patient."""
    same = DisjointSet(item.patient for item in items)
    for a, b in pairs:
        same.merge(items[a].patient, items[b].patient)
    stems: dict[str, Item] = {}
    for item in items:
        same.merge(item.patient, stems.setdefault(stem_of(item), item).patient)
    return [replace(item, patient=same[item.patient]) for item in items]


def find_originals(items: Sequence[Item], pairs: Iterable[tuple[int, int]]) -> dict[Item, Item]:
    """The image of ``COHEN`` that each image of another collection is a copy of, by look or else by name."""
    stems = {stem_of(item): item for item in items if COHEN in item.path.parts}
    copies = {item: stems[stem_of(item)] for item in items if stem_of(item) in stems and COHEN not in item.path.parts}
    for a, b in pairs:
        for one, other in ((items[a], items[b]), (items[b], items[a])):
            if COHEN in other.path.parts and COHEN not in one.path.parts:
                copies.setdefault(one, other)
    return copies


def stem_of(item: Item) -> str:
    """A file's name as all collections have it: without extension, case, and the extension that became a part of it."""
    return re.sub(r"_(jpe?g|png)$", "", item.path.stem.lower())


def case_of(item: Item) -> str:
    """The patient that the file name tells, or the name itself."""
    return patient_of(item.path.name)[1] or stem_of(item)


def relabel(item: Item, original: Item, split: str) -> Item:
    """``item`` under one of ``classes.CLASSES``, told from the finding of the image that it is a copy of."""
    if original.label.lower() in ("normal", "no_findings", "no finding"):
        label = NORMAL
    else:
        label = COVID if original.label == COVID else OTHER
    finding = original.facts.get("finding", original.label)
    return replace(item, label=label, split=split, facts={**original.facts, **item.facts, "finding": finding})


def _collection(item: Item) -> str:
    return next(name for name in COLLECTIONS if name in item.path.parts)


def _by_collection(items: Iterable[Item]) -> dict[str, int]:
    counted = Counter(map(_collection, items))
    return {name: counted[name] for name in COLLECTIONS if counted[name]}
