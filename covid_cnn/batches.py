"""The batches of an epoch: made in the background while the network learns from earlier ones, and timed."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Generic, TypeVar

from covid_cnn.reading import ahead

S = TypeVar("S")
T = TypeVar("T")

AHEAD = 4  # batches; more would only take memory, for one that is late is waited for all the same


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
