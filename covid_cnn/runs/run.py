"""A training run: its folder, its process, its events.

``runs/NAME/`` holds ``config.json``, ``events.jsonl``, ``checkpoint/`` and ``log.txt``. What a run is doing is derived
from its events and from the lock that its process holds for its life, so neither a crash nor a clock can leave a state
that lies. The run goes on without the program that started it.
"""

import _thread
import contextlib
import errno
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from covid_cnn.common import paths, storage
from covid_cnn.common.errors import RunError
from covid_cnn.common.locks import CAN_HAND_OVER, ProcessLock
from covid_cnn.runs.config import TrainConfig
from covid_cnn.runs.events import NAME, START_EVENTS, EventLog, Launched, Queued, Read, Started, read_events

ACTIVE = ("starting", "waiting", "running", "stopping")
AT_ONCE = "COVID_CNN_RUNS_AT_ONCE"  # how many runs may learn at the same time; the others wait
SECONDS_TO_START = 10  # that a new process has where its lock cannot be handed to it
# Written in the log before TensorFlow is loaded.
STARTING_TENSORFLOW = "Starting TensorFlow."
# What TensorFlow tells of itself; its errors (E) and what Python says are told to people.
CHATTER = re.compile(
    r"[IW]\d{4} \d\d:|\d{4}-\d\d-\d\d \S+ [IW] |WARNING: All log messages before absl|To enable the following inst"
    r"|.*failed call to cuInit|$"
)
MOST_SETTINGS = 2**16  # bytes of a config.json; there are some hundred
MOST_LOG = 2**18  # bytes of the end of a log.txt or of a note that are read
FULL_DISK = 2**20  # bytes; with less left, nothing of use can be written


