"""The data of a run: its images, read and split, and the batches that Keras trains on, decided by seed and epoch."""

import math
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from covid_cnn.common.errors import DatasetError, ImageError
from covid_cnn.data.dataset import Dataset, Item, open_dataset
from covid_cnn.data.index import perceptual_hash
from covid_cnn.data.splits import training_splits
from covid_cnn.images import ops
from covid_cnn.images.augment import AUGMENTATIONS, augment_batch
from covid_cnn.images.radiograph import Radiograph
from covid_cnn.images.reader import read_ahead
from covid_cnn.runs.config import TrainConfig
from covid_cnn.runs.run import Run

# Bytes of images that are kept in memory, 4000 of 256 x 256 pixels, for training and for validation each; more are
# kept on disk.
IN_MEMORY = 2**30
# The inputs of some images in one epoch, float32 [n, ...]: called with the epoch and their indices, int [n].
Inputs = Callable[[int, np.ndarray], np.ndarray]


def gather_images(images: Iterable[np.ndarray], shape: tuple[int, ...], folder: Path) -> np.ndarray:
    """Collect images into one float32 array, not to be written to: in memory, or above a limit mapped from a file.

    The array has the ``shape``, if there are so many images as were hoped for. The file, in ``folder``, has no name, so
    that it goes with the process that holds it, whatever ends that. Raises OSError where the disk is full.
    """
    if 4 * math.prod(shape) <= IN_MEMORY:
        together, count = np.empty(shape, np.float32), 0
        for count, image in enumerate(images, start=1):
            together[count - 1] = image
        return together[:count]
    with tempfile.TemporaryFile(dir=folder) as file:
        count = 0
        for image in images:
            file.write(image.astype(np.float32).tobytes())  # a full disk is an error here, and a crash in a mapping
            count += 1
        if not count:  # nothing can be mapped
            return np.empty((0, *shape[1:]), np.float32)
        file.flush()
        return np.asarray(np.memmap(file, np.float32, "r", shape=(count, *shape[1:])))


class ArrayBatches(keras.utils.PyDataset):
    """Arrays in batches, so that memory-mapped images are never loaded all at once."""

    SIZE = 32

    def __init__(self, *arrays: np.ndarray) -> None:
        super().__init__()
        self._arrays = arrays

    def __len__(self) -> int:
        return math.ceil(len(self._arrays[0]) / self.SIZE)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        return tuple(array[index * self.SIZE : (index + 1) * self.SIZE] for array in self._arrays)


class TrainingBatches(keras.utils.PyDataset):
    """Batches of inputs, targets and sample weights, decided by seed, epoch and index alone.

    So a resumed run has the batches of an unbroken one. Keras asks for them in a thread of its own, ahead of the steps,
    and must be told not to shuffle them. Its ``workers`` are left alone: they begin an epoch where the last one
    ended, before ``epoch`` is set, and hand over what they made of it then.
    """

    def __init__(self, inputs: Inputs, labels: np.ndarray, classes: int, config: TrainConfig, devices: int = 1) -> None:
        super().__init__()
        self._inputs, self._labels, self._config, self._devices = inputs, labels, config, devices
        self._targets = np.eye(classes, dtype=np.float32)
        self.class_weights = class_weights(labels, classes, config.balance)  # of an image of each class
        self.set_epoch(1)

    def set_epoch(self, epoch: int) -> None:
        """Switch to the batches of an epoch, counted from 1."""
        seeds = np.random.SeedSequence((self._config.seed, epoch))
        order = epoch_order(self._labels, self._config.balance, np.random.default_rng(seeds))
        self.ready: dict[int, float] = {}  # when each batch of the epoch was last made, by ``time.perf_counter``
        self._plan = epoch, order, seeds.spawn(len(self))

    def __len__(self) -> int:
        return math.ceil(len(self._labels) / self._config.batch_size)

    def images_in(self, index: int) -> int:
        """The number of images in a batch, padding not counted."""
        return min(self._config.batch_size, len(self._labels) - index * self._config.batch_size)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        epoch, order, seeds = self._plan
        indices = order[index * self._config.batch_size :][: self._config.batch_size]
        labels = self._labels[indices]
        batch = self._inputs(epoch, indices), self._targets[labels], self.class_weights[labels]
        if self._config.mixup:
            batch = mixup(*batch, self._config.mixup, np.random.default_rng(seeds[index]))
        inputs, targets, weights = fill_up(*batch, self._devices)
        self.ready[index] = time.perf_counter()
        return inputs, as_output(targets), weights


