"""What is trained, with its batches: the whole network on images, or its last layer on embeddings."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from covid_cnn.images.augment import AUGMENTATIONS, Augmentation, augment_batch
from covid_cnn.runs.run import Run
from covid_cnn.training import data, export, networks, optimizer
from covid_cnn.training.data import ArrayBatches, TrainingBatches, TrainingData, progress_events


class Learner:
    """The compiled network of a run with its training and validation batches.

    The ``model`` is what ``fit`` trains: the ``network``, from images ``[N, H, W, 1]`` to logits, or its last layer, on
    the ``views`` and ``val_views``, the embeddings ``[N, views, D]`` of the images.
    """

    def __init__(self, run: Run, training_data: TrainingData) -> None:
        self._run, self._data, self._config, recipe = run, training_data, run.config, run.config.recipe
        whole = not recipe.frozen_base
        strategy = device_strategy(whole)
        number = strategy.num_replicas_in_sync
        run.log(f"Building the network{f' on {number} devices' if number > 1 else ''}.")
        pretrained = self._config.learns != "scratch"
        if recipe.fetched and pretrained:
            run.log("Fetching its ImageNet weights from the internet, unless they are here from an earlier run.")
        train, val = training_data.train, training_data.val
        self._precision = mixed_precision(whole)
        self.views = self.val_views = np.empty((0, 0, 0), np.float32)
        with strategy.scope():
            self.network = self._build(self._precision, pretrained)
            if whole:
                self.model, inputs, val_inputs = self.network, data.augmented(train.pixels, self._config), val.pixels
            else:
                self.model = keras.Model(self.network.get_layer("embedding").output, self.network.output)
                self._embed()
                inputs, val_inputs = self._view_of_epoch, self.val_views[:, 0]
            optimizer.prepare_statistics(self.network, pretrained)
            classes = len(training_data.classes)
            self.batches = TrainingBatches(inputs, train.labels, classes, self._config, number)
            rate = optimizer.learning_rate(self._config, len(self.batches))
            optimizer.compile_network(self.model, rate, self._config.base_rate, self._config.label_smoothing)
        self.val_batches = ArrayBatches(val_inputs, data.one_hot(val.labels, classes))

    def _build(self, precision: str, pretrained: bool) -> keras.Model:
        usual = keras.config.dtype_policy()
        keras.config.set_dtype_policy(precision)
        try:
            return networks.build_network(self._config.network, len(self._data.classes), pretrained)
        finally:
            keras.config.set_dtype_policy(usual)

    def _embed(self) -> None:
        recipe, embed = self._config.recipe, embedder(self.network)
        self._run.log(f"Computing the embeddings of {recipe.views} views of each image, once for all epochs.")

        def views(split: str, images: np.ndarray, number: int) -> np.ndarray:
            progress = progress_events(self._run, f"Computing embeddings of {split} images", len(images))
            augmentation = AUGMENTATIONS[self._config.augmentation]
            return embed_views(embed, images, augmentation, self._config.seed, number, progress)

        self.views = views("training", self._data.train.pixels, recipe.views)
        self.val_views = views("validation", self._data.val.pixels, 1)

    def _view_of_epoch(self, epoch: int, indices: np.ndarray) -> np.ndarray:
        """The view of each image in an epoch: all views occur in every epoch, so that epochs are equally hard."""
        return self.views[indices, (epoch + indices) % self._config.recipe.views]

    def to_float32(self) -> None:
        """Switch the network to float32, in which it is exported and explained."""
        if self._precision != "float32":
            weights = self.network.get_weights()
            self.network = self._build("float32", pretrained=False)
            self.network.set_weights(weights)

    def predict(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The embeddings ``[N, D]`` of the training and of the validation images, and the logits of the latter."""
        predict = partial(keras.Model.predict, verbose=0)
        if self._config.recipe.frozen_base:
            val = self.val_views[:, 0]
            return self.views[:, 0], val, predict(self.model, ArrayBatches(val))
        both = keras.Model(self.network.inputs, [self.network.get_layer("embedding").output, self.network.output])
        train = predict(both, ArrayBatches(self._data.train.pixels))[0]
        return train, *predict(both, ArrayBatches(self._data.val.pixels))


def device_strategy(whole: bool) -> tf.distribute.Strategy:
    """Distribute training over several GPUs: mirrored weights, gradients summed after each step.

    With one GPU or none, or where not the ``whole`` network learns, which is too little work to share, it is
    TensorFlow's own strategy, which changes nothing. Networks have to be built and compiled in its scope.
    """
    found = _gpus() if whole else []
    return tf.distribute.MirroredStrategy(found) if len(found) > 1 else tf.distribute.get_strategy()


def mixed_precision(whole: bool) -> str:
    """The precision that the layers of a network compute in while it learns, as a dtype policy of Keras.

    Where the processor multiplies bfloat16 by itself, a step takes half the time in it. Weights, gradients' sums and
    the loss stay float32 (mixed precision, Micikevicius et al. 2018), and what is exported is float32 too. A last layer
    alone, where not the ``whole`` network learns, is quick enough.
    """
    quick = whole and not tf.config.list_physical_devices("GPU") and _flags() & {"avx512_bf16", "amx_bf16"}
    return "mixed_bfloat16" if quick else "float32"


def _flags() -> set[str]:
    """The instruction sets of the processor, by Linux's names; empty on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def _gpus() -> list[str]:
    return [gpu.name for gpu in tf.config.list_logical_devices("GPU")]


# Image [H, W, 1] -> embedding [D].
Embed = Callable[[np.ndarray], np.ndarray]


def embedder(network: keras.Model) -> Embed:
    """A function from image to embedding that runs the exported graph, several times as fast as Keras."""
    graph = export.convert_graph(network, temperature=1.0, heatmaps=False)
    run = Interpreter(model_content=graph, num_threads=os.cpu_count()).get_signature_runner()
    return lambda image: run(image=image[None])["embedding"][0]


def embed_views(
    embed: Embed,
    images: np.ndarray,
    augmentation: Augmentation,
    seed: int,
    views: int,
    progress: Callable[[int], None] = lambda done: None,
) -> np.ndarray:
    """The embeddings, float32 ``[N, views, D]``, of images ``[N, H, W, 1]``, 0..1: of each itself, then augmented.

    A view hangs on seed, its own number and the place of its image alone. ``progress`` is called after each image with
    how many are done.
    """
    embedded = []
    for index, image in enumerate(images):
        place = np.array([index])
        varied = [augment_batch([image], place, augmentation, seed, view, images)[0] for view in range(1, views)]
        embedded.append([embed(view) for view in (image, *varied)])
        progress(index + 1)
    return np.array(embedded, np.float32)
