"""A training run: its folder, its process, its events.

``runs/NAME/`` holds ``config.json``, ``events.jsonl``, ``checkpoint/`` and ``log.txt``. What a run is doing is derived
from its events and from whether its process lives, so a crash cannot leave a state that lies. The run goes on without
the program that started it.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from covid_cnn import paths
from covid_cnn.augmentation import AUGMENTATIONS
from covid_cnn.errors import RunError
from covid_cnn.recipes import RECIPES

# A process that has not spoken this long after its run was made has failed to start.
SECONDS_TO_START = 60


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training run.

    Attributes
    ----------
    data : name or path of the dataset
    network : a key of ``recipes.RECIPES``
    epochs, batch_size : at least 1
    learning_rate : of Adam, above 0
    augmentation : a key of ``augmentation.AUGMENTATIONS``
    seed : of the weights, the order of the images, their augmentation and the splits that are made
    """

    data: str
    network: str
    epochs: int
    batch_size: int
    learning_rate: float
    augmentation: str
    seed: int = 0

    def __post_init__(self) -> None:
        if self.network not in RECIPES:
            raise RunError(f"There is no network called {self.network}; choose one of {', '.join(RECIPES)}.")
        if self.augmentation not in AUGMENTATIONS:
            choices = ", ".join(AUGMENTATIONS)
            raise RunError(f"There is no augmentation called {self.augmentation}; choose one of {choices}.")
        if self.epochs < 1 or self.batch_size < 1 or not 0 < self.learning_rate < 10 or not 0 <= self.seed < 2**32:
            raise RunError(
                "Epochs and batch size must be at least 1, the learning rate above 0 and below 10, "
                "the seed from 0 to 4294967295."
            )

    @classmethod
    def of(cls, data: str, network: str, **chosen: Any) -> "TrainConfig":
        """The recipe of ``network``, with what a person has ``chosen`` (None: not chosen) in place of its defaults."""
        if network not in RECIPES:
            raise RunError(f"There is no network called {network}; choose one of {', '.join(RECIPES)}.")
        recipe = RECIPES[network]
        defaults = {key: getattr(recipe, key) for key in ("epochs", "batch_size", "learning_rate", "augmentation")}
        return cls(data, network, **(defaults | {key: value for key, value in chosen.items() if value is not None}))


