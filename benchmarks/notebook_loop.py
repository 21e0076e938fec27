"""The usual way to train, against which ours is measured: the seed notebook's loop, Keras's ImageDataGenerator and fit.

The network, the images and the batches are those of ``python -m covid_cnn train --network notebook_cnn``; what differs
is how images are read, varied and fed. Images are scaled alike for training and test, which the notebook did not do.

    python -m benchmarks.notebook_loop FOLDER EPOCHS RESULT.json

FOLDER has ``train``, ``val`` and ``test``, each with a folder a class.
"""

import json
import sys
import time
from pathlib import Path

import keras
import numpy as np
from tensorflow.keras.preprocessing.image import ImageDataGenerator

from covid_cnn.runs import config
from covid_cnn.training import networks, optimizer

RECIPE = config.find_recipe("notebook_cnn")
SCALE = 1 / 255


class Clock(keras.callbacks.Callback):
    """The seconds of each epoch, its validation included."""

    def on_train_begin(self, logs=None) -> None:
        """Start with no epoch."""
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch, logs=None) -> None:
        """Start the clock."""
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None) -> None:
        """Keep what the clock says."""
        self.seconds.append(time.perf_counter() - self._began)


def main(folder: Path, epochs: int, result: Path) -> None:
    """Train, save and test as the notebook does, and write what came out."""
    keras.utils.set_random_seed(0)
    varied = ImageDataGenerator(rescale=SCALE, shear_range=0.2, zoom_range=0.2, horizontal_flip=True)
    plain = ImageDataGenerator(rescale=SCALE)
    shape = {"target_size": RECIPE.input_size, "color_mode": "grayscale", "class_mode": "binary"}
    train = varied.flow_from_directory(str(folder / "train"), batch_size=RECIPE.batch_size, **shape)
    val, test = (
        plain.flow_from_directory(str(folder / split), batch_size=RECIPE.batch_size, shuffle=False, **shape)
        for split in ("val", "test")
    )
    network = networks.build_network("notebook_cnn", 2)
    optimizer.compile_network(network, RECIPE.learning_rate)
    clock = Clock()
    network.fit(train, epochs=epochs, validation_data=val, callbacks=[clock], verbose=0)
    network.save(result.with_suffix(".keras"))
    called = network.predict(test, verbose=0)[:, 0] > 0
    right = int(np.sum(called == (test.classes == 1)))
    told = {"seconds": clock.seconds, "images": train.samples, "right": right, "tested": test.samples}
    result.write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
