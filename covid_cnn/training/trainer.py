"""Train a run: read the images, fit the network, tell what happens as events, and export the best weights as a bundle.

What is left out of training to stop early or to choose anything is the validation split; the test split is looked at
once, by the finished bundle.
"""

import contextlib
import errno
import json
import math
import os
import shutil
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from covid_cnn.common import storage
from covid_cnn.common.errors import CovidCnnError, DatasetError, ImageError, RunError
from covid_cnn.data.classes import DISEASES, HEALTHY
from covid_cnn.data.dataset import Item, fingerprint, open_dataset
from covid_cnn.data.index import perceptual_hash
from covid_cnn.data.splits import training_splits
from covid_cnn.evaluation import predictions
from covid_cnn.evaluation.calibration import (
    assess_calibration,
    choose_threshold,
    choose_threshold_at_specificity,
    conformal_thresholds,
    fit_temperature,
)
from covid_cnn.evaluation.leakage import TrainingFingerprint
from covid_cnn.images import ops
from covid_cnn.images.augment import AUGMENTATIONS, augment_batch
from covid_cnn.images.radiograph import Radiograph
from covid_cnn.images.reader import read_ahead
from covid_cnn.models.bundle import Bundle
from covid_cnn.reports import card
from covid_cnn.runs import pictures
from covid_cnn.runs.config import TrainConfig
from covid_cnn.runs.run import Run, interruptible
from covid_cnn.training import callbacks, data, devices, embeddings, export, networks, optimizer, ridge
from covid_cnn.training.callbacks import Scalars
from covid_cnn.training.data import Feed, gather_images

SPECIFICITY = 0.97  # of 100 healthy people, so many shall not be called ill where the threshold is chosen for it
TELL_EVERY = 0.3  # seconds
WATCHED = 4  # validation images in which one sees where the network looks, while it learns
SET_LEVEL = 0.9  # of 100 images, so many have their true class in the prediction set
# Images [N, H, W, 1] or embeddings [N, D] of the training items, as they are in one epoch.
Sample = Callable[[int, np.ndarray], np.ndarray]
# The inputs, targets and weights of one.
Batch = tuple[np.ndarray, np.ndarray, np.ndarray]


def train_run(run: Run) -> None:
    """Train ``run`` from its last checkpoint, or from the start, and export its bundle into ``models/``.

    An interrupt (Ctrl-C, or the run's stop file) ends it within a step; the best epoch so far is still exported.

    Parameters
    ----------
    run : gets its events as they happen, and says in its log what is being done

    Raises
    ------
    CovidCnnError
        The dataset, the network, the machine or the run is not fit to train; the event ``failed`` says so too.
    """
    try:
        _Trainer(run).train()
    except KeyboardInterrupt:
        run.append("stopped", message="Stopped before anything was exported.")
    except Exception as error:
        message = _explain_failure(error)
        with contextlib.suppress(OSError):  # of a full disk
            if not isinstance(error, CovidCnnError):
                run.log(traceback.format_exc())
            run.append("failed", message=message)
        if isinstance(error, CovidCnnError):
            raise
        raise RunError(message) from error


def _explain_failure(error: Exception) -> str:
    """What is wrong, and what to do."""
    if isinstance(error, CovidCnnError):
        return str(error)
    # TensorFlow and HDF5 have their own errors for it.
    if getattr(error, "errno", None) == errno.ENOSPC or os.strerror(errno.ENOSPC) in str(error):
        return "The disk is full: free some space, and resume the run."
    if isinstance(error, (MemoryError, tf.errors.ResourceExhaustedError)):
        return "The machine has too little memory for this run: choose a smaller batch size or dataset."
    return f"Training failed ({type(error).__name__}): the log of the run says more."


