"""What the events of a run tell, read as they are written: each look reads only what is new.

A long run tells of a hundred thousand steps, and a page that is drawn every second cannot read them all each time. Each
event is checked as it is read; what is none of these, whatever wrote it, is passed over and counted.
"""

import os
import stat
import threading
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import numpy as np
from msgspec import Meta

from covid_cnn.common.statistics import Count, Interval

NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}"  # of a run, and of the model that it makes
LONGEST = 2**20  # bytes of a line; an event has a few hundred
Positive = Annotated[int, Meta(ge=1, le=10**12)]
Share = Annotated[float, Meta(ge=0, le=1)]
Number = Annotated[float, Meta(ge=-1e39, le=1e39)]  # as float32 has them
Seconds = Annotated[float, Meta(ge=0, le=1e11)]


class Event(msgspec.Struct, tag_field="type", tag=str.lower, kw_only=True):
    """Something that a run tells, ``time`` seconds after 1970; its ``type`` is the name of its class."""

    time: Seconds

    @property
    def type(self) -> str:
        """What it tells of."""
        return str(self.__struct_config__.tag)


class Launched(Event):
    """A process is started for the run."""


class Queued(Event):
    """A process has taken it up, and waits for its turn."""


class Started(Event):
    """A process is at work on it."""


class Progress(Event):
    """How far the work before the first step is: ``done`` of ``total``."""

    what: str
    done: Count
    total: Positive

    def __post_init__(self) -> None:
        if self.done > self.total:
            raise ValueError("more is done than there is")


class Read(Event):
    """The images are read: so many to train on and to validate with, of these classes."""

    classes: list[str]
    train: Positive
    val: Positive


class Step(Event):
    """One step of gradient descent, of ``steps`` in all; a ``learning_rate`` that is not told is NaN."""

    epoch: Positive
    step: Count
    loss: Number
    accuracy: Share
    steps: Count = 0
    learning_rate: Number = np.nan


class Epoch(Event):
    """An epoch, which ends with its last ``step``, the ``best`` so far, and how much of its time it ``waited``."""

    epoch: Positive
    step: Count
    loss: Number
    accuracy: Share
    val_loss: Number
    val_accuracy: Share
    best: Count = 0
    seconds: Number = np.nan
    waited: Number = np.nan


class Report(msgspec.Struct):
    """What is read of the report of a test."""

    accuracy: Interval | None = None


class Evaluated(Event, tag="test"):
    """The exported model is tested."""

    metrics: Report


class Early(Event):
    """The training ends before its last epoch."""

    message: str


class Exported(Event):
    """The weights of an epoch are the bundle ``models/MODEL``."""

    model: Annotated[str, Meta(pattern=rf"^{NAME}\Z")] = ""
    epoch: Count = 0


class Stopped(Event):
    """A person has stopped the run."""

    message: str = ""


class Failed(Event):
    """The run cannot go on."""

    message: str = ""


# With these a process takes a run up; the time before them is a pause.
START_EVENTS = (Launched, Queued, Started)
DECODER = msgspec.json.Decoder(
    Launched | Queued | Started | Progress | Read | Step | Epoch | Evaluated | Early | Exported | Stopped | Failed
)
COLUMNS = ("step", "epoch", "loss", "accuracy", "time", "learning_rate")
Kind = TypeVar("Kind", bound=Event)


