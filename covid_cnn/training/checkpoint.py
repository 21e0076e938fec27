"""The last and the best epoch of a run on disk, so that a process that ends at any moment loses no finished epoch.

The files of an epoch are written first, and ``state.json``, which names the epoch, is renamed into place last. Keras's
``BackupAndRestore`` and ``ModelCheckpoint`` write their files in place, one after the other: killed within one they
leave half a file, and killed between the weights and the number of their epoch they train that epoch twice.
"""

import json
from pathlib import Path
from typing import Any

import keras

from covid_cnn.common import storage
from covid_cnn.common.errors import RunError


class Checkpoint:
    """The checkpoint of a run.

    Parameters
    ----------
    folder : holds it, or will

    Attributes
    ----------
    event : the fields of the event ``epoch`` of the last epoch that was kept; its process may have ended before it was
        appended
    best_epoch, best_loss : the epoch of the lowest validation loss, 0 and infinity before the first

    Raises
    ------
    RunError
        There is one, and it cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.read()

    @property
    def epoch(self) -> int:
        """The last epoch that was kept, 0 before the first."""
        return self.event["epoch"]

    def read(self) -> None:
        """Take in what is on disk."""
        self.event: dict[str, Any] = {"epoch": 0}
        self.best_epoch, self.best_loss = 0, float("inf")
        try:
            state = json.loads((self.folder / "state.json").read_text())
            self.event = state["told"]
            self.best_epoch, self.best_loss = state["best"]
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(f"The checkpoint of run {self.folder.parent.name} cannot be read: train again.") from error

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
        except BaseException:  # of an interrupt or a full disk, which needs the space
            for file in files:
                file.unlink(missing_ok=True)
            raise
        storage.write_atomically(self.folder / "state.json", json.dumps({"told": event, "best": best}))
        self.read()
        kept = {self.folder / "state.json", self._last_file(self.epoch), self._best_file(self.best_epoch)}
        for file in set(self.folder.iterdir()) - kept:
            file.unlink()

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
