"""A training run: its folder, its process, its events.

``runs/NAME/`` holds ``config.json``, ``events.jsonl``, ``checkpoint/`` and ``log.txt``. What a run is doing is derived
from its events and from whether its process lives, so a crash cannot leave a state that lies. The run goes on without
the program that started it.
"""

import _thread
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from filelock import FileLock

from covid_cnn.common import paths, storage
from covid_cnn.common.errors import RunError
from covid_cnn.runs import machine
from covid_cnn.runs.config import TrainConfig
from covid_cnn.runs.events import START_EVENTS, Event, EventLog, read_events

ACTIVE = ("starting", "waiting", "running", "stopping")
# A run that no process has taken up this long after it was made will not be.
SECONDS_TO_START = 10
# What is kept free for a run that starts beside others: a guess at what TensorFlow, the images and
# the activations take; the training of the default model took 2.0 GB at most (`benchmarks.default_model`).
MEMORY_OF_A_RUN = 3 * 2**30
CORES_OF_A_RUN = 2
# Written in the log before TensorFlow is loaded.
STARTING_TENSORFLOW = "Starting TensorFlow."
NAME = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}"
# What TensorFlow tells of itself; its errors (E) and what Python says are told to people.
CHATTER = re.compile(
    r"[IW]\d{4} \d\d:|\d{4}-\d\d-\d\d \S+ [IW] |WARNING: All log messages before absl|To enable the following inst"
    r"|.*failed call to cuInit|$"
)
FULL_DISK = 2**20  # bytes; with less left, nothing of use can be written


