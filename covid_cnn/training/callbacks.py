"""What is kept of a training while it goes on: its epochs and events, its scalars, and where the network looks.

Of Keras's own callbacks none does here: ``BackupAndRestore`` and ``ModelCheckpoint`` are not safe from a crash (see
``checkpoint``), ``EarlyStopping`` forgets in a resumed run how long it has waited and ``TensorBoard`` counts its steps
from 0 again, and ``TerminateOnNaN`` looks at the training loss alone.
"""

import shutil
import time
from collections.abc import Mapping
from typing import Any

import keras
import msgspec
import numpy as np
import tensorflow as tf
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from covid_cnn.common.errors import RunError
from covid_cnn.images.augment import AUGMENTATIONS, augment_batch
from covid_cnn.runs import pictures
from covid_cnn.runs.pictures import AttentionPicture
from covid_cnn.runs.run import Run
from covid_cnn.training import export, gradcam, optimizer
from covid_cnn.training.checkpoint import Checkpoint
from covid_cnn.training.data import ArrayBatches, TrainingBatches, TrainingData

WATCHED = 4  # validation images in which one sees where the network looks, while it learns


class AttentionMonitor:
    """Takes pictures of where a network looks, always in the same images, as it is at that moment.

    The images are float32 ``[N, H, W, 1]``, 0..1. What a frozen base makes of them is computed only once.
    """

    def __init__(self, network: keras.Model, images: np.ndarray, frozen_base: bool) -> None:
        self._network, self._images = network, tf.constant(images)
        self._base = keras.Model(
            network.inputs, [network.get_layer(name).output for name in ("feature_map", "embedding")]
        )
        self._frozen = self._features() if frozen_base else None

    def _features(self) -> list[tf.Tensor]:
        """What the base makes of the images, in float32 also where it computes in less."""
        return [tf.cast(features, tf.float32) for features in self._base([self._images], training=False)]

    def snapshot(self) -> AttentionPicture:
        """The probabilities and the heatmaps of every class."""
        features = self._frozen or self._features()
        logits = self._network.get_layer("logits")(features[1])
        heatmaps = gradcam.explain(self._network, *features)
        return AttentionPicture(export.calibrated_probabilities(logits, 1.0).numpy(), heatmaps.numpy())


def monitor_attention(run: Run, data: TrainingData, network: keras.Model) -> AttentionMonitor:
    """Watch some validation images; keep pictures of them, and of training images as the first epoch shows them."""
    config, train, val = run.config, data.train, data.val
    shown = np.arange(len(train.pixels))[: 2 * WATCHED]
    shown = shown * len(train.pixels) // len(shown)  # from all of the training images
    augmentation = AUGMENTATIONS[config.augmentation]
    varied = augment_batch(list(train.pixels[shown]), shown, augmentation, config.seed, 1, train.pixels)
    pictures.save_images(run.folder, "augmented", varied[..., 0], [train.items[i].label for i in shown])
    ranks = [int((val.labels[:i] == label).sum()) for i, label in enumerate(val.labels)]
    watched = np.argsort(ranks, kind="stable")[:WATCHED]  # the first of each class, then the second
    pixels = val.pixels[watched]
    pictures.save_images(run.folder, "watched", pixels[..., 0], [val.items[i].label for i in watched])
    return AttentionMonitor(network, pixels, config.recipe.frozen_base)


class ScalarLog:
    """TensorBoard's event files of one run, ``tensorboard/training`` and ``tensorboard/validation`` in its folder.

    They are written anew whenever a process takes the run up, from the events of the run: so a resumed run has one
    curve, in which no step comes twice. One entry holds all numbers of a step, which costs a tenth of an entry each.
    """

    def __init__(self, run: Run, last: int) -> None:
        """Take up a run after its epoch number ``last``; its events of later ones are about to be written again."""
        folder = run.folder / "tensorboard"
        shutil.rmtree(folder, ignore_errors=True)
        self._training = EventFileWriter(str(folder / "training"))
        self._validation = EventFileWriter(str(folder / "validation"))
        steps = run.journal.steps()
        for row in range(int((steps["epoch"] <= last).sum())):
            self.add_step({name: float(column[row]) for name, column in steps.items()})
        for epoch in run.journal.epochs[:last]:
            self.add_epoch(msgspec.structs.asdict(epoch))

    def add_step(self, event: Mapping[str, float]) -> None:
        """Add the loss, accuracy and learning rate of an event ``step``."""
        values = {"step/loss": event["loss"], "step/accuracy": event["accuracy"]}
        _add(self._training, "step", event, values | {"learning rate": event["learning_rate"]})

    def add_epoch(self, event: Mapping[str, float]) -> None:
        """Add the losses and accuracies of an event ``epoch``."""
        for writer, prefix in ((self._training, ""), (self._validation, "val_")):
            _add(writer, "epoch", event, {f"epoch/{name}": event[prefix + name] for name in ("loss", "accuracy")})
            writer.flush()

    def close(self) -> None:
        """Write what is left, and end the writers' threads."""
        self._training.close()
        self._validation.close()


