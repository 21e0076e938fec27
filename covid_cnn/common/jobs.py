"""An ordered map that works ahead in threads, and background jobs that report progress and can be stopped."""

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from covid_cnn.common.errors import CovidCnnError

T = TypeVar("T")
# Is told the part done (0..1) and a line about it; what it raises stops the work.
Progress = Callable[[float, str], None]
Work = Callable[[Progress], T]


def unwatched(part: float, message: str) -> None:
    """The `Progress` of work that nobody watches."""


class StoppedError(CovidCnnError):
    """The job was asked to stop."""


class Job(Generic[T]):
    """A function that runs in a thread of its own from the moment this is made.

    Its `Progress` raises `StoppedError` once somebody asked the work to stop.
    """

    def __init__(self, work: Work[T]) -> None:
        self.part, self.message = 0.0, "Starting"  # what the work told last
        self.result: T | None = None  # what it returned; None until then
        self.problem = ""  # why it ended without a result, in a sentence; empty where it did not
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether the work is still going on."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Ask the job to stop; it does at its next report of progress."""
        self._stop.set()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until it ends, or so long."""
        self._thread.join(seconds)

    def _run(self, work: Work[T]) -> None:
        try:
            self.result = work(self._report)
        except CovidCnnError as error:
            self.problem = str(error)
        except Exception:
            logging.getLogger(__name__).exception("A job failed")
            self.problem = "Something went wrong inside the program; the log of the server tells what."

    def _report(self, part: float, message: str) -> None:
        self.part, self.message = part, message
        if self._stop.is_set():
            raise StoppedError("Stopped. What was done so far is kept.")


S = TypeVar("S")


def map_ahead(items: Iterable[S], work: Callable[[S], T], most: int | None = None) -> Generator[T, None, None]:
    """``work(item)`` for each item, in order, a few of them ahead in other threads, whatever their number.

    The items are taken in order, in the thread that iterates. ``most`` are ahead, by default twice the cores. When the
    iterator is closed, what has not begun is dropped.
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