class Run:
    """One run, by its folder. Every look reads the folder anew, so any process may look."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name
        self.listener: Callable[[dict[str, Any]], None] | None = None

    @property
    def config(self) -> TrainConfig:
        """The settings of the run; raises RunError where its config.json cannot be read."""
        try:
            return TrainConfig.of(**json.loads((self.folder / "config.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise RunError(f"The settings of run {self.name} cannot be read: delete its folder.") from error

    @property
    def checkpoint(self) -> Path:
        """The folder of the checkpoint."""
        return self.folder / "checkpoint"

    @property
    def journal(self) -> EventLog:
        """What the events tell so far."""
        return read_events(self._events_file)

    @property
    def _events_file(self) -> Path:
        return self.folder / "events.jsonl"

    def append(self, type: str, **fields: Any) -> Event:
        """Add and return an event: one JSON object a line, in one write, of which a full disk leaves nothing."""
        event = {"time": time.time(), "type": type, **fields}
        line = (json.dumps(event) + "\n").encode()
        with self._events_file.open("ab", buffering=0) as file:
            size = file.tell()
            if file.write(line) < len(line):
                file.truncate(size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._events_file))
        self._notify(event)
        return event

    def log(self, message: str) -> None:
        """Add a line to the log."""
        with (self.folder / "log.txt").open("a", encoding="utf-8") as file:
            file.write(f"{datetime.now(UTC):%H:%M:%S} {message}\n")
        self._notify({"type": "log", "message": message})

    def _notify(self, event: dict[str, Any]) -> None:
        if self.listener:
            self.listener(event)

    def events(self) -> list[Event]:
        """All events so far. A line that is being written, or was when the machine failed, is left out."""
        try:
            lines = self._events_file.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        events = []
        for line in lines:
            try:
                events.append(json.loads(line))
            except ValueError:
                continue
        return events

    def state(self) -> str:
        """One of starting, waiting, running, stopping, finished, stopped, failed, and died (without a last word)."""
        marks = self.journal.marks
        taken = max((i for i, event in enumerate(marks) if event["type"] in START_EVENTS), default=None)
        if taken is None:
            age = time.time() - (self.folder / "config.json").stat().st_mtime
            return "died" if age >= SECONDS_TO_START else "stopping" if self.stop_requested() else "starting"
        types = {event["type"] for event in marks[taken:]}
        if "failed" in types:
            return "failed"
        if "exported" in types:
            return "stopped" if "stopped" in types else "finished"
        if _alive(marks[taken]):
            if "stopped" in types or self.stop_requested():
                return "stopping"
            return {"launched": "starting", "queued": "waiting", "started": "running"}[marks[taken]["type"]]
        return "stopped" if "stopped" in types else "died"

    def failure_reason(self) -> str:
        """What ended the process of a run that died, in a sentence, as far as that can be told afterwards."""
        taken_up = max((event["time"] for event in self.journal.marks if event["type"] in START_EVENTS), default=0.0)
        if shutil.disk_usage(self.folder).free < FULL_DISK:
            return "The disk is full: free some space, and resume the run."
        if "Fatal Python error" in self.log_tail(1000).rpartition(STARTING_TENSORFLOW)[2]:
            return "TensorFlow or Python crashed: the end of the log says where."
        if taken_up < psutil.boot_time():
            return "The machine was switched off or restarted."
        return "Its process was ended from outside, by a person or because the memory of the machine ran out."

    def classes(self) -> list[str]:
        """The names of the classes, in their order; none before the images are read."""
        read = self.journal.latest("read")
        return read["classes"] if read else []

    @property
    def note(self) -> str:
        """What a person has written about the run."""
        try:
            return (self.folder / "note.txt").read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    @note.setter
    def note(self, text: str) -> None:
        storage.write_atomically(self.folder / "note.txt", text)

    def log_tail(self, lines: int = 15) -> str:
        """The end of the log, without what TensorFlow says for its own developers."""
        try:
            log = (self.folder / "log.txt").read_text("utf-8", "replace")
        except FileNotFoundError:
            return ""
        return "\n".join([line for line in log.splitlines() if not CHATTER.match(line)][-lines:])

    @property
    def _stop_file(self) -> Path:
        return self.folder / "stop"

    def request_stop(self) -> None:
        """Ask the run to stop; it does within a step, and keeps the best weights so far."""
        self._stop_file.touch()

    def stop_requested(self) -> bool:
        """Whether somebody has asked the run to stop."""
        return self._stop_file.exists()

    def forget_stop(self) -> None:
        """Take back a request to stop, to go on with the run."""
        self._stop_file.unlink(missing_ok=True)

    def begin(self) -> None:
        """Take the run up in this process, as soon as the machine can carry it.

        Raises
        ------
        RunError
            Another process is at work on it.
        """
        with _lock():
            self._refuse_to_go_on()
            self._end_last_line()
            others = runs_ahead(self)
            self.append("queued" if others else "started", **_identity())
        told = ""
        while others:
            if (line := f"Waiting for {', '.join(other.name for other in others)}.") != told:
                self.log(line)
                told = line
            time.sleep(0.5)
            with _lock():
                others = runs_ahead(self)
                if not others:
                    self.append("started", **_identity())

    def _refuse_to_go_on(self) -> None:
        """Raise RunError where the run is finished, or another process than the one that launched this is at work."""
        if self.state() == "finished":
            raise RunError(f"Run {self.name} is finished: there is nothing left to train in it. Start a new one.")
        taken = [event for event in self.journal.marks if event["type"] in START_EVENTS]
        mine = taken and taken[-1]["type"] == "launched" and taken[-1]["pid"] in (os.getpid(), os.getppid())
        if taken and self.state() in ACTIVE and not mine:
            raise RunError(f"Run {self.name} is already at work in another process: wait for it or stop it.")

    def _end_last_line(self) -> None:
        """End a line that was being written when the machine failed, or it would swallow the next event."""
        if self._events_file.exists():
            with self._events_file.open("rb+") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - 1))
                if file.read() not in (b"", b"\n"):
                    file.write(b"\n")


def create_run(config: TrainConfig, name: str | None = None) -> Run:
    """Make the folder of a new run, called ``name`` or after what it trains; raises RunError if the name is taken."""
    if name is not None:
        if not re.fullmatch(NAME, name):
            raise RunError(f"{name} cannot name a run: use up to 100 letters, digits, dots, dashes and underscores.")
        if not _claim(name):
            raise RunError(f"There is already a run or a model called {name}: choose another name.")
    else:
        dataset = re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(config.data).name)
        stem = f"{config.network}-{dataset}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        # A whole class may start within a second.
        name = next(name for name in (stem, *(f"{stem}-{n}" for n in range(2, 1000))) if _claim(name))
    folder = paths.runs_dir() / name
    storage.write_atomically(folder / "config.json", json.dumps(asdict(config), indent=2) + "\n")
    return Run(folder)


def _claim(name: str) -> bool:
    """Make the folder of a run; False where a run or a model has the name. Of several who try, one gets it."""
    if (paths.models_dir() / name).exists():
        return False
    try:
        (paths.runs_dir() / name).mkdir(parents=True)
    except FileExistsError:
        return False
    return True


def open_run(name: str) -> Run:
    """The run called ``name``; raises RunError if there is none."""
    folder = paths.runs_dir() / Path(name).name
    if not (folder / "config.json").is_file():
        raise RunError(f"There is no run called {name} under runs/.")
    return Run(folder)


def discover_runs() -> list[Run]:
    """All runs, the newest first."""
    folders = [path.parent for path in paths.runs_dir().glob("[!.]*/config.json")]
    return [Run(folder) for folder in sorted(folders, key=lambda f: (f / "config.json").stat().st_mtime, reverse=True)]


def rename_run(run: Run, name: str) -> Run:
    """Give a run at rest another name; the model that it made keeps its own. Raises RunError."""
    if not re.fullmatch(NAME, name):
        raise RunError(f"{name} cannot name a run: use up to 100 letters, digits, dots, dashes and underscores.")
    with _lock():
        _refuse_if_active(run, "renamed")
        if (paths.runs_dir() / name).exists() or (paths.models_dir() / name).exists():
            raise RunError(f"There is already a run or a model called {name}: choose another name.")
        return Run(run.folder.rename(paths.runs_dir() / name))


def delete_run(run: Run) -> None:
    """Delete a run at rest, with its curves and checkpoint; the model that it made stays. Raises RunError."""
    with _lock():
        _refuse_if_active(run, "deleted")
        # Renamed first, so that there is never half a run.
        hidden = run.folder.rename(run.folder.with_name(f".deleted-{run.name}"))
    shutil.rmtree(hidden, ignore_errors=True)


def _refuse_if_active(run: Run, what: str) -> None:
    if run.state() in ACTIVE:
        raise RunError(f"Run {run.name} is at work: stop it before it is {what}.")


def start_run(config: TrainConfig, name: str | None = None) -> Run:
    """Make a run and train it in a process of its own, which outlives this one."""
    run = create_run(config, name)
    resume_run(run)
    return run


def resume_run(run: Run) -> None:
    """Go on with a run, from its last checkpoint or from the beginning, in a process of its own.

    Raises
    ------
    RunError
        A process is at work on it, or none can be started.
    """
    command = [sys.executable, "-m", "covid_cnn", "train", "--resume", run.name, "--quiet"]
    # With its fault handler Python tells in the log of a crash of TensorFlow.
    environment = os.environ | {"COVID_CNN_HOME": str(paths.home()), "TF_CPP_MIN_LOG_LEVEL": "2"}
    environment["PYTHONFAULTHANDLER"] = "1"
    package = str(Path(__file__).resolve().parents[2])
    # The new process speaks only when the lock is free, and so after it has been named here.
    with _lock(), (run.folder / "log.txt").open("ab") as log:
        run._refuse_to_go_on()
        run.forget_stop()
        try:
            process = subprocess.Popen(
                command,
                cwd=package,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise RunError(f"No process could be started for run {run.name}: {error.strerror}.") from error
        run._end_last_line()
        run.append("launched", **_identity(process.pid))


def runs_ahead(run: Run | None = None) -> list[Run]:
    """The runs that ``run``, or a new one, has to wait for: none if the machine can carry it beside those at work.

    It can if each has ``CORES_OF_A_RUN`` cores, and ``MEMORY_OF_A_RUN`` is free for each that begins; one run it
    always carries. Who came first goes first.
    """
    working, waiting = [], []
    mine = run.journal.latest("queued") if run and run.state() == "waiting" else None
    for other in discover_runs():
        state, marks = other.state(), other.journal.marks
        taken = [event for event in marks if event["type"] in START_EVENTS]
        # A process works on one run at a time.
        if (run and other.folder == run.folder) or state not in ACTIVE or not taken or taken[-1]["pid"] == os.getpid():
            continue
        if taken[-1]["type"] == "started":
            working.append(other)
        elif taken[-1]["type"] == "queued" and (mine is None or taken[-1]["time"] < mine["time"]):
            waiting.append(other)
    cores = machine.cores() // CORES_OF_A_RUN
    memory = len(working) + machine.available_memory() // MEMORY_OF_A_RUN
    before = working + waiting
    return before if len(before) >= max(1, min(cores, memory)) else []


@contextmanager
def interruptible(run: Run) -> Iterator[None]:
    """Within, a request to stop the run is the interrupt that Ctrl-C is: KeyboardInterrupt in the main thread.

    The request is a file, which works from any process on any system. The interrupt comes again after a while, for
    libraries that are being loaded may swallow it.
    """
    over, lock = threading.Event(), threading.Lock()

    def watch() -> None:
        while not over.wait(0.2):
            if run.stop_requested():
                with lock:
                    if not over.is_set():
                        _thread.interrupt_main()
                over.wait(2)

    # A process that was started in the background of a shell ignores the interrupt.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        with lock:
            over.set()
        signal.signal(signal.SIGINT, before)


def _lock() -> FileLock:
    """Held by who takes up a run, so that no two take up the same, or the same place. It goes with its process."""
    paths.runs_dir().mkdir(parents=True, exist_ok=True)
    return FileLock(paths.runs_dir() / ".lock")


def _identity(pid: int | None = None) -> dict[str, Any]:
    process = psutil.Process(pid)
    return {"pid": process.pid, "process_created": process.create_time()}


def _alive(started: dict[str, Any]) -> bool:
    """Whether the process that wrote the event lives. Its creation time tells it from a later one of its number."""
    try:
        process = psutil.Process(started["pid"])
        same = abs(process.create_time() - started["process_created"]) < 1
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
