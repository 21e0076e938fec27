"""Any network as a graph of constants, whoever built it: where its answer is, where it looked, and Grad-CAM of it.

Of a network that was not built here nothing is known but its operations. So everything is found in these: the scores
before a last softmax or sigmoid, the last map of features, and the way between the two, along which the gradient is
written down in operations that LiteRT has. Pooling is not on that way. It hands each gradient on whole, to one place or
shared among several, so that the sum over the places, which is all that Grad-CAM wants, is the same behind it::

    alpha_kc = 1 / (h w) sum over places of d y_c / d A_k = 1 / (h w) sum over pooled places of d y_c / d pool(A)_k
"""

import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
from tensorflow.python.grappler import tf_optimizer

from covid_cnn.common.errors import BundleError
from covid_cnn.training import gradcam

IMAGE = "image"  # the name of the one input
CONVOLUTIONS = ("Conv2D", "DepthwiseConv2dNative", "Conv2DBackpropInput", "BatchMatMulV2")
POOLS = ("MaxPool", "MaxPoolV2", "AvgPool")
REDUCTIONS = ("Mean", "Max")  # over the places: global pooling
SAME_VALUES = ("Identity", "IdentityN", "Reshape", "Squeeze", "Cast", "StopGradient")
LOOPS = ("Enter", "NextIteration", "While", "StatelessWhile", "TensorListReserve")
OWN_GRADIENT = "LiteRT"  # before the names of the gradients below


@dataclass(frozen=True)
class FrozenNetwork:
    """A network of one image, as a graph of constants.

    Attributes
    ----------
    graph : with the placeholder ``IMAGE``, float32 ``[1, H, W, C]``
    outputs : the names of the tensors that it answers
    """

    graph: tf.compat.v1.GraphDef
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Anatomy:
    """Where things are in a frozen network, by the names of its tensors.

    Attributes
    ----------
    answer, scores : one output ``[1, K]``, or of as many numbers, and the same before its last softmax or sigmoid
    last : "softmax", "sigmoid", or "" where the answer is the scores
    units : K
    feature_map : ``[1, h, w, C]``
    behind : where the pooling right behind the feature map ends, or the feature map itself
    partial : whether a part of the network leads around the feature map
    """

    answer: str
    scores: str
    last: str
    units: int
    feature_map: str
    behind: tuple[str, ...]
    partial: bool


def freeze(call: Callable[[tf.Tensor], Any], shape: Sequence[int]) -> FrozenNetwork:
    """Freeze what ``call`` answers to images ``[1, H, W, C]`` of a ``shape`` ``(H, W, C)``."""

    @tf.function(input_signature=[tf.TensorSpec((1, *shape), tf.float32, name=IMAGE)], autograph=False)
    def network(image: tf.Tensor) -> list[tf.Tensor]:
        return [tf.identity(one) for one in tf.nest.flatten(call(image))]

    frozen = convert_variables_to_constants_v2(network.get_concrete_function())
    image, outputs = frozen.inputs[0].op.name, tuple(output.name for output in frozen.outputs)
    graph = _fold_constants(frozen.graph, image, outputs)
    for node in graph.node:
        if node.name == image:
            node.attr["shape"].shape.CopyFrom(tf.TensorShape((1, *shape)).as_proto())
        node.attr.pop("_gradient_op_type", None)  # gradients of the process that built it
        data = [name for name in node.input if not name.startswith("^")]  # nothing here waits for anything
        del node.input[:]
        node.input.extend(data)
        if node.op in GRADIENTS:
            node.attr["_gradient_op_type"].s = (OWN_GRADIENT + node.op).encode()
    assert image == IMAGE
    return FrozenNetwork(graph, outputs)


def _fold_constants(graph: tf.Graph, image: str, outputs: Sequence[str]) -> tf.compat.v1.GraphDef:
    """The graph with everything worked out that hangs on no image, such as the shapes of its tensors."""
    meta = tf.compat.v1.train.export_meta_graph(graph_def=graph.as_graph_def(add_shapes=True), graph=graph)
    signature = meta_graph_pb2.CollectionDef()
    signature.node_list.value.extend([f"{image}:0", *outputs])
    meta.collection_def["train_op"].CopyFrom(signature)
    settings = config_pb2.ConfigProto()
    settings.graph_options.rewrite_options.optimizers.extend(["constfold", "dependency"])
    settings.graph_options.rewrite_options.min_graph_nodes = -1
    return tf_optimizer.OptimizeGraph(settings, meta)


