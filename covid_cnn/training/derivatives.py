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


def _windows(operation: tf.Operation) -> np.ndarray:
    """The places of its map, row after row, that each window of a pooling looks at: ``[windows, n]``, -1 outside."""
    width = operation.inputs[0].shape[2]
    rows, columns = (_window(operation, axis) for axis in (1, 2))
    rows, columns = rows[:, None, :, None], columns[None, :, None, :]
    places = np.where((rows < 0) | (columns < 0), -1, rows * width + columns)
    return places.reshape(places.shape[0] * places.shape[1], -1)


def _window(operation: tf.Operation, axis: int) -> np.ndarray:
    size, count = operation.inputs[0].shape[axis], operation.outputs[0].shape[axis]
    length, stride = operation.get_attr("ksize")[axis], operation.get_attr("strides")[axis]
    before = max(0, (count - 1) * stride + length - size) // 2 if operation.get_attr("padding") == b"SAME" else 0
    places = np.arange(count)[:, None] * stride - before + np.arange(length)
    return np.where((places < 0) | (places >= size), -1, places)


def _hand_back(x: tf.Tensor, windows: np.ndarray, gradients: list[tf.Tensor]) -> tf.Tensor:
    """A map of what each of its places has from all windows: of the n-th in each ``gradients[n]``, ``[windows, C]``."""
    _, height, width, channels = x.shape
    parts = []
    for places, gradient in zip(windows.T, gradients, strict=True):
        origin = np.full(height * width, len(windows), np.int32)  # where what no window looks at finds its 0
        origin[places[places >= 0]] = np.flatnonzero(places >= 0)
        parts.append(tf.gather(tf.concat([gradient, tf.zeros((1, channels))], axis=0), origin))
    return tf.reshape(tf.add_n(parts), x.shape)


def _share_average(operation: tf.Operation, upstream: tf.Tensor) -> tf.Tensor:
    """The gradient of average pooling: to each place its share of every window that looks at it."""
    x, windows = operation.inputs[0], _windows(operation)
    counts = (windows >= 0).sum(axis=1, keepdims=True).astype(np.float32)
    return _hand_back(x, windows, [tf.reshape(upstream, (-1, x.shape[-1])) / counts] * windows.shape[1])


def _give_largest(operation: tf.Operation, upstream: tf.Tensor) -> tf.Tensor:
    """The gradient of the largest of a window: to the first place that has it."""
    x, windows = operation.inputs[0], _windows(operation)
    values, largest, given = (tf.reshape(one, (-1, x.shape[-1])) for one in (x, operation.outputs[0], upstream))
    free, gradients = tf.ones_like(given), []
    for places in windows.T:
        inside = (places >= 0).astype(np.float32)[:, None]
        chosen = free * inside * tf.cast(tf.equal(tf.gather(values, np.maximum(places, 0)), largest), tf.float32)
        free -= chosen
        gradients.append(chosen * given)
    return _hand_back(x, windows, gradients)


def _transpose_depthwise(operation: tf.Operation, upstream: tf.Tensor) -> tf.Tensor:
    """The gradient of a depthwise convolution, as that of a convolution whose kernel is 0 between channels."""
    with tf.init_scope():
        kernel = tf.get_static_value(operation.inputs[1])
    dilations = operation.get_attr("dilations")
    if kernel is None or max(dilations) > 1:
        raise LookupError(operation.type)
    *sides, channels, times = kernel.shape
    whole = np.zeros((*sides, channels, channels, times), kernel.dtype)
    whole[..., range(channels), range(channels), :] = kernel
    whole = whole.reshape(*sides, channels, channels * times)
    strides, padding = operation.get_attr("strides"), operation.get_attr("padding").decode()
    return tf.nn.conv2d_transpose(upstream, whole, operation.inputs[0].shape, strides[1:3], padding)


RESHAPED = {
    "StridedSlice": _spread,
    "Tile": _add_repeats,
    "AvgPool": _share_average,
    "MaxPool": _give_largest,
    "DepthwiseConv2dNative": _transpose_depthwise,
}
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
