"""The gradients written in operations that LiteRT has are those of TensorFlow."""

import numpy as np
import pytest
import tensorflow as tf

from covid_cnn.training import derivatives

MAP = np.random.default_rng(4).integers(0, 9, (1, 7, 6, 3)).astype(np.float32)  # some numbers are alike
KERNEL = np.random.default_rng(5).normal(size=(3, 2, 3, 2)).astype(np.float32)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(
    ("operation", "apply"),
    [
        ("AvgPool", lambda x, padding: tf.nn.avg_pool2d(x, (2, 2), (2, 2), padding)),
        ("AvgPool", lambda x, padding: tf.nn.avg_pool2d(x, (3, 2), (2, 1), padding)),
        ("MaxPool", lambda x, padding: tf.nn.max_pool2d(x, (2, 2), (2, 2), padding)),
        ("MaxPool", lambda x, padding: tf.nn.max_pool2d(x, (3, 4), (2, 3), padding)),
        ("DepthwiseConv2dNative", lambda x, padding: tf.nn.depthwise_conv2d(x, KERNEL, (1, 1, 1, 1), padding)),
        ("DepthwiseConv2dNative", lambda x, padding: tf.nn.depthwise_conv2d(x, KERNEL, (1, 2, 2, 1), padding)),
    ],
    ids=["average", "overlapping average", "largest", "overlapping largest", "depthwise", "depthwise by strides"],
)
def test_of_what_looks_at_windows(operation, apply, padding):
    gradients = []
    for name in (operation, derivatives.OWN_GRADIENT + operation):
        with tf.Graph().as_default() as graph, graph.gradient_override_map({operation: name}):
            x = tf.constant(MAP)
            (gradient,) = tf.gradients(tf.reduce_sum(tf.sin(apply(x, padding))), x)
            with tf.compat.v1.Session(graph=graph) as session:
                gradients.append(session.run(gradient))
    assert np.abs(gradients[0]).max() > 0.1
    np.testing.assert_allclose(gradients[1], gradients[0], rtol=0, atol=1e-5)