class Run:
    """One run, by its folder. Every look reads the folder anew, so any process may look."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name
        self.listener: Callable[[dict[str, Any]], None] | None = None

    @property
    def config(self) -> TrainConfig:
        try:
            return TrainConfig(**json.loads((self.folder / "config.json").read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise RunError(f"The settings of run {self.name} cannot be read: delete its folder.") from error

    @property
    def checkpoint(self) -> Path:
        return self.folder / "checkpoint"

    def append(self, type: str, **fields: Any) -> None:
        """Add an event: one JSON object a line, in one write."""
        event = {"time": time.time(), "type": type, **fields}
        with (self.folder / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(event) + "\n")
        self._notify(event)

    def log(self, message: str) -> None:
        """Add a line to the log."""
        with (self.folder / "log.txt").open("a", encoding="utf-8") as file:
            file.write(f"{datetime.now(UTC):%H:%M:%S} {message}\n")
        self._notify({"type": "log", "message": message})

    def _notify(self, event: dict[str, Any]) -> None:
        if self.listener:
            self.listener(event)

    def events(self) -> list[dict[str, Any]]:
        """All events so far. A line that is being written, or was when the machine failed, is left out."""
        try:
            lines = (self.folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        events = []
        for line in lines:
            try:
                events.append(json.loads(line))
            except ValueError:
                continue
        return events

    def state(self, events: list[dict[str, Any]] | None = None) -> str:
        """One of starting, running, stopping, finished, stopped, failed, and died (without a last word)."""
        events = self.events() if events is None else events
        starts = [i for i, event in enumerate(events) if event["type"] == "started"]
        if not starts:
            age = time.time() - (self.folder / "config.json").stat().st_mtime
            if age >= SECONDS_TO_START:
                return "died"
            return "stopping" if self.stop_requested() else "starting"
        types = {event["type"] for event in events[starts[-1] :]}
        if "failed" in types:
            return "failed"
        if _alive(events[starts[-1]]):
            return "stopping" if "stopped" in types or self.stop_requested() else "running"
        if "stopped" in types:
            return "stopped"
        return "finished" if "exported" in types else "died"

    def last_words(self, lines: int = 15) -> str:
        """The end of the log."""
        try:
            return "\n".join((self.folder / "log.txt").read_text("utf-8", "replace").splitlines()[-lines:])
        except FileNotFoundError:
            return ""

    @property
    def _stop_file(self) -> Path:
        return self.folder / "stop"

    def request_stop(self) -> None:
        """Ask the run to stop; it does within a step, and keeps the best weights so far."""
        self._stop_file.touch()

    def stop_requested(self) -> bool:
        return self._stop_file.exists()

    def forget_stop(self) -> None:
        """Take back a request to stop, to go on with the run."""
        self._stop_file.unlink(missing_ok=True)

    def begin(self) -> None:
        """Tell that this process now works on the run."""
        events = self.events()
        if any(event["type"] == "started" for event in events) and self.state(events) in ("running", "stopping"):
            raise RunError(f"Run {self.name} is already at work in another process: wait for it or stop it.")
        self._end_last_line()
        process = psutil.Process()
        self.append("started", pid=process.pid, process_created=process.create_time())

    def _end_last_line(self) -> None:
        """End a line that was being written when the machine failed, or it would swallow the next event."""
        file = self.folder / "events.jsonl"
        if file.exists() and file.read_bytes()[-1:] not in (b"", b"\n"):
            with file.open("ab") as opened:
                opened.write(b"\n")


def create(config: TrainConfig, name: str | None = None) -> Run:
    """Make the folder of a new run, called ``name`` or after what it trains; raises RunError if the name is taken."""
    if name is None:
        dataset = re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(config.data).name)
        name = f"{config.network}-{dataset}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    elif not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", name):
        raise RunError(f"{name} cannot name a run: use up to 100 letters, digits, dots, dashes and underscores.")
    folder = paths.runs_dir() / name
    if folder.exists() or (paths.models_dir() / name).exists():
        raise RunError(f"There is already a run or a model called {name}: choose another name.")
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(asdict(config), indent=2) + "\n", encoding="utf-8")
    return Run(folder)


def open(name: str) -> Run:
    """The run called ``name``; raises RunError if there is none."""
    folder = paths.runs_dir() / Path(name).name
    if not (folder / "config.json").is_file():
        raise RunError(f"There is no run called {name} under runs/.")
    return Run(folder)


def discover() -> list[Run]:
    """All runs, the newest first."""
    folders = [path.parent for path in paths.runs_dir().glob("*/config.json")]
    return [Run(folder) for folder in sorted(folders, key=lambda f: (f / "config.json").stat().st_mtime, reverse=True)]


def start(config: TrainConfig, name: str | None = None) -> Run:
    """Make a run and train it in a process of its own, which outlives this one."""
    run = create(config, name)
    resume(run)
    return run


def resume(run: Run) -> None:
    """Go on with a run, from its last checkpoint or from the beginning, in a process of its own."""
    run.forget_stop()
    command = [sys.executable, "-m", "covid_cnn", "train", "--resume", run.name, "--quiet"]
    environment = os.environ | {"COVID_CNN_HOME": str(paths.home()), "TF_CPP_MIN_LOG_LEVEL": "2"}
    package = str(Path(__file__).resolve().parent.parent)
    with (run.folder / "log.txt").open("ab") as log:
        subprocess.Popen(
            command,
            cwd=package,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _alive(started: dict[str, Any]) -> bool:
    """Whether the process that wrote the event lives. Its creation time tells it from a later one of its number."""
    try:
        process = psutil.Process(started["pid"])
        same = abs(process.create_time() - started["process_created"]) < 1
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