class Run:
    """One run, by its folder. Every look reads the folder anew, so any process may look."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name
        self.checkpoint = folder / "checkpoint"  # the folder of the checkpoint
        self._lock = ProcessLock(folder / "lock")
        self._events_file, self._stop_file = folder / "events.jsonl", folder / "stop"
        self.listener: Callable[[dict[str, Any]], None] | None = None

    @property
    def config(self) -> TrainConfig:
        """The settings of the run; raises RunError where its config.json cannot be read."""
        try:
            with (self.folder / "config.json").open("rb") as file:
                return TrainConfig.read(file.read(MOST_SETTINGS))
        except (OSError, ValueError, RecursionError, RunError) as error:
            reason = str(error).rstrip(".")
            raise RunError(
                f"The settings of run {self.name} cannot be read ({reason}): restore its config.json, or open it with "
                "the version of the program that made it."
            ) from error

    @property
    def journal(self) -> EventLog:
        """What the events tell so far."""
        return read_events(self._events_file)

    def append(self, type: str, **fields: Any) -> dict[str, Any]:
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

    def state(self) -> str:
        """One of starting, waiting, running, stopping, finished, stopped, failed, and died (without a last word)."""
        takings = self._takings()
        if any("exported" in types and "stopped" not in types for types in takings):
            return "finished"  # whatever another process says
        last = takings[-1]
        if "exported" in last:
            return "stopped"
        if "failed" in last:
            return "failed"
        if self._lock.is_held() or self._is_being_launched():
            if "stopped" in last or self.stop_requested():
                return "stopping"
            return {"queued": "waiting", "started": "running"}.get(last[0], "starting")
        return "stopped" if "stopped" in last else "died"

    def _takings(self) -> list[list[str]]:
        """The types of the events, a list for each time that a process took the run up; the first is of none."""
        takings = [[""]]
        for event in self.journal.marks:
            if isinstance(event, START_EVENTS):
                takings.append([])
            takings[-1].append(event.type)
        return takings

    def _is_being_launched(self) -> bool:
        """Whether a process that cannot be handed the lock has yet to take it."""
        last = self.journal.last
        return not CAN_HAND_OVER and isinstance(last, Launched) and time.time() - last.time < SECONDS_TO_START

    def failure_reason(self) -> str:
        """What ended the process of a run that died, in a sentence, as far as that can be told afterwards."""
        if shutil.disk_usage(self.folder).free < FULL_DISK:
            return "The disk is full: free some space, and resume the run."
        if "Fatal Python error" in self.log_tail(1000).rpartition(STARTING_TENSORFLOW)[2]:
            return "TensorFlow or Python crashed: the end of the log says where."
        return "Its process was ended from outside: by a person, with the machine, or because memory ran out."

    def classes(self) -> list[str]:
        """The names of the classes, in their order; none before the images are read."""
        read = self.journal.latest(Read)
        return read.classes if read else []

    @property
    def note(self) -> str:
        """What a person has written about the run."""
        return self._read_end("note.txt")

    @note.setter
    def note(self, text: str) -> None:
        with _explained(f"The note of run {self.name} cannot be kept"):
            storage.write_atomically(self.folder / "note.txt", text)

    def log_tail(self, lines: int = 15) -> str:
        """The end of the log, without what TensorFlow says for its own developers."""
        log = self._read_end("log.txt")
        return "\n".join([line for line in log.splitlines() if not CHATTER.match(line)][-lines:])

    def _read_end(self, name: str) -> str:
        """The end of a text in the folder, whatever it holds; nothing where there is none."""
        file = self.folder / name
        try:
            if not file.is_file():  # a pipe would be waited for
                return ""
            with file.open("rb") as opened:
                opened.seek(max(0, file.stat().st_size - MOST_LOG))
                return opened.read(MOST_LOG).decode("utf-8", "replace")
        except OSError:
            return ""

    def request_stop(self) -> None:
        """Ask the run to stop; it does within a step, and keeps the best weights so far. Raises RunError."""
        with _explained(f"Run {self.name} cannot be stopped"):
            self._stop_file.touch()

    def stop_requested(self) -> bool:
        """Whether somebody has asked the run to stop."""
        return self._stop_file.exists()

    def forget_stop(self) -> None:
        """Take back a request to stop, to go on with the run."""
        self._stop_file.unlink(missing_ok=True)

    def begin(self) -> None:
        """Take the run up in this process, which holds its lock from now on, as soon as it is the run's turn.

        Raises RunError where another process is at work on it, or it is finished.
        """
        with _queue_lock():
            for_this_process = self._lock.is_mine() or self._is_being_launched()
            self._take()
            if not for_this_process:
                self.forget_stop()
            others = runs_ahead(self)
            self.append("queued" if others else "started", pid=os.getpid())
        logged = ""
        while others:
            if (line := f"Waiting for {', '.join(other.name for other in others)}.") != logged:
                self.log(line)
                logged = line
            time.sleep(0.5)
            with _queue_lock():
                others = runs_ahead(self)
                if not others:
                    self.append("started", pid=os.getpid())

    def _take(self) -> None:
        """Take the lock; raises RunError where another process has it, or the run is finished."""
        state = self.state()
        if state == "finished":
            raise RunError(f"Run {self.name} is finished: there is nothing left to train in it. Start a new one.")
        if state in ("waiting", "running") or not self._lock.take():
            raise RunError(f"Run {self.name} is already at work in another process: wait for it or stop it.")
        if self._events_file.exists():
            with self._events_file.open("rb+") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - 1))
                if file.read() not in (b"", b"\n"):  # being written when the machine failed
                    file.write(b"\n")  # or it would swallow the next event

    def leave(self) -> None:
        """Leave the run to whoever takes it up next."""
        self._lock.release()


def create_run(config: TrainConfig, name: str | None = None) -> Run:
    """Make the folder of a new run, called ``name`` or after what it trains, whose lock this process has.

    Raises RunError where the name is taken or is no name, or nothing can be written under ``runs/``.
    """
    if name is not None:
        _check_name(name)
        if not _claim(name):
            what = "a run or a model" if _is_taken(name) else "a folder that is no run"
            raise RunError(f"There is already {what} called {name}: choose another name.")
    else:
        dataset = re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(config.data).name)
        stem = f"{config.network}-{dataset}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
        # A whole class may start within a second.
        name = next(name for name in (stem, *(f"{stem}-{n}" for n in range(2, 1000))) if _claim(name))
    run = Run(paths.runs_dir() / name)
    with _explained(f"Run {name} cannot be made"):
        run._take()
        storage.write_atomically(run.folder / "config.json", json.dumps(asdict(config), indent=2) + "\n")
    return run


def _check_name(name: str) -> None:
    if not re.fullmatch(NAME, name):
        raise RunError(f"{name} cannot name a run: use up to 100 letters, digits, dots, dashes and underscores.")


def _is_taken(name: str) -> bool:
    """Whether a run or a model has the name."""
    return (paths.models_dir() / name).exists() or (paths.runs_dir() / name / "config.json").exists()


def _claim(name: str) -> bool:
    """Make the folder of a run; False where a run or a model has the name. Of several who try, one gets it."""
    if _is_taken(name):
        return False
    with _explained(f"Run {name} cannot be made"):
        try:
            (paths.runs_dir() / name).mkdir(parents=True)
        except FileExistsError:
            if not paths.runs_dir().is_dir():
                raise
            return False
    return True


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    """Within, an error of the disk is a sentence that begins with ``what``."""
    try:
        yield
    except OSError as error:
        place = error.filename or "runs/"
        raise RunError(f"{what}: {error.strerror or error}. See that {place} can be used.") from error


def open_run(name: str) -> Run:
    """The run called ``name``; raises RunError if there is none."""
    folder = paths.runs_dir() / Path(name).name
    if not (folder / "config.json").is_file():
        raise RunError(f"There is no run called {name} under runs/.")
    return Run(folder)


def discover_runs() -> list[Run]:
    """All runs, the newest first."""
    made: dict[Path, float] = {}
    for file in paths.runs_dir().glob("[!.]*/config.json"):
        with contextlib.suppress(OSError):  # of one that is being deleted
            facts = file.stat()
            if stat.S_ISREG(facts.st_mode):
                made[file.parent] = facts.st_mtime
    return [Run(folder) for folder in sorted(made, key=made.__getitem__, reverse=True)]


def rename_run(run: Run, name: str) -> Run:
    """Give a run at rest another name; the model that it made keeps its own. Raises RunError."""
    _check_name(name)
    with _explained(f"Run {run.name} cannot be renamed"), _queue_lock():
        _refuse_if_active(run, "renamed")
        if (paths.runs_dir() / name).exists() or (paths.models_dir() / name).exists():
            raise RunError(f"There is already a run or a model called {name}: choose another name.")
        return Run(run.folder.rename(paths.runs_dir() / name))


def delete_run(run: Run) -> None:
    """Delete a run at rest, with its curves and checkpoint; the model that it made stays. Raises RunError."""
    with _explained(f"Run {run.name} cannot be deleted"), _queue_lock():
        _refuse_if_active(run, "deleted")
        # Renamed first, so that there is never half a run.
        run.folder.rename(run.folder.with_name(f".deleted-{run.name}-{time.time_ns()}"))
    for hidden in paths.runs_dir().glob(".deleted-*"):  # what an earlier time could not be deleted too
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

    Raises RunError where a process is at work on it, or none can be started.
    """
    command = [sys.executable, "-m", "covid_cnn", "train", "--resume", run.name, "--quiet"]
    package = str(Path(__file__).resolve().parents[2])
    # With its fault handler Python tells in the log of a crash of TensorFlow.
    environment = {"COVID_CNN_HOME": str(paths.home()), "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONFAULTHANDLER": "1"}
    with _explained(f"Run {run.name} cannot be started"):
        try:
            runs_at_once()  # or the new process alone would say what is wrong with it
            with _queue_lock(), (run.folder / "log.txt").open("ab") as log:
                run._take()
                run.forget_stop()
                run.append("launched")
                subprocess.Popen(
                    command,
                    cwd=package,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    **run._lock.handed_over(os.environ | environment),
                )
        finally:
            run.leave()


