"""The curves of a run as TensorBoard reads them: ``tensorboard --logdir runs``."""

import shutil
from collections.abc import Mapping

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from covid_cnn.runs import Run


class Scalars:
    """TensorBoard's event files of one run, ``tensorboard/training`` and ``tensorboard/validation`` in its folder.

    They are written anew whenever a process takes the run up, from what the run has told: so a resumed run has one
    curve, in which no step comes twice. One event tells all numbers of a step, which costs a tenth of an event each.
    """

    def __init__(self, run: Run, last: int) -> None:
        """Take up a run after its epoch number ``last``; what it told of later ones is about to be told again."""
        folder = run.folder / "tensorboard"
        shutil.rmtree(folder, ignore_errors=True)
        self._training = EventFileWriter(str(folder / "training"))
        self._validation = EventFileWriter(str(folder / "validation"))
        steps = run.journal.steps()
        for row in range(int((steps["epoch"] <= last).sum())):
            self.step({name: float(column[row]) for name, column in steps.items()})
        for epoch in run.journal.epochs[:last]:
            self.epoch(epoch)

    def step(self, told: Mapping[str, float]) -> None:
        """Add the loss, accuracy and learning rate of a step, which ``told`` has by the names of the event ``step``."""
        values = {"step/loss": told["loss"], "step/accuracy": told["accuracy"], "learning rate": told["learning_rate"]}
        _add(self._training, int(told["step"]), told["time"], values)

    def epoch(self, told: Mapping[str, float]) -> None:
        """Add the losses and accuracies of an epoch, which ``told`` has by the names of the event ``epoch``."""
        for writer, prefix in ((self._training, ""), (self._validation, "val_")):
            values = {f"epoch/{name}": told[prefix + name] for name in ("loss", "accuracy")}
            _add(writer, int(told["epoch"]), told["time"], values)
            writer.flush()

    def close(self) -> None:
        """Write what is left, and end the writers' threads."""
        self._training.close()
        self._validation.close()


def _add(writer: EventFileWriter, step: int, time: float, values: Mapping[str, float]) -> None:
    summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])
    writer.add_event(Event(step=step, wall_time=time, summary=summary))
