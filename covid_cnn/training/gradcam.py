"""Grad-CAM (Selvaraju et al. 2017) in the closed form that is exported; tests hold it to automatic differentiation.

The heatmap of class c weights the channels k of a feature map A by the mean gradient of the class score y_c
(the logit, before softmax), and keeps what speaks for the class::

    alpha_kc = mean over positions ij of  d y_c / d A_ijk
    heatmap_c = ReLU(sum over k of alpha_kc A_k)

The heads of our networks are small enough that alpha can be written down, so that a graph without gradients
returns the heatmap of every class together with the probabilities (see ``head_weights``).
"""

import keras
import tensorflow as tf


def class_scores(logits: tf.Tensor) -> tf.Tensor:
    """The score of every class, ``[N, K]``: a single logit z means -z for the first class and z for the second."""
    return tf.concat([-logits, logits], axis=-1) if logits.shape[-1] == 1 else logits


def scale(heatmaps: tf.Tensor) -> tf.Tensor:
    """Each heatmap of ``[N, h, w, K]`` divided by its own maximum, so 0..1; one without any heat stays 0."""
    peak = tf.reduce_max(heatmaps, axis=(1, 2), keepdims=True)
    # Not a small constant in the denominator: in a graph of float16 weights it would be rounded to 0.
    return tf.math.divide_no_nan(heatmaps, peak)


def head_weights(model: keras.Model, embedding: tf.Tensor) -> tf.Tensor:
    """The weights alpha of every channel for every class, ``[N, C, K]``, without a gradient.

    ``pooling -> dense``: the score is linear in the feature map, d y_c / d A_ijk = W_kc / (h w), so alpha is the
    kernel over h w (the CAM of Zhou et al. 2016).

    ``max pooling -> flatten -> dense V, ReLU -> dense W``: each gradient at the pooled map reaches exactly one
    position of the feature map, so their sum over positions is that over the pooled map, and V may be summed
    over positions beforehand::

        alpha_kc = 1 / (h w) sum over hidden units m of (sum over pooled ij of V_ijkm) [hidden_m > 0] W_mc
    """
    _, height, width, channels = model.get_layer("feature_map").output.shape
    kernel = class_scores(tf.convert_to_tensor(model.get_layer("logits").kernel))  # [D, K]
    head = model.get_layer("embedding")
    if isinstance(head, keras.layers.GlobalAveragePooling2D):
        return kernel[None] / (height * width)
    hidden = tf.reduce_sum(tf.reshape(head.kernel, (-1, channels, head.units)), axis=0)  # [C, D]
    active = tf.cast(embedding > 0, tf.float32)
    # A graph of float16 weights stores the sums as what float16 holds of them and the rest, or maps would be 1e-3 off.
    rounded = tf.cast(tf.cast(hidden, tf.float16), tf.float32)
    hidden = tf.concat([rounded, hidden - rounded], axis=1)
    active, kernel = tf.concat([active, active], axis=1), tf.concat([kernel, kernel], axis=0)
    return tf.einsum("cd,nd,dk->nck", hidden, active, kernel) / (height * width)


def explain(model: keras.Model, feature_map: tf.Tensor, embedding: tf.Tensor) -> tf.Tensor:
    """Grad-CAM of every class at the layer ``feature_map``, in ops that LiteRT has: float32 ``[N, h, w, K]``, 0..1.

    The two are the outputs of the layers of these names of a network of ``networks``, ``[N, h, w, C]`` and ``[N, D]``.
    """
    return scale(tf.nn.relu(class_heat(model, feature_map, embedding)))


def class_heat(model: keras.Model, feature_map: tf.Tensor, embedding: tf.Tensor) -> tf.Tensor:
    """What speaks for each class, and against it below 0, at each place: arguments and shape as of ``explain``."""
    _, height, width, channels = feature_map.shape
    flat = tf.reshape(feature_map, (-1, height * width, channels))
    heat = tf.matmul(flat, head_weights(model, embedding))
    return tf.reshape(heat, (-1, height, width, heat.shape[-1]))
