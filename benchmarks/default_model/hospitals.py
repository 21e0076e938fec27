"""The images of the default model: six public collections as one list, with what must never be learned held out.

The collections overlap: the pneumonias of the notebook's dataset came from ieee8023/covid-chestxray-dataset, under
other names and sizes. So patients are told across collections, by file names and by the looks of their lungs, and
whoever is in the notebook's test split leaves the training under every name.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.collections import (
    COHEN,
    NIH,
    NOTEBOOK,
    NOTEBOOK_TEST,
    Gathered,
    case_of,
    find_originals,
    relabel,
    unify_patients,
)
from covid_cnn.common.errors import DatasetError
from covid_cnn.data import dataset, samples, tables
from covid_cnn.data.classes import COVID, NORMAL, OTHER
from covid_cnn.data.dataset import Item
from covid_cnn.data.splits import split_by_patient

CLASSES = (COVID, NORMAL, OTHER)  # in the order of the bundle
PUBLICATIONS, SPAIN, MONTGOMERY = "cxnet-publications", "chestimaging-spain", "montgomery"
COLLECTIONS = (COHEN, NIH, NOTEBOOK, PUBLICATIONS, SPAIN, MONTGOMERY)
RADIOPAEDIA, EURORAD, SIRM = "radiopaedia.org", "eurorad.org", "sirm.org"
ASIDE, EXTERNAL = "aside", "external"  # splits that nothing is learned from, beside "test"
TEST_SHARE, VAL_SHARE = 0.2, 0.15
FILMS = Path(samples.__file__).parent / "films" / "LICENSES.md"
COPY = 0.975  # correlation of two crops to the lungs from which on they show one radiograph
THUMBNAIL = 64  # pixels of the crops that are compared
_FOLDED = {"radiopaedia": RADIOPAEDIA, "eurorad": EURORAD, "sirm": SIRM}
_SAME_PERSON = {"0053": "0052"}  # of Montgomery: its SOURCE.md says that they may be one


def read(folder: Path) -> list[Item]:
    """All images of the six collections in ``folder``, as each collection tells of them.

    Raises
    ------
    DatasetError
        A collection is not there.
    """
    items = [item for name in (COHEN, NIH, NOTEBOOK) for item in dataset.open_dataset(folder.absolute() / name).items]
    items += [item for name in (PUBLICATIONS, SPAIN) for item in _table(folder.absolute() / name)]
    items += _montgomery(folder.absolute() / MONTGOMERY)
    return items


def gather(items: Sequence[Item], thumbnails: np.ndarray, seed: int = 0) -> Gathered:
    """The images with class, patient and split: "train", "val", "test", or one that nothing is learned from.

    The test split holds the notebook's own test images, a fifth of the NIH patients, a stratified fifth of the other
    patients of its collections, and a fifth of those of each newer one; every other image of a patient of the
    notebook's test split is dropped, from all collections. No patient is in two splits. Montgomery is "external"
    whole. "aside" are films of COVID-19 that show nothing of it or show arrows, or whose patient had a negative test.

    Parameters
    ----------
    items : of ``read``
    thumbnails : uint8 ``[N, h, w]``, the crops of the items to the lungs
    seed : chooses the patients of the splits
    """
    pairs = same_radiograph(thumbnails)
    items = unify_patients(items, pairs)
    copies = find_originals(items, pairs)
    notebook = [item for item in items if collection(item) == NOTEBOOK]
    asked = {item for item in notebook if item.split == "test"}
    patients, cases = {item.patient for item in asked}, {case_of(item) for item in asked}
    rest = [item for item in items if item not in asked]
    free = [item for item in rest if item.patient not in patients and case_of(item) not in cases]
    notes = [
        f"{len(rest) - len(free)} images of patients of the notebook's {len(asked)} test images were dropped, found by "
        "patient, file name and looks ("
        + ", ".join(f"{n} from {name}" for name, n in _by_collection(set(rest) - set(free)).items())
        + ")."
    ]
    # The notebook's pneumonias are copies of the collection's, and only there is it known which pneumonia each is.
    own = [item for item in free if not (item in notebook and item.label == "PNEUMONIA")]
    notes.append(f"{len(free) - len(own)} pneumonias of the notebook's training split were dropped as copies.")
    own, twice = _without_copies(own, pairs, items)
    notes.append(f"{twice} images of the newer collections were dropped as copies of others here.")
    tested = [relabel(item, copies.get(item, item), "test") for item in items if item in asked]
    tested = [replace(item, source=NOTEBOOK_TEST) for item in tested]
    labelled = [relabel(item, item, item.split) for item in own]
    parted, shown = _without_films(_split(labelled, seed))
    notes.append(f"{shown} images of patients whose films the app shows as samples were set aside.")
    return Gathered(tuple(sorted(tested + parted, key=lambda item: item.path)), tuple(notes))


def same_radiograph(thumbnails: np.ndarray) -> list[tuple[int, int]]:
    """The pairs of indices, the lower first, of crops ``[N, h, w]`` whose correlation is ``COPY`` or more."""
    rows = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    first, second = np.nonzero(np.triu(rows @ rows.T >= COPY, 1))
    return list(zip(first.tolist(), second.tolist(), strict=True))


def _split(items: Sequence[Item], seed: int) -> list[Item]:
    """The items with a split each; a patient of an older collection keeps its split in the newer ones."""
    fixed = [item for item in items if item.split in (ASIDE, EXTERNAL)]
    split_of: dict[str, str] = {item.patient: EXTERNAL for item in fixed if item.split == EXTERNAL}
    free = [item for item in items if item.split not in (ASIDE, EXTERNAL)]
    for names in ((NIH,), (COHEN, NOTEBOOK), (PUBLICATIONS,), (SPAIN,)):
        part = [item for item in free if collection(item) in names and item.patient not in split_of]
        learned, held_out = _parted(part, TEST_SHARE, seed)
        train, val = _parted(learned, VAL_SHARE, seed)
        for split, group in (("train", train), ("val", val), ("test", held_out)):
            split_of |= {item.patient: split for item in group}
    return fixed + [replace(item, split=split_of[item.patient]) for item in free]


def _parted(items: list[Item], share: float, seed: int) -> tuple[list[Item], list[Item]]:
    return split_by_patient(items, share, seed) if items else ([], [])


def _table(root: Path) -> list[Item]:
    """A collection of COVID-CXNet: a metadata.csv with the columns file, patient_id, pcr_test and source."""
    if not (root / tables.METADATA).is_file():
        raise DatasetError(f"There is no {root.name} with its {tables.METADATA} among the collections.")
    with (root / tables.METADATA).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    items = []
    for row in rows:
        kind = row["file"].split("/")[0]
        useful = kind == "covid" and row["pcr_test"] != "negative"
        facts = {"finding": COVID, "kind": kind, "pcr_test": row["pcr_test"] or "not told", "url": row["url"]}
        source = _FOLDED.get(row["source"], root.name)
        patient = f"{root.name}:{row['patient_id']}"
        items.append(Item(root / row["file"], "" if useful else ASIDE, COVID, patient, source, facts))
    return items


def _montgomery(root: Path) -> list[Item]:
    items = []
    for path in sorted(root.glob("*/MCUCXR_*.jpg")):
        number, finding = path.stem.split("_")[1], path.parent.name
        patient = f"{MONTGOMERY}:{_SAME_PERSON.get(number, number)}"
        items.append(Item(path, EXTERNAL, finding, patient, MONTGOMERY, {"finding": finding}))
    if not items:
        raise DatasetError(f"There is no {MONTGOMERY} among the collections.")
    return items


def _without_films(own: Sequence[Item]) -> tuple[list[Item], int]:
    """The items, those of patients whose films come with the app set aside where they would be learned from; how many.

    After the splits, so that these stay as they are.
    """
    films = set(re.findall(r"\| [^|]*, ([\w-]+) \|", FILMS.read_text(encoding="utf-8")))
    patients = {item.patient for item in own if item.path.stem in films}
    found = {item for item in own if item.patient in patients and item.split in ("train", "val")}
    return [replace(item, split=ASIDE) if item in found else item for item in own], len(found)


def _without_copies(
    own: Sequence[Item], pairs: Iterable[tuple[int, int]], items: Sequence[Item]
) -> tuple[list[Item], int]:
    """The items without those of the newer collections that another image here is a copy of."""
    newer = (PUBLICATIONS, SPAIN)
    twice = {items[b] for a, b in pairs if collection(items[b]) in newer}
    kept = [item for item in own if item not in twice]
    return kept, len(own) - len(kept)


def collection(item: Item) -> str:
    """The collection that an image is in."""
    return next(name for name in COLLECTIONS if name in item.path.parts)


def _by_collection(items: Iterable[Item]) -> dict[str, int]:
    counted = Counter(map(collection, items))
    return {name: counted[name] for name in COLLECTIONS if counted[name]}
