"""Grad-CAM (Selvaraju et al. 2017) by automatic differentiation, to which the closed form of ``gradcam`` is held."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from covid_cnn.training import gradcam


def reference(
    model: keras.Model,
    images: np.ndarray,
    layer: str = "feature_map",
    place: Callable[[tf.Tensor], tf.Tensor] = tf.identity,
) -> np.ndarray:
    """Grad-CAM of every class at any layer, by ``tf.GradientTape``.

    Parameters
    ----------
    model : a network of ``networks``
    images : float32 ``[N, H, W, 1]``, 0..1
    layer : name of the layer whose output is the feature map
    place : of a network that looks at a part of its images: puts heat ``[N, h, w, K]`` back into the whole

    Returns
    -------
    float32 ``[N, h, w, K]``, 0..1
    """
    network = keras.Model(model.inputs, [model.get_layer(layer).output, model.output])
    with tf.GradientTape(persistent=True) as tape:
        feature_map, logits = network([images], training=False)
        scores = tf.unstack(gradcam.class_scores(logits), axis=-1)
    gradients = tf.stack([tape.gradient(score, feature_map) for score in scores], axis=-1)
    alpha = tf.reduce_mean(gradients, axis=(1, 2), keepdims=True)
    heat = tf.reduce_sum(alpha * feature_map[..., None], axis=-2)
    return gradcam.scale(tf.nn.relu(place(heat))).numpy()