class _Trainer:
    """The steps of one run, in the order of ``train``."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.config: TrainConfig = run.config
        self.recipe = self.config.recipe
        self.told = 0.0  # when progress was told last
        self.scalars: Scalars | None = None

    def train(self) -> None:
        with interruptible(self.run):
            keras.utils.set_random_seed(self.config.seed)
            self._read_data()
            self.strategy = devices.device_strategy(whole=not self.recipe.frozen_base)
            with self.strategy.scope():
                self._prepare_learning()
            # Of one device: shares of a batch, some perhaps empty, have no mean that adds up to that of all images.
            self.judge = optimizer.eval_model(self.learner)
            self._keep_examples()
        stopped = self._learn()
        if stopped:
            self.run.append("stopped", message=f"Stopped in epoch {self.epoch}; the best epoch so far is kept.")
        self._restore_best()
        self._export()

    # Data

    def _read_data(self) -> None:
        dataset = open_dataset(self.config.data)
        splits = training_splits(dataset, self.config.seed)
        self.dataset, self.splits, self.classes = dataset, splits, dataset.classes
        self.run.log(f"Reading {len(splits.train)} training and {len(splits.val)} validation images.")
        self.notes = list(splits.notes)
        self.hashes: list[bytes] = []
        self.train_items, self.images, self.labels = self._read(splits.train)
        self.val_items, self.val_images, self.val_labels = self._read(splits.val)
        missing = set(range(len(self.classes))) - set(self.labels.tolist())
        if missing or not len(self.val_labels):
            raise DatasetError(f"{dataset.name} has too few readable images to train on: each class needs some.")
        self.run.append("read", classes=list(self.classes), train=len(self.labels), val=len(self.val_labels))

    def _read(self, items: Sequence[Item]) -> tuple[list[Item], np.ndarray, np.ndarray]:
        """The readable items, their images ``[N, H, W, 1]`` and labels ``[N]``; their hashes are kept besides."""
        readable: list[Item] = []

        def both(radiograph: Radiograph) -> tuple[np.ndarray, bytes]:
            return ops.prepare(radiograph.pixels, size), perceptual_hash(radiograph.pixels).fine

        def images() -> Iterator[np.ndarray]:
            read = read_ahead([item.path for item in items], both)
            for done, (item, image) in enumerate(zip(items, read, strict=True), start=1):
                self._tell("Reading images", len(items), done)
                if not isinstance(image, ImageError):
                    readable.append(item)
                    self.hashes.append(image[1])
                    yield image[0]
                    continue
                self._check_is_there([item])
                self.notes.append(f"Left out: {image}")
                self.run.log(self.notes[-1])

        size = self.recipe.input_size
        together = gather_images(images(), (len(items), *size, 1), self.run.folder)
        labels = np.array([self.classes.index(item.label) for item in readable], np.int64)
        return readable, together, labels

    def _check_is_there(self, items: Sequence[Item]) -> None:
        for item in items:
            if not item.path.exists():
                raise DatasetError(f"{item.path.name} is gone: bring {self.dataset.name} back, and resume the run.")

    def _tell(self, what: str, total: int, done: int) -> None:
        """Tell a few times a second how much is done of what comes before the first step."""
        if done == total or time.monotonic() - self.told > TELL_EVERY:
            self.told = time.monotonic()
            self.run.append("progress", what=what, done=done, total=total)

    # Learning

    def _prepare_learning(self) -> None:
        """Set up what learns and what it learns from: the network on images, or its last layer on embeddings."""
        number = self.strategy.num_replicas_in_sync
        self.run.log(f"Building the network{f' on {number} devices' if number > 1 else ''}.")
        if self.recipe.fetched and self.config.learns != "scratch":
            self.run.log("Fetching its ImageNet weights from the internet, unless they are here from an earlier run.")
        self.precision = devices.mixed_precision(whole=not self.recipe.frozen_base)
        self.network = self._build(self.precision, self.config.learns != "scratch")
        recipe, augmentation = self.recipe, AUGMENTATIONS[self.config.augmentation]

        def augmented(epoch: int, indices: np.ndarray) -> np.ndarray:
            return augment_batch([self.images[i] for i in indices], indices, augmentation, self.config.seed, epoch)

        if not recipe.frozen_base:
            self.learner, self.sample, self.val_inputs = self.network, augmented, self.val_images
        else:
            self.run.log(f"Computing the embeddings of {recipe.views} views of each image, once for all epochs.")
            embedder = embeddings.Embedder(self.network, augmentation, self.config.seed)
            val_views = recipe.views if recipe.penalty else 1
            tell = partial(self._tell, "Computing embeddings of training images", len(self.images))
            self.views = embedder.views(self.images, recipe.views, tell)
            tell = partial(self._tell, "Computing embeddings of validation images", len(self.val_images))
            self.val_views = embedder.views(self.val_images, val_views, tell)
            if embedder.remembered:
                part = f"{embedder.remembered} of the" if embedder.computed else f"All {embedder.remembered}"
                self.run.log(f"{part} embeddings came from the cache of an earlier run.")
            self.val_inputs = self.val_views[:, 0]
            self.learner = keras.Model(self.network.get_layer("embedding").output, self.network.output)
            # Each epoch shows every image in another view, and all views, so that epochs do not differ in difficulty.
            self.sample = lambda epoch, indices: self.views[indices, (epoch + indices) % recipe.views]
        self.weights = data.class_weights(self.labels, len(self.classes), self.config.balance)
        self.val_targets = data.as_output(data.one_hot_targets(self.val_labels, len(self.classes)))
        optimizer.prepare_statistics(self.network, pretrained=self.config.learns != "scratch")
        optimizer.compile_network(self.learner, self.config.learning_rate, self.config.base_rate)

    def _build(self, precision: str, pretrained: bool) -> keras.Model:
        usual = keras.config.dtype_policy()
        keras.config.set_dtype_policy(precision)
        try:
            return networks.build_network(self.config.network, len(self.classes), pretrained)
        finally:
            keras.config.set_dtype_policy(usual)

    def _plan(self, epoch: int) -> Iterator[tuple[np.ndarray, np.random.Generator]]:
        """Which images each batch of an epoch has, and what decides on its mixture.

        It hangs on seed and epoch alone, so that a resumed run has the same batches.
        """
        config, rng = self.config, np.random.default_rng((self.config.seed, epoch))
        order = data.epoch_order(self.labels, config.balance, rng)
        for first in range(0, len(order), config.batch_size):
            yield order[first : first + config.batch_size], rng.spawn(1)[0]

    def _batch(self, epoch: int, part: tuple[np.ndarray, np.random.Generator]) -> Batch:
        """Inputs, targets and weights of a part of the plan."""
        (indices, rng), config = part, self.config
        labels = self.labels[indices]
        wanted = data.one_hot_targets(labels, len(self.classes), config.label_smoothing)
        batch = self.sample(epoch, indices), wanted, self.weights[labels]
        inputs, wanted, weights = data.mixup(*batch, config.mixup, rng) if config.mixup else batch
        return inputs, data.as_output(wanted), weights

    def _learn(self) -> bool:
        """Train the epochs that are left; True if it was stopped, which takes at least one finished epoch."""
        with self.strategy.scope():
            self._resume()
        with contextlib.closing(Scalars(self.run, self.epoch)) as self.scalars:
            return self._learn_epochs()

    def _learn_epochs(self) -> bool:
        if self.recipe.penalty:
            if not self.epoch:
                self._solve()
            return False
        steps = -(-len(self.labels) // self.config.batch_size)
        self.run.log(f"Training {self.config.epochs} epochs of {steps} steps.")
        self.waited = np.zeros(2)  # seconds for the next batch, and in all
        try:
            with interruptible(self.run):
                while self.epoch < self.config.epochs and not self._has_waited_enough():
                    self._train_epoch(self.epoch + 1, steps)
        except KeyboardInterrupt:
            self._take_state()  # it may have come when an epoch was kept and not told yet
            self._tell_epoch()
            if self.epoch == 0:
                raise
            return True
        finally:
            if self.waited.any():
                self.run.log(f"It waited for images for {self.waited[0] / self.waited[1]:.1%} of the time.")
        return False

    def _has_waited_enough(self) -> bool:
        """Early stopping: whether the validation loss has not fallen for as many epochs as the patience is."""
        patience, since = self.config.patience, self.epoch - self.best[0]
        if not patience or since < patience:
            return False
        message = f"Stopped early: the validation loss has not fallen for {since} epochs, since epoch {self.best[0]}."
        self.run.append("early", epoch=self.epoch, message=message)
        return True

    def _solve(self) -> None:
        """What one epoch is where the last layer is solved for: validated without the validation images."""
        began = time.monotonic()
        self._set_last_layer(ridge.solve_ridge(self.views, self.labels, self.weights, self.recipe.penalty))
        wanted = data.as_output(data.one_hot_targets(self.labels, len(self.classes)))
        trained, validated = (
            self.judge.evaluate(inputs, labels, verbose=0, return_dict=True)
            for inputs, labels in ((self.views[:, 0], wanted), (self.val_inputs, self.val_targets))
        )
        told = trained | {f"val_{name}": value for name, value in validated.items()}
        self._end_epoch({"epoch": 1, "step": 1, **told, "seconds": time.monotonic() - began})

    def _set_last_layer(self, solution: tuple[np.ndarray, np.ndarray]) -> None:
        kernel, bias = solution
        self.network.get_layer("logits").set_weights([_as_logits(kernel), _as_logits(bias[None])[0]])

    def _train_epoch(self, epoch: int, steps: int) -> None:
        assert self.scalars
        began = time.monotonic()
        _reseed_dropout(self.learner, self.config.seed, epoch)
        sums, seen = np.zeros(2), 0
        total = self.config.epochs * steps
        with Feed(self._plan(epoch), partial(self._batch, epoch)) as feed:
            for done, (inputs, wanted, weights) in enumerate(feed, start=(epoch - 1) * steps + 1):
                rate = self._set_rate(done - 1, steps)
                result = devices.train_on_batch(self.learner, inputs, wanted, weights)
                loss, accuracy = result["loss"], result["accuracy"]
                _check_finite(loss)
                sums, seen = sums + np.array([loss, accuracy]) * len(wanted), seen + len(wanted)
                told = {"loss": loss, "accuracy": accuracy, "learning_rate": rate}
                self.scalars.step(self.run.append("step", epoch=epoch, step=done, steps=total, **told))
        result = self.judge.evaluate(_InTurn(self.val_inputs, self.val_targets), verbose=0, return_dict=True)
        _check_finite(result["loss"])
        loss, accuracy = sums / seen
        seconds = time.monotonic() - began
        self.waited += np.array([feed.waited, seconds])
        told = {
            "epoch": epoch,
            "step": epoch * steps,
            "loss": float(loss),
            "accuracy": float(accuracy),
            "val_loss": float(result["loss"]),
            "val_accuracy": float(result["accuracy"]),
            "learning_rate": rate,
            "seconds": seconds,
            "waited": feed.waited / seconds,
        }
        self._end_epoch(told)

    def _end_epoch(self, told: dict[str, Any]) -> None:
        """Keep what an epoch made of the network, and then tell of it."""
        self._save(told)
        self._take_state()
        self._tell_epoch()

    def _tell_epoch(self) -> None:
        """Tell of the last epoch that was kept, unless that was done."""
        if self.epoch in [0, *(event["epoch"] for event in self.run.journal.epochs)]:
            return
        self._look(self.epoch)
        ended = self.run.append("epoch", **self.told_of_epoch, best=self.best[0])
        if self.scalars:
            self.scalars.epoch(ended)

    def _set_rate(self, step: int, steps: int) -> float:
        """Set and return the learning rate of a step, counted from 0; an epoch has so many ``steps``."""
        config = self.config
        warm_up, total = config.warm_up * steps, config.epochs * steps
        rate = optimizer.learning_rate(config.learning_rate, step, total, warm_up, config.schedule)
        self.learner.optimizer.learning_rate = rate
        return rate

    # Pictures for people

    def _keep_examples(self) -> None:
        """Keep what the network is shown in the first epoch, and choose the validation images to watch."""
        shown = np.arange(len(self.images))[: 2 * WATCHED]
        shown = shown * len(self.images) // len(shown)  # from all of the training images
        varied = augment_batch(
            list(self.images[shown]), shown, AUGMENTATIONS[self.config.augmentation], self.config.seed, 1
        )
        labels = [self.train_items[i].label for i in shown]
        pictures.save_images(self.run.folder, "augmented", varied[..., 0], labels)
        ranks = [int((self.val_labels[:i] == label).sum()) for i, label in enumerate(self.val_labels)]
        watched = np.argsort(ranks, kind="stable")[:WATCHED]  # the first of each class, then the second
        labels = [self.val_items[i].label for i in watched]
        pictures.save_images(self.run.folder, "watched", self.val_images[watched][..., 0], labels)
        self.watcher = callbacks.AttentionMonitor(self.network, self.val_images[watched], self.recipe.frozen_base)

    def _look(self, epoch: int) -> None:
        """Keep where the network looks in the watched images after an epoch."""
        pictures.save_attention(self.run.folder, epoch, self.watcher.look())

    # Checkpoints: the files of an epoch are written first, and state.json, which names the epoch, is renamed last. It
    # holds what the epoch has to tell, so that a process that ends before it is told loses nothing.

    def _save(self, told: dict[str, Any]) -> None:
        """Keep the network after an epoch, with what is to be told of it."""
        folder, epoch = self.run.checkpoint, told["epoch"]
        folder.mkdir(exist_ok=True)
        best = (epoch, told["val_loss"]) if told["val_loss"] < self.best[1] else self.best
        new = {folder / f"epoch-{epoch}.keras": self.learner.save}
        if best != self.best:
            new[_best_file(folder, epoch)] = self.learner.save_weights
        try:
            for file, write in new.items():
                write(file)
                storage.sync(file)
        except BaseException:  # of an interrupt or a full disk, which needs the space
            for file in new:
                file.unlink(missing_ok=True)
            raise
        storage.write_atomically(folder / "state.json", json.dumps({"told": told, "best": best}))
        for file in folder.iterdir():
            if file.name not in ("state.json", f"epoch-{epoch}.keras", _best_file(folder, best[0]).name):
                file.unlink()

    def _take_state(self) -> None:
        """Take from the checkpoint which epoch was kept last, what is to be told of it, and which was the best."""
        self.told_of_epoch, self.best = {"epoch": 0}, (0, float("inf"))
        with contextlib.suppress(FileNotFoundError):
            state = json.loads((self.run.checkpoint / "state.json").read_text())
            self.told_of_epoch, self.best = state["told"], tuple(state["best"])
        self.epoch = self.told_of_epoch["epoch"]

    def _resume(self) -> None:
        """Load the last checkpoint, and tell of its epoch if the process that trained it could not any more."""
        try:
            self._take_state()
        except (ValueError, KeyError) as error:
            raise RunError(f"The checkpoint of run {self.run.name} cannot be read: train again.") from error
        if not self.epoch:
            return
        saved = keras.models.load_model(self.run.checkpoint / f"epoch-{self.epoch}.keras")
        self.learner.set_weights(saved.get_weights())
        for mine, theirs in zip(self.learner.optimizer.variables, saved.optimizer.variables, strict=True):
            mine.assign(theirs)
        self.run.log(f"Going on after epoch {self.epoch}.")
        self._tell_epoch()

    def _best_file(self) -> Path:
        return _best_file(self.run.checkpoint, self.best[0])

    def _restore_best(self) -> None:
        self.learner.load_weights(self._best_file())
        if self.precision != "float32":  # which is what is exported, and what its heatmaps are worked out in
            weights = self.network.get_weights()
            self.network = self._build("float32", pretrained=False)
            self.network.set_weights(weights)
        if self.recipe.penalty:  # there is no epoch to choose: the validation images may teach too
            views, labels, _ = self._all()
            self._set_last_layer(ridge.solve_ridge(views, labels, self.weights, self.recipe.penalty))
        export.round_weights(self.network)

    # The bundle

    def _export(self) -> None:
        self._check_is_there((*self.train_items, *self.val_items, *self.splits.test))
        self.run.log("Calibrating on images that the network has not seen.")
        train_embeddings, val_embeddings, logits = self._answers()
        labels, unseen = self.val_labels, "validation images"
        if self.recipe.penalty:
            views, labels, patients = self._all()
            penalty, seed = self.recipe.penalty, self.config.seed
            logits = _as_logits(ridge.out_of_fold(views, labels, patients, self.weights, penalty, seed))
            unseen = f"training and validation images, each read without its patient ({ridge.FOLDS} folds)"
        log_probabilities = np.log(np.maximum(export.calibrated_probabilities(tf.constant(logits), 1.0).numpy(), 1e-12))
        # In float16 precision, as the graph of a large network stores it.
        temperature = float(np.float16(fit_temperature(log_probabilities, labels)))
        probabilities = export.calibrated_probabilities(tf.constant(logits), temperature).numpy()
        self.val_probabilities = probabilities[-len(self.val_labels) :]
        self.run.log("Exporting the model.")
        info = {
            "name": self.run.name,
            "network": self.config.network,
            "classes": list(self.classes),
            "input_size": list(self.recipe.input_size),
            "temperature": temperature,
            "decision": _decision(self.classes, labels, probabilities, unseen),
            "prediction_sets": _prediction_sets(labels, probabilities, unseen),
            "in_distribution": export.fit_in_distribution(train_embeddings, val_embeddings),
            "training_data": self._training_data(),
            "recipe": vars(self.config) | {"epochs_trained": self.epoch, "best_epoch": self.best[0]},
            "metrics": {},
        }
        learned = TrainingFingerprint.of([*self.train_items, *self.val_items], self.hashes, self.dataset.synthetic)
        folder = export.stage_bundle(export.convert_graph(self.network, temperature), info, learned)
        try:
            self._test(folder)
        except BaseException:  # an interrupt too leaves no part of a bundle behind
            shutil.rmtree(folder.parent, ignore_errors=True)
            raise
        export.publish_bundle(folder)
        self.run.append("exported", model=self.run.name, epoch=self.best[0])
        self.run.log(f"Exported as models/{self.run.name}.")

    def _answers(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The embeddings of the training and the validation images, and the logits of the latter."""
        if self.recipe.frozen_base:
            return self.views[:, 0], self.val_inputs, _predict(self.learner, self.val_inputs)
        layers = [self.network.get_layer("embedding").output, self.network.output]
        both = keras.Model(self.network.inputs, layers)
        return _predict(both, self.images)[0], *_predict(both, self.val_images)

    def _all(self) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """Embeddings ``[N, views, D]``, labels and patients of the training and then of the validation images."""
        patients = [item.patient for item in (*self.train_items, *self.val_items)]
        return np.concatenate([self.views, self.val_views]), np.concatenate([self.labels, self.val_labels]), patients

    def _test(self, folder: Path) -> None:
        """Put the staged bundle through the validation and test images, and complete it with what they tell."""
        bundle = Bundle(folder)
        split, answers = "val", predictions.predict_known(bundle, self.val_items)
        if self.recipe.penalty:  # the finished layer has seen these images: what counts is what it said before
            answers = answers.with_probabilities(self.val_probabilities, bundle)
        metrics = {split: predictions.report_predictions(bundle, answers)}
        if self.splits.test:
            self.run.log(f"Testing on {len(self.splits.test)} images.")
            split, answers = "test", predictions.predict_known(bundle, self.splits.test)
            metrics[split] = predictions.report_predictions(bundle, answers)
            self.run.append("test", epoch=self.best[0], metrics=metrics[split])
        temperature = bundle.info["temperature"]
        # The graph divides by the temperature.
        uncalibrated = np.log(np.maximum(answers.probabilities, 1e-12)) * temperature
        calibration = assess_calibration(answers.labels, uncalibrated, temperature, answers.patients, split)
        card.write_card(folder, bundle.info | {"metrics": metrics, "calibration": calibration})

    def _training_data(self) -> dict[str, Any]:
        parts = {"train": self.train_items, "val": self.val_items, "test": self.splits.test}
        return {
            "name": self.dataset.name,
            "synthetic": self.dataset.synthetic,
            "fingerprint": fingerprint(self.dataset.items),
            "images": {split: len(items) for split, items in parts.items()},
            "patients": {split: len({item.patient for item in items}) for split, items in parts.items()},
            "notes": self.notes,
        }