class EventLog:
    """The events of one run, so far.

    Of what was trained again after a resume, only the last time counts. Several threads may look at once.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._inode, self._offset, self._within_long_line = 0, 0, False
        self._steps: list[Step] = []
        self._worked = 0.0
        self.marks: list[Event] = []  # that are neither of a step, nor of an epoch, nor of the progress before these
        self.epochs: list[Epoch] = []
        self.last: Event | None = None
        self.total = 0  # number of steps that the run has in all, 0 while it is not known
        self.damaged = 0  # number of lines that are no events

    def read(self) -> "EventLog":
        """Take in what was written since the last look. A line without its end is left for the next one."""
        with self._lock:
            try:
                # A pipe that nobody writes to is not waited for.
                descriptor = os.open(self.file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
            except OSError:
                self._forget()
                return self
            try:
                self._read(descriptor)
            finally:
                os.close(descriptor)
        return self

    def _read(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        if status.st_ino != self._inode or status.st_size < self._offset:
            self._forget()
            self._inode = status.st_ino
        if not stat.S_ISREG(status.st_mode) or status.st_size == self._offset:
            return
        with os.fdopen(descriptor, "rb", 2**16, closefd=False) as opened:
            opened.seek(self._offset)
            while line := opened.readline(LONGEST):
                whole = line.endswith(b"\n")
                if not whole and len(line) < LONGEST and not self._within_long_line:
                    return
                self._offset += len(line)
                if whole and not self._within_long_line:
                    self._take_line(line)
                elif whole:
                    self._within_long_line = False
                else:
                    self.damaged += not self._within_long_line
                    self._within_long_line = True

    def _take_line(self, line: bytes) -> None:
        try:
            event = DECODER.decode(line)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            self.damaged += 1
        else:
            self._take(event)

    def _take(self, event: Event) -> None:
        if self.last and not isinstance(event, START_EVENTS):
            self._worked += max(0.0, event.time - self.last.time)
        if isinstance(event, Step | Epoch):
            # An epoch ends with the number of its last step, and is told after it.
            first = event.step + isinstance(event, Epoch)
            while self._steps and self._steps[-1].step >= first:
                self._steps.pop()
            while self.epochs and self.epochs[-1].step >= event.step:
                self.epochs.pop()
        if isinstance(event, Step):
            self._steps.append(event)
            self.total = event.steps or self.total
        elif isinstance(event, Epoch):
            self.epochs.append(event)
        elif not isinstance(event, Progress):  # of which only the last tells anything
            self.marks.append(event)
        self.last = event

    def steps(self) -> dict[str, np.ndarray]:
        """The columns ``COLUMNS`` of the steps, each float64 ``[N]``; NaN where a step does not tell."""
        with self._lock:
            rows = [(s.step, s.epoch, s.loss, s.accuracy, s.time, s.learning_rate) for s in self._steps]
        return dict(zip(COLUMNS, np.array(rows, np.float64).reshape(-1, len(COLUMNS)).T, strict=True))

    def _last_step(self) -> Step | None:
        with self._lock:
            return self._steps[-1] if self._steps else None

    @property
    def done(self) -> int:
        """The number of the last step."""
        return step.step if (step := self._last_step()) else 0

    @property
    def epoch(self) -> int:
        """The epoch of the last step."""
        return step.epoch if (step := self._last_step()) else 0

    @property
    def learning_rate(self) -> float | None:
        """The learning rate of the last step; None where it was not told."""
        step = self._last_step()
        return None if step is None or np.isnan(step.learning_rate) else step.learning_rate

    @property
    def progress(self) -> Progress | None:
        """What is being done before the first step; None if nothing is."""
        return self.last if isinstance(self.last, Progress) else None

    @property
    def best(self) -> Epoch | None:
        """The epoch of the lowest validation loss."""
        return min(self.epochs, key=lambda event: event.val_loss, default=None)

    def latest(self, kind: type[Kind]) -> Kind | None:
        """The last mark of a class; None where there is none."""
        return next((event for event in reversed(self.marks) if isinstance(event, kind)), None)

    def seconds_at_work(self, now: float | None = None) -> float:
        """The time between the events, without the pauses that a resume ended; up to ``now`` for a run at work."""
        return self._worked + (max(0.0, now - self.last.time) if now is not None and self.last else 0.0)

    def seconds_left(self) -> float | None:
        """The time that the steps which are left take at the pace of the last epoch; None while it is not known."""
        steps, started = self.steps(), self.latest(Started)
        recent = steps["time"] > (started.time if started else 0.0)
        epoch, when = steps["epoch"][recent], steps["time"][recent]
        when = when[epoch >= epoch[-1] - 1] if len(epoch) else when
        if len(when) < 2:
            return None
        return max(0.0, float((when[-1] - when[0]) / (len(when) - 1) * (self.total - self.done)))


_logs: dict[Path, EventLog] = {}


def read_events(file: Path) -> EventLog:
    """The journal of an events file, one for the whole process, with what is new taken in."""
    return _logs.setdefault(file, EventLog(file)).read()
