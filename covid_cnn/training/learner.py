"""What is trained, with its batches: the whole network on images, or its last layer on embeddings."""

from functools import partial

import keras
import numpy as np

from covid_cnn.images.augment import AUGMENTATIONS
from covid_cnn.runs.run import Run
from covid_cnn.training import data, devices, embeddings, networks, optimizer
from covid_cnn.training.data import ArrayBatches, TrainingBatches
from covid_cnn.training.reading import TrainingData, progress_events


class Learner:
    """The compiled network of a run with its training and validation batches.

    Attributes
    ----------
    network : from images ``[N, H, W, 1]`` to logits
    model : what ``fit`` trains: the network, or its last layer
    batches, val_batches : what it learns from, and what it is validated on
    views, val_views : of a last layer: the embeddings ``[N, views, D]`` of the images
    """

    def __init__(self, run: Run, training_data: TrainingData) -> None:
        self._run, self._data, self._config, recipe = run, training_data, run.config, run.config.recipe
        whole = not recipe.frozen_base
        strategy = devices.device_strategy(whole)
        number = strategy.num_replicas_in_sync
        run.log(f"Building the network{f' on {number} devices' if number > 1 else ''}.")
        pretrained = self._config.learns != "scratch"
        if recipe.fetched and pretrained:
            run.log("Fetching its ImageNet weights from the internet, unless they are here from an earlier run.")
        train, val = training_data.train, training_data.val
        self._precision = devices.mixed_precision(whole)
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
        recipe, embed = self._config.recipe, embeddings.embedder(self.network)
        self._run.log(f"Computing the embeddings of {recipe.views} views of each image, once for all epochs.")

        def views(split: str, images: np.ndarray, number: int) -> np.ndarray:
            progress = progress_events(self._run, f"Computing embeddings of {split} images", len(images))
            augmentation = AUGMENTATIONS[self._config.augmentation]
            return embeddings.embed_views(embed, images, augmentation, self._config.seed, number, progress)

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
