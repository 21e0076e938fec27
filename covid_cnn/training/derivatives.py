"""Operations as LiteRT has them: the gradients of those behind a feature map, and what it lacks in what it has."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

OWN_GRADIENT = "LiteRT"  # before the names of the gradients below

# What a small change of the input x of an operation does to its output y, in operations that LiteRT has.
DERIVATIVES: dict[str, Callable[[tf.Operation, tf.Tensor, tf.Tensor], tf.Tensor]] = {
    "Relu": lambda _, x, y: tf.cast(y > 0, y.dtype),
    "Relu6": lambda _, x, y: tf.cast((y > 0) & (y < 6), y.dtype),
    "LeakyRelu": lambda op, x, y: tf.where(x > 0, tf.ones_like(x), tf.ones_like(x) * op.get_attr("alpha")),
    "Elu": lambda _, x, y: tf.where(x > 0, tf.ones_like(y), y + 1),
    "Selu": lambda _, x, y: tf.where(x > 0, tf.ones_like(y) * 1.0507009873554805, y + 1.7580993408473766),
    "Sigmoid": lambda _, x, y: y * (1 - y),
    "Tanh": lambda _, x, y: 1 - y * y,
    "Softplus": lambda _, x, y: tf.sigmoid(x),
    "Softsign": lambda _, x, y: tf.square(1 - tf.abs(y)),
    "Rsqrt": lambda _, x, y: -0.5 * y * y * y,
    "Sqrt": lambda _, x, y: 0.5 / y,
    "Reciprocal": lambda _, x, y: -y * y,
    "FusedBatchNormV3": lambda op, x, y: op.inputs[1] * tf.math.rsqrt(op.inputs[4] + op.get_attr("epsilon")),
}


def _spread(operation: tf.Operation, upstream: tf.Tensor) -> tf.Tensor:
    """The gradient of a slice: to each number that was taken what came of it, to all others 0."""
    x, *bounds = operation.inputs
    masks = {name: operation.get_attr(name) for name in ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask")}
    with tf.init_scope():
        places = np.arange(x.shape.num_elements()).reshape(x.shape)
        limits = [tf.get_static_value(one) for one in bounds]
        mask = operation.get_attr("shrink_axis_mask")
        taken = np.ravel(tf.strided_slice(places, *limits, **masks, shrink_axis_mask=mask))
    origin = np.full(places.size, taken.size)  # where what is not taken finds its 0
    origin[taken] = np.arange(taken.size)
    values = tf.concat([tf.reshape(upstream, [-1]), [0.0]], axis=0)
    return tf.reshape(tf.gather(values, origin.astype(np.int32)), x.shape)


def _add_repeats(operation: tf.Operation, upstream: tf.Tensor) -> tf.Tensor:
    """The gradient of a repetition: the sum over what was repeated. TensorFlow's own needs sums over six axes."""
    with tf.init_scope():
        multiples = np.ravel(tf.get_static_value(operation.inputs[1])).tolist()
    for axis, times in enumerate(multiples):
        if times > 1:
            upstream = tf.add_n(tf.split(upstream, times, axis))
    return upstream


RESHAPED = {"StridedSlice": _spread, "Tile": _add_repeats}
GRADIENTS = frozenset(DERIVATIVES) | frozenset(RESHAPED)


def _erf(x: tf.Tensor) -> tf.Tensor:
    """The error function, off by at most 2e-7 (Abramowitz and Stegun 1964, 7.1.26)."""
    t = 1 / (1 + 0.3275911 * tf.abs(x))
    tail = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return tf.sign(x) * (1 - tail * tf.exp(-x * x))


# Operations that LiteRT lacks, in others that it has.
LACKING: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "Erf": _erf,
    "Erfc": lambda x: 1 - _erf(x),
}


def _register(name: str) -> None:
    def gradient(operation: tf.Operation, upstream: tf.Tensor, *_: tf.Tensor) -> list[tf.Tensor | None]:
        if name in RESHAPED:
            first = RESHAPED[name](operation, upstream)
        else:
            first = upstream * DERIVATIVES[name](operation, operation.inputs[0], operation.outputs[0])
        return [first, *[None] * (len(operation.inputs) - 1)]

    tf.RegisterGradient(OWN_GRADIENT + name)(gradient)


for _name in GRADIENTS:
    _register(_name)
