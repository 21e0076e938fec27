"""Split a dataset into training, validation and test images, by patient and with every class in each."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from covid_cnn.common.errors import DatasetError
from covid_cnn.data.dataset import Dataset, Item

FRACTION = 0.2  # of the images that are split, which are put aside


@dataclass(frozen=True)
class Splits:
    """The training, validation and test images; no patient is in two of them."""

    train: list[Item]
    val: list[Item]
    test: list[Item]
    notes: tuple[str, ...] = ()


def split_by_patient(items: Sequence[Item], fraction: float, seed: int) -> tuple[list[Item], list[Item]]:
    """Split images in two by patient, the second with about the same share of each class, above 0 and below 1.

    Both are in the order of `items`, and have at least one image of every class. Raises DatasetError where a class has
    too few patients to be on both sides.
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


def training_splits(dataset: Dataset, seed: int) -> Splits:
    """The splits to train with: the dataset's own; those that it lacks are split off its training images by patient.

    A dataset without any split gets val and test. One that has its own train split but no test split gets none: its
    author keeps the test images elsewhere. A patient who is in a later split (val, test) leaves the earlier ones. The
    seed chooses the patients of the splits that are made here, each a fifth of what there is to split. Raises
    DatasetError where there is one class only, no training image, or too few patients to part.
    """
    dataset.check_trainable()
    notes = []
    train, val, test = (list(dataset.subset(split)) for split in ("train", "val", "test"))
    if dataset.splits == ("",):
        train, test = split_by_patient(dataset.items, FRACTION, seed)
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
        train, val = split_by_patient(train, FRACTION, seed)
        notes.append(f"{len(val)} of the training images, by patient, were put aside for validation.")
    return Splits(train, val, test, tuple(notes))


def _without(items: list[Item], others: list[Item]) -> tuple[list[Item], int]:
    """The items whose patients are not among the others, and how many were dropped."""
    patients = {item.patient for item in others}
    kept = [item for item in items if item.patient not in patients]
    return kept, len(items) - len(kept)
