"""Read many images in the background, while what was read before is worked on."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from covid_cnn import imaging
from covid_cnn.errors import ImageError
from covid_cnn.imaging import Radiograph

T = TypeVar("T")


def read_ahead(files: Iterable[Path], then: Callable[[Radiograph], T]) -> Iterator[T | ImageError]:
    """``then(radiograph)`` for each file, in order; for one that cannot be read, its error.

    Decoding leaves Python's lock, so threads use all cores. Only a few images are held at a time, whatever their
    number.
    """
    workers = os.cpu_count() or 1
    pending: deque[Future[T | ImageError]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for file in files:
            pending.append(pool.submit(partial(_read, file, then)))
            if len(pending) > 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _read(file: Path, then: Callable[[Radiograph], T]) -> T | ImageError:
    try:
        return then(imaging.read(file))
    except ImageError as error:
        return error