def _as_logits(scores: np.ndarray) -> np.ndarray:
    """One logit for two classes, otherwise one a class, from ``[N, K]``."""
    return scores[:, 1:] - scores[:, :1] if scores.shape[1] == 2 else scores


def _decision(classes: Sequence[str], labels: np.ndarray, probabilities: np.ndarray, unseen: str) -> dict[str, Any]:
    """How a label is decided on: by a threshold on the probability of the class that is looked for.

    That is the second of two, and COVID-19 among more: from the lowest probability on that keeps the healthy from
    being called so. Where it is not known who is healthy, the threshold is that of the best balanced accuracy.
    """
    covid = [name for name in classes if DISEASES["COVID-19"].search(name)]
    healthy = [index for index, name in enumerate(classes) if HEALTHY.match(name)]
    if len(classes) > 2 and len(covid) != 1:
        return {"positive": None, "threshold": None, "chosen": "the most probable class"}
    positive = classes[1] if len(classes) == 2 else covid[0]
    found = labels == list(classes).index(positive)
    scores = probabilities[:, list(classes).index(positive)]
    if len(classes) > 2 and len(healthy) == 1:
        counted = found | (labels == healthy[0])
        threshold = choose_threshold_at_specificity(found[counted], scores[counted], SPECIFICITY)
        n = int((labels == healthy[0]).sum())
        chosen = f"the lowest at which {100 * SPECIFICITY:g} of 100 healthy are not called {positive}"
        chosen += f", of {n} among the {unseen}"
    else:
        threshold = choose_threshold(found, scores)
        chosen = f"best balanced accuracy on {len(labels)} {unseen}, nearest to 0.5 among equals"
    return {"positive": positive, "threshold": threshold, "chosen": chosen}


