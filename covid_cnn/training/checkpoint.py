"""The last two epochs of a run and the best on disk, so that whatever ends its process loses no finished epoch.

The files of an epoch are written first, and ``epoch-N.json``, which names them by their digests, is renamed into place
last: what a failing disk has damaged is known, and the epoch before is taken instead. Keras's ``BackupAndRestore`` and
``ModelCheckpoint`` write their files in place, one after the other: killed within one they leave half a file, and
killed between the weights and the number of their epoch they train that epoch twice.
"""

import hashlib
import re
from pathlib import Path
from typing import Any

import keras
import msgspec

from covid_cnn.common import storage
from covid_cnn.common.errors import RunError


class _State(msgspec.Struct):
    """What ``epoch-N.json`` holds: the event, the best epoch and its loss, and the SHA-256 of each file and of this."""

    event: dict[str, int | float] = msgspec.field(name="told")  # as runs made before call it
    best: tuple[int, float]
    files: dict[str, str] = {}
    own: str = ""

    def seal(self) -> str:
        """The SHA-256 of all that it tells."""
        return hashlib.sha256(msgspec.json.encode((self.event, self.best, self.files))).hexdigest()


class Checkpoint:
    """The checkpoint of a run, in a folder. Raises RunError where there is one, and nothing of it can be read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.read()

    @property
    def epoch(self) -> int:
        """The last epoch that was kept, 0 before the first."""
        return self.event["epoch"]

    def read(self) -> None:
        """Take in what is on disk: the last epoch whose files are whole."""
        self.damaged: list[str] = []  # the names of later states that could not be read
        self._take(_State({"epoch": 0}, (0, float("inf"))), set())
        numbers = {file: re.fullmatch(r"epoch-(\d+)\.json", file.name) for file in self.folder.glob("epoch-*.json")}
        states = sorted((int(number[1]), file) for file, number in numbers.items() if number)
        files = [file for _, file in reversed(states)]
        if (older := self.folder / "state.json").exists():  # of earlier versions, which told no digests
            files.append(older)
        for file in files:
            try:
                state = msgspec.json.decode(file.read_bytes(), type=_State)
                needed = {self._last_file(int(state.event["epoch"])), self._best_file(state.best[0])}
                whole = file == older or state.own == state.seal()
                digests = {file.name: storage.digest_of(file) for file in needed}
                if not whole or any(state.files.get(name, own) != own for name, own in digests.items()):
                    raise ValueError("a file is not as it was written")
            except (OSError, ValueError, KeyError, RecursionError):
                self.damaged.append(file.name)
            else:
                self._take(state, {file, *needed})
                return
        if files:
            raise RunError(f"The checkpoint of run {self.folder.parent.name} is damaged: start the training anew.")

    def _take(self, state: _State, files: set[Path]) -> None:
        # The fields of the event of the last epoch that was kept; its process may have ended before it was appended.
        self.event: dict[str, Any] = dict(state.event)
        self.best_epoch, self.best_loss = state.best  # of the lowest validation loss, 0 and infinity before the first
        self._state, self._files = state, files

    def save(self, model: keras.Model, event: dict[str, Any]) -> None:
        """Keep a model with its optimiser after an epoch, and the fields of its event; or, on an error, nothing."""
        self.folder.mkdir(exist_ok=True)
        best = self.best_epoch, self.best_loss
        files = {self._last_file(event["epoch"]): model.save}
        if event["val_loss"] < self.best_loss:
            best = event["epoch"], event["val_loss"]
            files[self._best_file(event["epoch"])] = model.save_weights
        try:
            for file, write in files.items():
                write(file)
                storage.sync(file)
            digests = self._state.files | {file.name: storage.digest_of(file) for file in files}
        except BaseException:  # of an interrupt or a full disk, which needs the space
            for file in files:
                file.unlink(missing_ok=True)
            raise
        needed = {self._last_file(event["epoch"]), self._best_file(best[0])}
        state = _State(event, best, {name: digest for name, digest in digests.items() if self.folder / name in needed})
        file = self.folder / f"epoch-{event['epoch']}.json"
        state.own = state.seal()
        storage.write_atomically(file, msgspec.json.encode(state))
        before = self._files
        self._take(state, {file, *needed})
        for old in set(self.folder.iterdir()) - before - self._files:
            old.unlink()

    def restore_last(self, model: keras.Model) -> None:
        """Give a model, and its optimiser, the state that they had after the last epoch."""
        saved = keras.models.load_model(self._last_file(self.epoch))
        model.set_weights(saved.get_weights())
        # Where the rate has a schedule it is no variable; of earlier versions it always was one.
        for mine, theirs in zip(*(_without_rate(one.optimizer) for one in (model, saved)), strict=True):
            mine.assign(theirs)

    def restore_best(self, model: keras.Model) -> None:
        """Give a model the weights of the best epoch."""
        model.load_weights(self._best_file(self.best_epoch))

    def _last_file(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch}.keras"

    def _best_file(self, epoch: int) -> Path:
        return self.folder / f"best-{epoch}.weights.h5"


def _without_rate(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    return [variable for variable in optimizer.variables if variable.name != "learning_rate"]
