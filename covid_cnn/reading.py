"""Read many images in the background, while what was read before is worked on."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from covid_cnn import imaging
from covid_cnn.errors import ImageError
from covid_cnn.imaging import Radiograph

S = TypeVar("S")
T = TypeVar("T")


def ahead(items: Iterable[S], work: Callable[[S], T], most: int | None = None) -> Generator[T, None, None]:
    """``work(item)`` for each item, in order, a few of them ahead in other threads, whatever their number.

    When the iterator is closed, what has not begun is dropped.

    Parameters
    ----------
    items : taken in order, in the thread that iterates
    work : done in the other threads
    most : how many are ahead, by default twice the cores
    """
    workers = os.cpu_count() or 1
    most = most or 2 * workers
    pending: deque[Future[T]] = deque()
    with ThreadPoolExecutor(min(workers, most)) as pool:
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) > most:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def read_ahead(files: Iterable[Path], then: Callable[[Radiograph], T]) -> Generator[T | ImageError, None, None]:
    """``then(radiograph)`` for each file, in order; for one that cannot be read, its error.

    Decoding leaves Python's lock, so threads use all cores. Only a few images are held at a time, whatever their
    number.
    """
    return ahead(files, partial(_read, then))


def _read(then: Callable[[Radiograph], T], file: Path) -> T | ImageError:
    try:
        return then(imaging.read(file))
    except ImageError as error:
        return error