def _prediction_sets(labels: np.ndarray, probabilities: np.ndarray, unseen: str) -> dict[str, Any]:
    return {
        "method": "class-conditional conformal prediction (Vovk 2012; Angelopoulos and Bates 2021)",
        "level": SET_LEVEL,
        "thresholds": conformal_thresholds(labels, probabilities, SET_LEVEL).tolist(),
        "chosen": f"{len(labels)} {unseen}",
    }


def _best_file(checkpoint: Path, epoch: int) -> Path:
    return checkpoint / f"best-{epoch}.weights.h5"


def _check_finite(loss: float) -> None:
    if not np.isfinite(loss):
        raise RunError("The loss is no longer a number: train again at a lower learning rate.")


def _predict(model: keras.Model, inputs: np.ndarray) -> Any:
    return model.predict(_InTurn(inputs), verbose=0)


class _InTurn(keras.utils.PyDataset):
    """Arrays in batches, so that images that are kept on disk are never in memory all together."""

    BATCH = 32

    def __init__(self, *arrays: np.ndarray) -> None:
        super().__init__()
        self.arrays = arrays

    def __len__(self) -> int:
        return math.ceil(len(self.arrays[0]) / self.BATCH)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        return tuple(array[index * self.BATCH : (index + 1) * self.BATCH] for array in self.arrays)


def _reseed_dropout(model: keras.Model, seed: int, epoch: int) -> None:
    """Make the dropout of an epoch hang on seed and epoch alone, so a resumed run drops the same units."""
    for index, layer in enumerate(model.layers):
        if isinstance(layer, keras.layers.Dropout):
            layer.seed_generator.state.assign((seed * 1000 + index, epoch))