def runs_at_once() -> int:
    """How many runs may learn at the same time; raises RunError where the environment names no such number."""
    number = os.environ.get(AT_ONCE, "1")
    if not number.isdecimal() or int(number) < 1:
        raise RunError(f"{AT_ONCE} must be a whole number of at least 1, and is {number!r}: set it anew, or unset it.")
    return int(number)


def runs_ahead(run: Run | None = None) -> list[Run]:
    """The runs that ``run``, or a new one, has to wait for; none if it is its turn. Who came first goes first."""
    working, waiting = [], []
    mine = run.journal.latest(Queued) if run and run.state() == "waiting" else None
    for other in discover_runs():
        if (run and other.folder == run.folder) or other.state() not in ACTIVE:
            continue
        taken = next((event for event in reversed(other.journal.marks) if isinstance(event, START_EVENTS)), None)
        if isinstance(taken, Started):
            working.append(other)
        elif isinstance(taken, Queued) and (mine is None or taken.time < mine.time):
            waiting.append(other)
    before = working + waiting
    return before if len(before) >= runs_at_once() else []


@contextlib.contextmanager
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


def _queue_lock() -> FileLock:
    """Held by who takes up a run, so that no two take up the same, or the same place. It goes with its process."""
    paths.runs_dir().mkdir(parents=True, exist_ok=True)
    return FileLock(paths.runs_dir() / ".lock")