def augmented(images: np.ndarray, config: TrainConfig) -> Inputs:
    """Images ``[N, H, W, 1]`` augmented anew in each epoch, for a network that is trained as a whole."""
    augmentation, threads = AUGMENTATIONS[config.augmentation], os.cpu_count() or 1
    pool = ThreadPoolExecutor(threads, "augmentation")

    def make(epoch: int, indices: np.ndarray) -> np.ndarray:
        def vary(part: np.ndarray) -> np.ndarray:
            return augment_batch([images[i] for i in part], part, augmentation, config.seed, epoch, images)

        return np.concatenate(list(pool.map(vary, np.array_split(indices, min(threads, len(indices))))))

    return make


def as_output(targets: np.ndarray) -> np.ndarray:
    """Targets ``[N, K]`` in the form of the network's logits: of two classes the share of the second, ``[N, 1]``."""
    return targets[:, 1:] if targets.shape[1] == 2 else targets


def one_hot(labels: np.ndarray, classes: int) -> np.ndarray:
    """The targets of labels int ``[N]``, in the form of the network's logits: float32 ``[N, K]``, or ``[N, 1]``."""
    return as_output(np.eye(classes, dtype=np.float32)[labels])


def class_weights(labels: np.ndarray, classes: int, balance: str) -> np.ndarray:
    """The weight of an image by its class, float32 ``[K]``: 1, or with ``balance`` "weights" ``N / (K N_k)``."""
    counts = np.bincount(labels, minlength=classes)
    weights = len(labels) / (classes * counts) if balance == "weights" else np.ones(classes)
    return weights.astype(np.float32)


def epoch_order(labels: np.ndarray, balance: str, rng: np.random.Generator) -> np.ndarray:
    """The images of an epoch in a random order, int ``[N]``.

    With ``balance`` "sampling" the classes take turns in it, so that each is shown as often as any other: images of
    rare classes come several times, some of common ones not at all.
    """
    if balance != "sampling":
        return rng.permutation(len(labels))
    turns = rng.permutation(np.arange(len(labels)) % (labels.max() + 1))
    shown = np.empty(len(labels), np.int64)
    for label in range(labels.max() + 1):
        mine, places = np.flatnonzero(labels == label), np.flatnonzero(turns == label)
        rounds = math.ceil(len(places) / len(mine))
        shown[places] = np.concatenate([rng.permutation(mine) for _ in range(rounds)])[: len(places)]
    return shown


def mixup(
    inputs: np.ndarray, targets: np.ndarray, weights: np.ndarray, alpha: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mixup (Zhang et al. 2018): each image of a batch laid over another of it, and their targets likewise.

    With ``m ~ Beta(alpha, alpha)`` and a random partner j of every i::

        input = m input_i + (1 - m) input_j,    weight = m w_i + (1 - m) w_j
        target = (m w_i target_i + (1 - m) w_j target_j) / weight

    so that the weighted cross-entropy is what it would be of the two targets, each with its own weight. Inputs are
    float ``[N, ...]``, targets ``[N, K]``, weights ``[N]``, above 0; the larger alpha, the more even the mixture.
    """
    partner, share = rng.permutation(len(inputs)), np.float32(rng.beta(alpha, alpha))
    mixed = share * inputs + (1 - share) * inputs[partner]
    mine, theirs = share * weights, (1 - share) * weights[partner]
    together = mine + theirs
    mixed_targets = (mine[:, None] * targets + theirs[:, None] * targets[partner]) / together[:, None]
    return mixed, mixed_targets, together


def fill_up(
    inputs: np.ndarray, targets: np.ndarray, weights: np.ndarray, devices: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pad a batch of ``n`` images by repeating some, so that each device gets equally many.

    Keras takes the mean over the share of each device, then over the devices. What is added counts nothing, and the
    others as much more as the mean is then taken over more of them: so the loss and its gradient stay those of the
    batch on one device. Metrics without weights count an image twice that was added.
    """
    count = len(inputs)
    filled = devices * math.ceil(count / devices)
    if filled == count:
        return inputs, targets, weights
    places = np.resize(np.arange(count), filled)
    counted = np.where(np.arange(filled) < count, weights[places] * np.float32(filled / count), np.float32(0))
    return inputs[places], targets[places], counted


SECONDS_BETWEEN_EVENTS = 0.3


@dataclass(frozen=True)
class Images:
    """The readable images of one split."""

    items: list[Item]  # N of them, where they come from
    pixels: np.ndarray  # float32 ``[N, H, W, 1]``, 0..1; perhaps on disk, and not to be written to
    labels: np.ndarray  # int64 ``[N]``, indices of the classes


@dataclass
class TrainingData:
    """The training, validation and test images of a run."""

    dataset: Dataset  # where all of it comes from
    # The images that have been read
    train: Images
    val: Images
    test: Sequence[Item]  # what is read once training is over
    # By which each image of ``train``, then of ``val``, is known again
    hashes: list[bytes] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what was split and left out, for people

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

    Raises DatasetError where the dataset is not there, goes away meanwhile, or has a class without a readable image.
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
