"""Work that goes on in a thread while its starter goes on, and tells how far it is."""

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from covid_cnn.errors import CovidCnnError

T = TypeVar("T")
Progress = Callable[[float, str], None]
Work = Callable[[Progress], T]


class Stopped(CovidCnnError):
    """Somebody asked the work to stop."""


class Job(Generic[T]):
    """Work that begins at once.

    Parameters
    ----------
    work : called in a thread with a function to tell the part done (0..1) and a line about it; that function raises
        `Stopped` once somebody asked the work to stop.

    Attributes
    ----------
    part, message : what the work told last.
    result : what it returned; None until then.
    problem : why it ended without a result, in a sentence; empty where it did not.
    """

    def __init__(self, work: Work[T]) -> None:
        self.part, self.message, self.problem = 0.0, "Starting", ""
        self.result: T | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        """Ask it to stop; it does when it next tells how far it is."""
        self._stop.set()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until it ends, or so long."""
        self._thread.join(seconds)

    def _run(self, work: Work[T]) -> None:
        try:
            self.result = work(self._tell)
        except CovidCnnError as error:
            self.problem = str(error)
        except Exception:
            logging.getLogger(__name__).exception("A job failed")
            self.problem = "Something went wrong inside the program; the log of the server tells what."

    def _tell(self, part: float, message: str) -> None:
        self.part, self.message = part, message
        if self._stop.is_set():
            raise Stopped("Stopped. What was done so far is kept.")
