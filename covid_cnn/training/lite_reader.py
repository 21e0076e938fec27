"""A LiteRT graph as a function of TensorFlow, operation by operation, so that it can be explained as any other network.

A .tflite file has no gradients, and its operations are few. Those of convolutional networks are written down here; a
file with another one is refused. Quantized weights are taken for the numbers that they stand for, and the answers are
held against the file's own.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from tensorflow.lite.python import schema_py_generated as schema

from covid_cnn.common.errors import BundleError
from covid_cnn.training.frozen import UnexplainedError

TOLERANCE = 0.05  # between the answers of quantized arithmetic and of the numbers that it stands for
ACTIVATIONS: dict[int, Callable[[Any], Any]] = {0: tf.identity, 1: tf.nn.relu, 3: tf.nn.relu6, 4: tf.tanh}
NUMBERS = {0: tf.float32, 2: tf.int32, 4: tf.int64, 6: tf.bool}
PADDINGS = {0: "SAME", 1: "VALID"}
Values = list[Any]


def _strides(options: Any) -> list[int]:
    return [1, options.strideH, options.strideW, 1]


def _conv(options: Any, x: Any, kernel: Any, bias: Any = 0.0) -> Any:
    rates = [options.dilationHFactor, options.dilationWFactor]
    kernel = tf.transpose(kernel, (1, 2, 3, 0))
    y = tf.nn.conv2d(x, kernel, _strides(options), PADDINGS[options.padding], dilations=rates)
    return ACTIVATIONS[options.fusedActivationFunction](y + bias)


def _depthwise(options: Any, x: Any, kernel: Any, bias: Any = 0.0) -> Any:
    kernel = tf.reshape(kernel, (*kernel.shape[1:3], x.shape[-1], options.depthMultiplier))
    rates = [options.dilationHFactor, options.dilationWFactor]
    y = tf.nn.depthwise_conv2d(x, kernel, _strides(options), PADDINGS[options.padding], dilations=rates)
    return ACTIVATIONS[options.fusedActivationFunction](y + bias)


def _dense(options: Any, x: Any, kernel: Any, bias: Any = None) -> Any:
    if not options.keepNumDims:
        x = tf.reshape(x, (-1, kernel.shape[1]))
    y = tf.matmul(x, kernel, transpose_b=True)
    return ACTIVATIONS[options.fusedActivationFunction](y if bias is None else y + bias)


def _pool(function: Callable[..., Any]) -> Callable[..., Any]:
    def pool(options: Any, x: Any) -> Any:
        size = (options.filterHeight, options.filterWidth)
        y = function(x, size, (options.strideH, options.strideW), PADDINGS[options.padding])
        return ACTIVATIONS[options.fusedActivationFunction](y)

    return pool


def _pairwise(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda options, x, y: ACTIVATIONS[getattr(options, "fusedActivationFunction", 0)](function(x, y))


def _single(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda options, x: function(x)


def _reduce(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda options, x, axes: function(
        x, axis=np.ravel(tf.get_static_value(axes)).tolist(), keepdims=options.keepDims
    )


OPERATIONS: dict[str, Callable[..., Any]] = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _dense,
    "MAX_POOL_2D": _pool(tf.nn.max_pool2d),
    "AVERAGE_POOL_2D": _pool(tf.nn.avg_pool2d),
    "MEAN": _reduce(tf.reduce_mean),
    "SUM": _reduce(tf.reduce_sum),
    "REDUCE_MAX": _reduce(tf.reduce_max),
    "ADD": _pairwise(tf.add),
    "SUB": _pairwise(tf.subtract),
    "MUL": _pairwise(tf.multiply),
    "DIV": _pairwise(tf.divide),
    "MAXIMUM": _pairwise(tf.maximum),
    "MINIMUM": _pairwise(tf.minimum),
    "SQUARED_DIFFERENCE": _pairwise(tf.math.squared_difference),
    "EQUAL": _pairwise(tf.equal),
    "GREATER": _pairwise(tf.greater),
    "CAST": lambda options, x: tf.cast(x, NUMBERS[options.outDataType if options else 0]),
    "SELECT_V2": lambda options, chosen, x, y: tf.where(chosen, x, y),
    "BATCH_MATMUL": lambda options, x, y: tf.matmul(x, y, transpose_a=options.adjX, transpose_b=options.adjY),
    **{name: _single(one) for name, one in {"RELU": tf.nn.relu, "RELU6": tf.nn.relu6, "LOGISTIC": tf.sigmoid}.items()},
    **{name: _single(one) for name, one in {"TANH": tf.tanh, "ELU": tf.nn.elu, "EXP": tf.exp, "ABS": tf.abs}.items()},
    **{name: _single(one) for name, one in {"RSQRT": tf.math.rsqrt, "SQRT": tf.sqrt, "NEG": tf.negative}.items()},
    **{name: _single(tf.identity) for name in ("DEQUANTIZE", "QUANTIZE")},
    "SQUARE": _single(tf.square),
    "HARD_SWISH": _single(lambda x: x * tf.nn.relu6(x + 3) / 6),
    "GELU": lambda options, x: tf.nn.gelu(x, options.approximate),
    "LEAKY_RELU": lambda options, x: tf.nn.leaky_relu(x, options.alpha),
    "SOFTMAX": lambda options, x: tf.nn.softmax(x * options.beta if options.beta != 1 else x),
    "RESHAPE": lambda options, x, shape: tf.reshape(x, shape),
    "SQUEEZE": lambda options, x: tf.squeeze(x, np.ravel(options.squeezeDims).tolist()),
    "EXPAND_DIMS": lambda options, x, axis: tf.expand_dims(x, int(tf.get_static_value(axis))),
    "TRANSPOSE": lambda options, x, order: tf.transpose(x, order),
    "PAD": lambda options, x, pads: tf.pad(x, pads),
    "CONCATENATION": lambda options, *parts: ACTIVATIONS[options.fusedActivationFunction](
        tf.concat(parts, options.axis)
    ),
}


def read_lite(path: Path) -> tuple[Callable[[Any], list[Any]], tuple[int, int, int], list[str]]:
    """What a .tflite file does to an image, ``(H, W, C)`` of it, and the names of its outputs.

    Raises BundleError where it takes no single image. What is returned raises UnexplainedError where the file has an
    operation that is not written down here.
    """
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    graph = model.subgraphs[0]
    codes = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    names = [codes[max(one.builtinCode, one.deprecatedBuiltinCode)] for one in model.operatorCodes]
    lacking = sorted({names[one.opcodeIndex] for one in graph.operators} - OPERATIONS.keys())
    if len(graph.inputs) != 1:
        raise BundleError(f"A network of one image can be added; this one takes {len(graph.inputs)} inputs.")
    shape = [int(side) for side in graph.tensors[graph.inputs[0]].shape]
    if len(shape) != 4 or shape[0] != 1 or shape[3] not in (1, 3):
        raise BundleError(
            f"The input of this network is {shape}, and one image of [1, height, width, 1 or 3] is needed."
        )
    labels = [graph.tensors[at].name.decode() for at in graph.outputs]
    size = (shape[1], shape[2], shape[3])
    if lacking or len(model.subgraphs) > 1:

        def refuse(image: Any) -> list[Any]:
            raise UnexplainedError(
                f"The gradient of a .tflite file with {', '.join(lacking) or 'several graphs'} is not known here; the "
                "Keras file or the SavedModel that it was made of has one."
            )

        return refuse, size, labels
    constants = {at: value for at, one in enumerate(graph.tensors) if (value := _constant(model, one)) is not None}

    def call(image: Any) -> list[Any]:
        values = {at: tf.constant(value) for at, value in constants.items()} | {graph.inputs[0]: image}
        for one in graph.operators:
            given = [values[at] for at in one.inputs if at >= 0]
            values[one.outputs[0]] = OPERATIONS[names[one.opcodeIndex]](one.builtinOptions, *given)
        return [values[at] for at in graph.outputs]

    _check(path, call, shape)
    return call, size, labels


def count_numbers(file: Path) -> int:
    """How many numbers a LiteRT graph holds."""
    model = schema.ModelT.InitFromPackedBuf(file.read_bytes(), 0)
    return sum(
        int(np.prod(one.shape))
        for graph in model.subgraphs
        for one in graph.tensors
        if model.buffers[one.buffer].data is not None and one.shape is not None
    )


def _constant(model: Any, tensor: Any) -> np.ndarray | None:
    """The numbers that a tensor holds, or stands for where they are quantized; None where it has none yet."""
    data = model.buffers[tensor.buffer].data
    if data is None or not len(data):
        return None
    kinds = {0: np.float32, 1: np.float16, 2: np.int32, 3: np.uint8, 4: np.int64, 9: np.int8, 7: np.int16}
    if tensor.type not in kinds:
        raise BundleError("This .tflite file holds numbers of a kind that is not read here: add its Keras file.")
    values = np.frombuffer(bytes(data), kinds[tensor.type]).reshape(np.ravel(tensor.shape).astype(int))
    scales = tensor.quantization.scale if tensor.quantization else None
    if scales is not None and len(scales):
        along = [1] * values.ndim
        if len(scales) > 1:
            along[tensor.quantization.quantizedDimension] = -1
        zero = np.reshape(tensor.quantization.zeroPoint, along)
        return ((values.astype(np.float32) - zero) * np.reshape(scales, along)).astype(np.float32)
    return values.astype(np.float32) if tensor.type == 1 else values


def _check(path: Path, call: Callable[[Any], list[Any]], shape: list[int]) -> None:
    """Hold what was read against the file's own answers to an image."""
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    taken = interpreter.get_input_details()[0]
    scale, zero = taken["quantization"]
    image = np.random.default_rng(0).random(shape, np.float32)
    given, raw = (image, image) if not scale else (image, np.rint(image / scale + zero))
    if scale:
        limits = np.iinfo(taken["dtype"])
        raw = raw.clip(limits.min, limits.max)
        given = ((raw - zero) * scale).astype(np.float32)
    interpreter.set_tensor(taken["index"], raw.astype(taken["dtype"]))
    interpreter.invoke()
    for detail, output in zip(interpreter.get_output_details(), call(tf.constant(given)), strict=True):
        own = interpreter.get_tensor(detail["index"]).astype(np.float32)
        if detail["quantization"][0]:
            own = (own - detail["quantization"][1]) * detail["quantization"][0]
        if not np.abs(own - output.numpy()).max() <= TOLERANCE * max(1.0, float(np.abs(own).max())):
            raise BundleError(f"{path.name} was read, but answers otherwise than the file: add its Keras file.")
