"""What is kept of a training while it goes on: its scalars for TensorBoard, and where the network looks."""

import shutil
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from covid_cnn.runs.pictures import AttentionPicture
from covid_cnn.runs.run import Run
from covid_cnn.training import export, gradcam


class AttentionMonitor:
    """Looks at the same images again and again, as the network is at that moment.

    Parameters
    ----------
    network : a network of ``networks``
    images : float32 ``[N, H, W, 1]``, 0..1
    frozen_base : everything but the last layer stays as it is, and is asked only once
    """

    def __init__(self, network: keras.Model, images: np.ndarray, frozen_base: bool) -> None:
        names = ["feature_map", "embedding"] + (["box"] if gradcam.looks_at_zones(network) else [])
        self._network, self._images = network, tf.constant(images)
        self._base = keras.Model(network.inputs, [network.get_layer(name).output for name in names])
        self._seen = self._see() if frozen_base else None

    def _see(self) -> list[tf.Tensor]:
        """What the base sees, in float32 also where it computes in less."""
        return [tf.cast(seen, tf.float32) for seen in self._base([self._images], training=False)]

    def look(self) -> AttentionPicture:
        """The answers and the heatmaps of every class."""
        seen = self._seen or self._see()
        logits = self._network.get_layer("logits")(seen[1])
        heatmaps = gradcam.explain(self._network, *seen)
        return AttentionPicture(export.calibrated_probabilities(logits, 1.0).numpy(), heatmaps.numpy())


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
