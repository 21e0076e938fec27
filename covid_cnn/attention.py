"""Where a network looks in a few fixed images while it learns."""

import keras
import numpy as np
import tensorflow as tf

from covid_cnn import export, gradcam
from covid_cnn.pictures import Look


class Watcher:
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

    def look(self) -> Look:
        """The answers and the heatmaps of every class."""
        seen = self._seen or self._see()
        logits = self._network.get_layer("logits")(seen[1])
        heatmaps = gradcam.explain(self._network, *seen)
        return Look(export.probabilities(logits, 1.0).numpy(), heatmaps.numpy())
