"""The first phase of a run: open and split its dataset, read its training and validation images."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from covid_cnn.common.errors import DatasetError, ImageError
from covid_cnn.data.dataset import Dataset, Item, open_dataset
from covid_cnn.data.index import perceptual_hash
from covid_cnn.data.splits import training_splits
from covid_cnn.images import ops
from covid_cnn.images.radiograph import Radiograph
from covid_cnn.images.reader import read_ahead
from covid_cnn.runs.run import Run
from covid_cnn.training.data import gather_images

SECONDS_BETWEEN_EVENTS = 0.3


@dataclass(frozen=True)
class Images:
    """The readable images of one split.

    Attributes
    ----------
    items : N of them, where they come from
    pixels : float32 ``[N, H, W, 1]``, 0..1; perhaps on disk, and not to be written to
    labels : int64 ``[N]``, indices of the classes
    """

    items: list[Item]
    pixels: np.ndarray
    labels: np.ndarray


@dataclass
class TrainingData:
    """The training, validation and test images of a run.

    Attributes
    ----------
    dataset : where all of it comes from
    train, val : the images that have been read
    test : what is read once training is over
    hashes : by which each image of ``train``, then of ``val``, is known again
    notes : what was split and left out, for people
    """

    dataset: Dataset
    train: Images
    val: Images
    test: Sequence[Item]
    hashes: list[bytes] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of their labels."""
        return self.dataset.classes

    def check_files(self) -> None:
        """Raise DatasetError where an image is no longer where it was."""
        for item in (*self.train.items, *self.val.items, *self.test):
            _check_file(item, self.dataset)


def progress_events(run: Run, what: str, total: int) -> Callable[[int], None]:
    """A function that appends how much of ``total`` is done as ``progress`` events, a few a second at most."""
    last = 0.0

    def report_done(done: int) -> None:
        nonlocal last
        if done == total or time.monotonic() - last > SECONDS_BETWEEN_EVENTS:
            last = time.monotonic()
            run.append("progress", what=what, done=done, total=total)

    return report_done


def read_training_data(run: Run) -> TrainingData:
    """Read the images of a run, with ``progress`` events meanwhile and a ``read`` event at the end.

    Raises
    ------
    DatasetError
        The dataset is not there, goes away meanwhile, or has a class without a readable image.
    """
    dataset = open_dataset(run.config.data)
    splits = training_splits(dataset, run.config.seed)
    run.log(f"Reading {len(splits.train)} training and {len(splits.val)} validation images.")
    hashes: list[bytes] = []
    notes = [*dataset.notes, *splits.notes]
    for note in notes:
        run.log(note)
    train, val = (_read(run, dataset, items, hashes, notes) for items in (splits.train, splits.val))
    missing = set(range(len(dataset.classes))) - set(train.labels.tolist())
    if missing or not len(val.labels):
        raise DatasetError(f"{dataset.name} has too few readable images to train on: each class needs some.")
    run.append("read", classes=list(dataset.classes), train=len(train.labels), val=len(val.labels))
    return TrainingData(dataset, train, val, splits.test, hashes, notes)


def _read(run: Run, dataset: Dataset, items: Sequence[Item], hashes: list[bytes], notes: list[str]) -> Images:
    """The readable images of ``items``; adds to ``hashes``, and to ``notes`` what had to be left out."""
    size, readable = run.config.recipe.input_size, []
    report_done = progress_events(run, "Reading images", len(items))

    def prepare(radiograph: Radiograph) -> tuple[np.ndarray, bytes]:
        return ops.prepare(radiograph.pixels, size), perceptual_hash(radiograph.pixels).fine

    def images() -> Iterator[np.ndarray]:
        prepared = read_ahead([item.path for item in items], prepare)
        for done, (item, image) in enumerate(zip(items, prepared, strict=True), start=1):
            report_done(done)
            if not isinstance(image, ImageError):
                readable.append(item)
                hashes.append(image[1])
                yield image[0]
                continue
            _check_file(item, dataset)
            notes.append(f"Left out: {image}")
            run.log(notes[-1])

    pixels = gather_images(images(), (len(items), *size, 1), run.folder)
    return Images(readable, pixels, np.array([dataset.classes.index(item.label) for item in readable], np.int64))


def _check_file(item: Item, dataset: Dataset) -> None:
    if not item.path.exists():
        raise DatasetError(f"{item.path.name} is gone: bring {dataset.name} back, and resume the run.")