def _add(writer: EventFileWriter, kind: str, event: Mapping[str, float], values: Mapping[str, float]) -> None:
    summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])
    writer.add_event(Event(step=int(event[kind]), wall_time=event["time"], summary=summary))


class EpochRecorder(keras.callbacks.Callback):
    """Appends the event of each step; validates each epoch, keeps it and appends its event; and ends a run early.

    ``seconds`` is how long its epochs took so far, ``waited`` for how much of that they waited for their next batch.
    """

    def __init__(
        self,
        run: Run,
        batches: TrainingBatches,
        val_batches: ArrayBatches,
        checkpoint: Checkpoint,
        attention: AttentionMonitor,
        scalars: ScalarLog,
    ) -> None:
        super().__init__()
        self._run, self._config, self._batches, self._val_batches = run, run.config, batches, val_batches
        self._checkpoint, self._attention, self._scalars = checkpoint, attention, scalars
        self.seconds = self.waited = 0.0

    def set_model(self, model: keras.Model) -> None:
        """Record the training of a model."""
        super().set_model(model)
        self._eval_model = optimizer.eval_model(model)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Set up what hangs on the number of the epoch, which Keras counts from 0."""
        self._epoch_began, self._waited = time.monotonic(), 0.0
        self._sums, self._images = np.zeros(2), 0
        self._batches.set_epoch(epoch + 1)
        optimizer.reseed_dropout(self.model, self._config.seed, epoch + 1)
        self._epoch = epoch + 1

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Begin a step, whose loss shall be its own and not the mean of the epoch so far."""
        self.model.reset_metrics()
        self._rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self._step_began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Tell of a step."""
        assert logs
        check_finite(logs["loss"])
        images = self._batches.images_in(batch)
        self._sums += images * np.array([logs["loss"], logs["accuracy"]])
        self._images += images
        self._waited += max(0.0, self._batches.ready[batch] - self._step_began)
        steps = len(self._batches)
        step, total = (self._epoch - 1) * steps + batch + 1, self._config.epochs * steps
        values = {"loss": logs["loss"], "accuracy": logs["accuracy"], "learning_rate": self._rate}
        self._scalars.add_step(self._run.append("step", epoch=self._epoch, step=step, steps=total, **values))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Validate an epoch, keep what it made of the network, tell of it, and see whether it was the last."""
        result = self._validate()
        check_finite(result["loss"])
        loss, accuracy = (self._sums / self._images).tolist()
        seconds = time.monotonic() - self._epoch_began
        self.seconds, self.waited = self.seconds + seconds, self.waited + self._waited
        event = {
            "epoch": self._epoch,
            "step": self._epoch * len(self._batches),
            "loss": loss,
            "accuracy": accuracy,
            "val_loss": float(result["loss"]),
            "val_accuracy": float(result["accuracy"]),
            "learning_rate": self._rate,
            "seconds": seconds,
            "waited": self._waited / seconds,
        }
        self._checkpoint.save(self.model, event)
        self._scalars.add_epoch(tell_epoch(self._run, self._checkpoint, self._attention))
        self.model.stop_training = has_stopped_early(self._run, self._checkpoint)

    def _validate(self) -> dict[str, Any]:
        """Loss and accuracy of the validation images."""
        # Batch by batch: ``evaluate`` makes a pipeline anew each time, which takes longer than 30 images do.
        self._eval_model.reset_metrics()
        for index in range(len(self._val_batches)):
            result = self._eval_model.test_on_batch(*self._val_batches[index], return_dict=True)
        return result


def check_finite(loss: float) -> None:
    """Raise RunError where a loss is no number any more."""
    if not np.isfinite(loss):
        raise RunError("The loss is no longer a number: train again at a lower learning rate.")


def tell_epoch(run: Run, checkpoint: Checkpoint, attention: AttentionMonitor) -> dict[str, Any]:
    """Picture where the network looks after the last epoch that was kept, tell of that epoch, and return the event."""
    pictures.save_attention(run.folder, checkpoint.epoch, attention.snapshot())
    return run.append("epoch", **checkpoint.event, best=checkpoint.best_epoch)


def has_stopped_early(run: Run, checkpoint: Checkpoint) -> bool:
    """Whether the validation loss has not fallen for as many epochs as the patience says; an event tells if so."""
    since = checkpoint.epoch - checkpoint.best_epoch
    if not 0 < run.config.patience <= since:
        return False
    sentence = f"the validation loss has not fallen for {since} epochs, since epoch {checkpoint.best_epoch}."
    run.append("early", epoch=checkpoint.epoch, message=f"Stopped early: {sentence}")
    return True
