"""What the events of a run tell, read as they are written: each look reads only what is new.

A long run tells of a hundred thousand steps, and a page that is drawn every second cannot read them all each time.
"""

import json
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np

Event = dict[str, Any]
# With these a process takes a run up; the time before them is a pause.
START_EVENTS = ("launched", "queued", "started")
COLUMNS = ("step", "epoch", "loss", "accuracy", "time", "learning_rate")


class EventLog:
    """The events of one run, so far.

    Of what was trained again after a resume, only the last time counts. Several threads may look at once.

    Attributes
    ----------
    marks : the events that are neither of a step, nor of an epoch, nor of the progress before these
    epochs : the events of the epochs
    last : the last event; None where there is none
    total : number of steps that the run has in all, 0 while it is not known
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._inode, self._offset = 0, 0
        self._steps: list[tuple[float, ...]] = []
        self._worked = 0.0
        self.marks: list[Event] = []
        self.epochs: list[Event] = []
        self.last: Event | None = None
        self.total = 0

    def read(self) -> "EventLog":
        """Take in what was written since the last look. A line without its end is left for the next one."""
        with self._lock:
            try:
                with self.file.open("rb") as opened:
                    self._read(opened.fileno())
            except FileNotFoundError:
                self._forget()
        return self

    def _read(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        if status.st_ino != self._inode or status.st_size < self._offset:
            self._forget()
            self._inode = status.st_ino
        if status.st_size == self._offset:
            return
        os.lseek(descriptor, self._offset, os.SEEK_SET)
        text = os.read(descriptor, status.st_size - self._offset)
        text = text[: text.rfind(b"\n") + 1]
        self._offset += len(text)
        for line in text.splitlines():
            try:
                self._take(json.loads(line))
            except (ValueError, KeyError, TypeError):  # cut off when the machine failed
                continue

    def _take(self, event: Event) -> None:
        kind = event["type"]
        if self.last and kind not in START_EVENTS:
            self._worked += event["time"] - self.last["time"]
        if kind in ("step", "epoch"):
            # An epoch ends with the number of its last step, and is told after it.
            first = event["step"] + (kind == "epoch")
            while self._steps and self._steps[-1][0] >= first:
                self._steps.pop()
            while self.epochs and self.epochs[-1]["step"] >= event["step"]:
                self.epochs.pop()
        if kind == "step":
            self._steps.append(tuple(event.get(column, np.nan) for column in COLUMNS))
            self.total = event.get("steps", self.total)
        elif kind == "epoch":
            self.epochs.append(event)
        elif kind != "progress":  # of which only the last tells anything
            self.marks.append(event)
        self.last = event

    def steps(self) -> dict[str, np.ndarray]:
        """The columns ``COLUMNS`` of the steps, each float64 ``[N]``; NaN where a step does not tell."""
        with self._lock:
            table = np.array(self._steps, np.float64).reshape(-1, len(COLUMNS))
        return dict(zip(COLUMNS, table.T, strict=True))

    @property
    def done(self) -> int:
        """The number of the last step."""
        with self._lock:
            return int(self._steps[-1][0]) if self._steps else 0

    @property
    def epoch(self) -> int:
        """The epoch of the last step."""
        with self._lock:
            return int(self._steps[-1][1]) if self._steps else 0

    @property
    def learning_rate(self) -> float | None:
        """The learning rate of the last step; None where it was not told."""
        with self._lock:
            rate = self._steps[-1][COLUMNS.index("learning_rate")] if self._steps else np.nan
        return None if np.isnan(rate) else rate

    @property
    def progress(self) -> Event | None:
        """What is being done before the first step, ``what``, and of it ``done`` of ``total``; None if nothing is."""
        return self.last if self.last and self.last["type"] == "progress" else None

    @property
    def best(self) -> Event | None:
        """The epoch of the lowest validation loss."""
        return min(self.epochs, key=lambda event: event["val_loss"], default=None)

    def first(self, kind: str) -> Event | None:
        """The first mark of a type."""
        return next((event for event in self.marks if event["type"] == kind), None)

    def latest(self, kind: str) -> Event | None:
        """The last mark of a type."""
        return next((event for event in reversed(self.marks) if event["type"] == kind), None)

    def seconds_at_work(self, now: float | None = None) -> float:
        """The time between the events, without the pauses that a resume ended; up to ``now`` for a run at work."""
        return self._worked + (max(0.0, now - self.last["time"]) if now is not None and self.last else 0.0)

    def seconds_left(self) -> float | None:
        """The time that the steps which are left take at the pace of the last epoch; None while it is not known."""
        steps, started = self.steps(), self.latest("started")
        recent = steps["time"] > (started["time"] if started else 0.0)
        epoch, when = steps["epoch"][recent], steps["time"][recent]
        when = when[epoch >= epoch[-1] - 1] if len(epoch) else when
        if len(when) < 2:
            return None
        return float((when[-1] - when[0]) / (len(when) - 1) * (self.total - self.done))


_logs: dict[Path, EventLog] = {}


def read_events(file: Path) -> EventLog:
    """The journal of an events file, one for the whole process, with what is new taken in."""
    return _logs.setdefault(file, EventLog(file)).read()