def examine(network: FrozenNetwork, output: int = 0) -> Anatomy:
    """Find where things are in a network, seen from one of its outputs.

    Raises
    ------
    BundleError
        It looks at no map of features, or does not look at its image.
    """
    if any(node.op in LOOPS for node in network.graph.node):
        raise BundleError(
            "This network has a loop, as LSTM and GRU are, whose gradient cannot be exported: end it in pooling and "
            "dense layers."
        )
    graph = load_graph(network.graph)
    answer = graph.get_tensor_by_name(network.outputs[output])
    scores, last = _peel(answer)
    units = int(np.prod(answer.shape.as_list()))
    uses, order = _uses(graph, scores.op)
    feature_map, partial = _last_map(graph.get_operation_by_name(IMAGE), scores.op, order)
    behind = tuple(tensor.name for tensor in _behind_pooling(feature_map, uses))
    return Anatomy(answer.name, scores.name, last, units, feature_map.name, behind, partial)


def load_graph(graph: tf.compat.v1.GraphDef) -> tf.Graph:
    """A frozen graph, to look at."""
    loaded = tf.Graph()
    with loaded.as_default():
        tf.graph_util.import_graph_def(graph, name="")
    return loaded


def _peel(tensor: tf.Tensor) -> tuple[tf.Tensor, str]:
    """The scores behind an answer, and what made it of them: "softmax", "sigmoid" or ""."""
    peeled = tensor
    while peeled.op.type in SAME_VALUES:
        peeled = peeled.op.inputs[0]
    if peeled.op.type in ("Softmax", "Sigmoid"):
        return peeled.op.inputs[0], peeled.op.type.lower()
    return tensor, ""


def _uses(graph: tf.Graph, end: tf.Operation) -> tuple[dict[str, list[tf.Operation]], list[tf.Operation]]:
    """What uses each tensor on its way from the image to ``end``, and the operations on that way, in order."""
    image = graph.get_operation_by_name(IMAGE)
    before, stack = set(), [end]
    while stack:
        operation = stack.pop()
        if operation not in before:
            before.add(operation)
            stack.extend(tensor.op for tensor in operation.inputs)
    after, order, uses = {image}, [], defaultdict(list)
    for operation in graph.get_operations():  # each stands behind what it uses
        if operation in before and (operation is image or any(tensor.op in after for tensor in operation.inputs)):
            after.add(operation)
            order.append(operation)
            for tensor in operation.inputs:
                uses[tensor.name].append(operation)
    if end not in after:
        raise BundleError("The answer of this network does not depend on its image: choose another output.")
    return uses, order


def _is_map(tensor: tf.Tensor) -> bool:
    return tensor.shape.rank == 4 and all(side and side > 1 for side in tensor.shape.as_list()[1:3])


def _last_map(image: tf.Operation, end: tf.Operation, order: list[tf.Operation]) -> tuple[tf.Tensor, bool]:
    """The last feature map that everything behind it passes through, or else the last one of all and True."""
    first = next((at for at, operation in enumerate(order) if operation.type in CONVOLUTIONS), len(order))
    maps = [
        operation
        for operation in order[first:]
        if operation.type not in POOLS and operation.type != "Pad" and _is_map(operation.outputs[0])
    ]
    for operation in reversed(maps):
        if not _reaches(image, end, around=operation):
            return operation.outputs[0], False
    if not maps:
        raise BundleError(
            "This network has no map of features, which a convolution makes of an image, and Grad-CAM explains nothing "
            "else: only convolutional networks can be added."
        )
    return maps[-1].outputs[0], True


def _reaches(image: tf.Operation, end: tf.Operation, around: tf.Operation) -> bool:
    """Whether a way leads from the image to ``end`` that does not pass through an operation."""
    known, stack = {around}, [end]
    while stack:
        operation = stack.pop()
        if operation is image:
            return True
        if operation not in known:
            known.add(operation)
            stack.extend(tensor.op for tensor in operation.inputs)
    return False


