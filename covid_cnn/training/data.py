"""The images in batches: read ahead, with their targets and weights, in an order that seed and epoch decide."""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from covid_cnn.common.jobs import map_ahead

S = TypeVar("S")
T = TypeVar("T")
AHEAD = 4  # batches; more would only take memory, for one that is late is waited for all the same
# Bytes of images that are kept in memory, 4000 of 256 x 256 pixels; more are kept on disk. Training and validation
# images may each take so much of the 3 GiB that a run is given.
IN_MEMORY = 2**30


def gather_images(images: Iterable[np.ndarray], shape: tuple[int, ...], folder: Path) -> np.ndarray:
    """The images together, in memory or, where they are too many for it, in a file that is mapped into it.

    The file has no name, so that it goes with the process that holds it, whatever ends that.

    Parameters
    ----------
    images : float32 ``shape[1:]`` each
    shape : of what is returned, if there are so many images as were hoped for; there may be fewer
    folder : where the file is, if there is one

    Returns
    -------
    float32 ``[number of images, *shape[1:]]``, the same wherever it is kept; not to be written to.

    Raises
    ------
    OSError
        The disk is full.
    """
    if 4 * int(np.prod(shape)) <= IN_MEMORY:
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


class Feed(AbstractContextManager, Generic[T]):
    """``make(part)`` for each part of a plan, in order, made ahead in other threads.

    The threads end with the ``with`` statement, also on an interrupt: what has begun is finished, the rest dropped.

    Parameters
    ----------
    plan : what is told of each batch; goes to the threads in order
    make : makes a batch; it must hang on nothing but its argument, for batches are made at the same time

    Attributes
    ----------
    waited : seconds for which the next batch was not ready when it was asked for
    """

    def __init__(self, plan: Iterable[S], make: Callable[[S], T]) -> None:
        self._batches = map_ahead(plan, make, most=AHEAD)
        self.waited = 0.0

    def __exit__(self, *_: object) -> None:
        self._batches.close()

    def __iter__(self) -> Iterator[T]:
        while True:
            began = time.perf_counter()
            try:
                batch = next(self._batches)
            except StopIteration:
                return
            finally:
                self.waited += time.perf_counter() - began
            yield batch


def one_hot_targets(labels: np.ndarray, classes: int, smoothing: float = 0.0) -> np.ndarray:
    """Targets float32 ``[N, K]``, each summing to 1, of labels int ``[N]``.

    With label smoothing (Szegedy et al. 2016), ``(1 - smoothing) onehot + smoothing / K``.
    """
    return ((1 - smoothing) * np.eye(classes)[labels] + smoothing / classes).astype(np.float32)


def as_output(targets: np.ndarray) -> np.ndarray:
    """Targets ``[N, K]`` in the form of the network's logits: of two classes the share of the second, ``[N, 1]``."""
    return targets[:, 1:] if targets.shape[1] == 2 else targets


def class_weights(labels: np.ndarray, classes: int, balance: str) -> np.ndarray:
    """What an image of each class counts, float32 ``[K]``: 1, or with ``balance`` "weights" ``N / (K N_k)``."""
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
        rounds = -(-len(places) // len(mine))
        shown[places] = np.concatenate([rng.permutation(mine) for _ in range(rounds)])[: len(places)]
    return shown


def mixup(
    inputs: np.ndarray, targets: np.ndarray, weights: np.ndarray, alpha: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mixup (Zhang et al. 2018): each image of a batch laid over another of it, and their targets likewise.

    With ``m ~ Beta(alpha, alpha)`` and a random partner j of every i::

        input = m input_i + (1 - m) input_j,    weight = m w_i + (1 - m) w_j
        target = (m w_i target_i + (1 - m) w_j target_j) / weight

    so that the weighted cross-entropy is what it would be of the two targets, each with its own weight.

    Parameters
    ----------
    inputs : float ``[N, ...]``, images or embeddings
    targets : float ``[N, K]``
    weights : float ``[N]``, above 0
    alpha : above 0; the larger, the more even the mixture
    """
    partner, share = rng.permutation(len(inputs)), np.float32(rng.beta(alpha, alpha))
    mixed = share * inputs + (1 - share) * inputs[partner]
    mine, theirs = share * weights, (1 - share) * weights[partner]
    together = mine + theirs
    answers = (mine[:, None] * targets + theirs[:, None] * targets[partner]) / together[:, None]
    return mixed, answers, together
