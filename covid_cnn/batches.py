"""What batches are made of and how: images decoded once, batches made in the background while the network learns."""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from covid_cnn.reading import ahead

S = TypeVar("S")
T = TypeVar("T")

AHEAD = 4  # batches; more would only take memory, for one that is late is waited for all the same

# Bytes of images that are kept in memory, 4000 of 256 x 256 pixels; more are kept on disk. Training and validation
# images may each take so much of the 3 GiB that a run is given.
IN_MEMORY = 2**30


def gather(images: Iterable[np.ndarray], shape: tuple[int, ...], folder: Path) -> np.ndarray:
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
        self._batches = ahead(plan, make, most=AHEAD)
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