def _behind_pooling(tensor: tf.Tensor, uses: dict[str, list[tf.Operation]]) -> Iterator[tf.Tensor]:
    users = uses[tensor.name]
    if users and all(_pools(operation) for operation in users):
        for operation in users:
            yield from _behind_pooling(operation.outputs[0], uses)
    else:
        yield tensor


def _pools(operation: tf.Operation) -> bool:
    if operation.type in REDUCTIONS and operation.inputs[0].shape.rank == 4:
        axes = tf.get_static_value(operation.inputs[1])
        return axes is not None and sorted(np.ravel(axes) % 4) == [1, 2]
    return operation.type in POOLS or operation.type == "Identity"


def explain(network: FrozenNetwork, anatomy: Anatomy, image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Put an image to a network, and explain its answer by Grad-CAM.

    Parameters
    ----------
    image : float32 ``[1, H, W, C]``, as the network takes it

    Returns
    -------
    The answer ``[1, K]``, the heatmaps ``[1, h, w, classes]``, 0..1, and the mean of the feature map ``[1, C]``.
    One unit is two classes.

    Raises
    ------
    BundleError
        An operation behind the feature map has no gradient.
    """
    names = [anatomy.answer, anatomy.scores, anatomy.feature_map, *anatomy.behind]
    answer, scores, feature_map, *behind = _put(network, image, names)
    answer, scores = (tf.reshape(tf.cast(one, tf.float32), (1, anatomy.units)) for one in (answer, scores))
    if not anatomy.last and anatomy.units > 1:
        scores = answer
    try:
        alpha = [_channel_weights(score, behind) for score in tf.unstack(gradcam.class_scores(scores), axis=-1)]
    except LookupError as error:
        operation = str(error).partition("type: ")[2].partition(")")[0] or str(error)
        raise BundleError(
            f"Behind its last feature map this network has an operation without a gradient ({operation}), so that "
            "Grad-CAM cannot explain it: end it in pooling and dense layers."
        ) from error
    _, height, width, channels = feature_map.shape
    weights = tf.stack(alpha, axis=-1)[None] / (height * width)  # [1, C, K]
    flat = tf.reshape(tf.cast(feature_map, tf.float32), (1, height * width, channels))
    heat = tf.reshape(tf.matmul(flat, weights), (1, height, width, weights.shape[-1]))
    return answer, gradcam.scale(tf.nn.relu(heat)), tf.reduce_mean(flat, axis=1)


def _put(network: FrozenNetwork, image: tf.Tensor, names: Sequence[str]) -> list[tf.Tensor]:
    """What a network makes of an image, at some of its tensors."""
    graph = tf.compat.v1.GraphDef()
    graph.versions.CopyFrom(network.graph.versions)
    graph.node.extend(node for node in network.graph.node if node.name != IMAGE)  # a placeholder would wait for a value
    return tf.graph_util.import_graph_def(graph, input_map={f"{IMAGE}:0": image}, return_elements=list(names), name="")


def _channel_weights(score: tf.Tensor, behind: list[tf.Tensor]) -> tf.Tensor:
    """The gradient of a score, summed over the places: ``[C]``."""
    total = tf.zeros(behind[0].shape[-1])
    for tensor, gradient in zip(behind, tf.gradients(score, behind), strict=True):
        if gradient is not None:
            total += tf.reduce_sum(tf.reshape(tf.cast(gradient, tf.float32), (-1, tensor.shape[-1])), axis=0)
    return total


def own_scaling(network: FrozenNetwork) -> tuple[list[float], list[float]]:
    """What the network itself makes of a black and of a white image, 0 and 1, before its first convolution."""
    graph = load_graph(network.graph)
    image = graph.get_tensor_by_name(f"{IMAGE}:0")
    first = next((operation for operation in graph.get_operations() if operation.type in CONVOLUTIONS), None)
    if first is None or first.inputs[0].shape.rank != 4:
        return [0.0], [1.0]
    with tf.compat.v1.Session(graph=graph) as session:
        both = [session.run(first.inputs[0], {image: np.full(image.shape, value)}) for value in (0, 1)]
    black, white = (values[0, values.shape[1] // 2, values.shape[2] // 2].tolist() for values in both)
    return black, white


def convert_probe(network: FrozenNetwork, anatomy: Anatomy) -> bytes:
    """The network as a LiteRT graph of ``image [1, H, W, 1]``, ``gain [C]`` and ``offset [C]`` with its bare answer."""
    _, height, width, channels = _shape(network)
    sizes = {"image": (1, height, width, 1), "gain": (channels,), "offset": (channels,)}

    @tf.function(input_signature=[tf.TensorSpec(size, tf.float32, name=name) for name, size in sizes.items()])
    def answer(image: tf.Tensor, gain: tf.Tensor, offset: tf.Tensor) -> dict[str, tf.Tensor]:
        (answer,) = _put(network, image * gain + offset, [anatomy.answer])
        return {"answer": tf.reshape(tf.cast(answer, tf.float32), (1, anatomy.units))}

    return convert(answer)


def explained(
    network: FrozenNetwork, anatomy: Anatomy, gain: Sequence[float], offset: Sequence[float], last: str
) -> Any:
    """The function of a bundle's graph: from ``image [1, H, W, 1]``, 0..1, to probabilities, heatmaps and embedding.

    Parameters
    ----------
    gain, offset : what makes of a grey 0..1 what the network takes, one number a channel
    last : what makes probabilities of the answer: "softmax" or "sigmoid", or "" where they are probabilities
    """
    _, height, width, _ = _shape(network)

    @tf.function(input_signature=[tf.TensorSpec((1, height, width, 1), tf.float32, name="image")])
    def serve(image: tf.Tensor) -> dict[str, tf.Tensor]:
        given = image * tf.constant(gain, tf.float32) + tf.constant(offset, tf.float32)
        answer, heatmaps, embedding = explain(network, anatomy, given)
        answer = {"softmax": tf.nn.softmax, "sigmoid": tf.sigmoid, "": tf.identity}[last](answer)
        return {"probabilities": probabilities(answer), "heatmaps": heatmaps, "embedding": embedding}

    return serve


def probabilities(answer: Any) -> Any:
    """``[N, K]`` that sum to 1, of what a network answers: the one of the second of two classes, or one a class."""
    if answer.shape[-1] == 1:
        return tf.concat([1 - answer, answer], axis=-1)
    return tf.math.divide_no_nan(answer, tf.reduce_sum(answer, axis=-1, keepdims=True))


def _shape(network: FrozenNetwork) -> list[int]:
    (image,) = (node for node in network.graph.node if node.name == IMAGE)
    return [side.size for side in image.attr["shape"].shape.dim]


def convert(function: Any) -> bytes:
    """A function as a LiteRT graph.

    Raises
    ------
    BundleError
        LiteRT lacks an operation of it.
    """
    module = tf.Module()
    module.function = function
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    try:
        with tempfile.TemporaryDirectory() as folder:
            tf.saved_model.save(module, folder, signatures=function, options=options)
            return tf.lite.TFLiteConverter.from_saved_model(folder).convert()
    except Exception as error:  # the converter's own errors have no common base
        lacking = re.findall(r"(?:Custom|Flex|Select TF) ops: ([^\n]*)", str(error))
        raise BundleError(
            "LiteRT, in which all models here work, lacks what this network does "
            f"({lacking[0] if lacking else str(error).strip().splitlines()[-1].strip()}): replace that layer."
        ) from error


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
    "Erf": lambda _, x, y: 2 / np.sqrt(np.pi) * tf.exp(-x * x),
    "Softsign": lambda _, x, y: tf.square(1 - tf.abs(y)),
    "Rsqrt": lambda _, x, y: -0.5 * y * y * y,
    "Sqrt": lambda _, x, y: 0.5 / y,
    "Reciprocal": lambda _, x, y: -y * y,
    "FusedBatchNormV3": lambda op, x, y: op.inputs[1] * tf.math.rsqrt(op.inputs[4] + op.get_attr("epsilon")),
}
GRADIENTS = frozenset(DERIVATIVES)


def _register(name: str) -> None:
    def gradient(operation: tf.Operation, upstream: tf.Tensor, *_: tf.Tensor) -> list[tf.Tensor | None]:
        change = DERIVATIVES[name](operation, operation.inputs[0], operation.outputs[0])
        return [upstream * change, *[None] * (len(operation.inputs) - 1)]

    tf.RegisterGradient(OWN_GRADIENT + name)(gradient)


for _name in DERIVATIVES:
    _register(_name)
