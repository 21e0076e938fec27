"""Any network as a graph of constants, whoever built it: where its answer is, where it looked, and Grad-CAM of it.

Of a network that was not built here nothing is known but its operations. So everything is found in these: the scores
before a last softmax or sigmoid, the last map of features, and the way between the two, along which the gradient is
written down in operations that LiteRT has. Pooling is not on that way. It hands each gradient on whole, to one place or
shared among several, so that the sum over the places, which is all that Grad-CAM wants, is the same behind it::

    alpha_kc = 1 / (h w) sum over places of d y_c / d A_k = 1 / (h w) sum over pooled places of d y_c / d pool(A)_k
"""

import contextlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
from tensorflow.python.grappler import tf_optimizer

from covid_cnn.common.errors import BundleError
from covid_cnn.training import export, gradcam
from covid_cnn.training.derivatives import GRADIENTS, LACKING, OWN_GRADIENT

IMAGE = "image"  # the name of the one input
CONVOLUTIONS = ("Conv2D", "DepthwiseConv2dNative", "Conv2DBackpropInput", "BatchMatMulV2")
POOLS = ("MaxPool", "MaxPoolV2", "AvgPool")
SIZES = (*CONVOLUTIONS[:3], *POOLS, "ResizeBilinear", "ResizeNearestNeighbor")  # make maps of another size
REDUCTIONS = ("Mean", "Max")  # over the places: global pooling
SAME_VALUES = ("Identity", "IdentityN", "Reshape", "Squeeze", "Cast", "StopGradient")
LARGE = 2**20  # bytes of a constant that is kept as a variable: of constants TensorFlow makes many copies
LOOPS = ("Enter", "NextIteration", "While", "StatelessWhile", "TensorListReserve")


class UnexplainedError(BundleError):
    """The gradient of a network cannot be written down, though its answers can be had."""


@dataclass(frozen=True)
class FrozenNetwork:
    """A network of one image, as a graph of constants.

    Attributes
    ----------
    graph : with the placeholder ``IMAGE``, float32 ``[1, H, W, C]``, and one for each of the weights
    outputs : the names of the tensors that it answers
    weights : its large constants, by name
    """

    graph: tf.compat.v1.GraphDef
    outputs: tuple[str, ...]
    weights: Mapping[str, tf.Variable]

    def save(self, file: Path) -> None:
        """Write it, so that `load` reads it."""
        arrays = {name: weight.numpy() for name, weight in self.weights.items()}
        np.savez(file, np.frombuffer(self.graph.SerializeToString(), np.uint8), self.outputs, **arrays)

    @classmethod
    def load(cls, file: Path) -> "FrozenNetwork":
        """Read it."""
        with np.load(file) as arrays:
            graph = tf.compat.v1.GraphDef.FromString(arrays["arr_0"].tobytes())
            weights = {name: tf.Variable(arrays[name]) for name in arrays.files if not name.startswith("arr_")}
            return cls(graph, tuple(arrays["arr_1"].tolist()), weights)


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
    graph, weights = _fold_constants(frozen.graph, image, outputs)
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
    return FrozenNetwork(graph, outputs, weights)


def _fold_constants(
    graph: tf.Graph, image: str, outputs: Sequence[str]
) -> tuple[tf.compat.v1.GraphDef, dict[str, tf.Variable]]:
    """The graph with everything worked out that hangs on no image, such as shapes, and its large constants."""
    described = graph.as_graph_def(add_shapes=True)
    # Keras has XLA compile its grouped convolutions, and what it compiles is called and not laid open.
    for holder in (*described.node, *described.library.function, *_inner_nodes(described)):
        for mark in ("_XlaMustCompile", "_noinline"):
            holder.attr.pop(mark, None)
    weights = _take_weights(described)
    meta = tf.compat.v1.train.export_meta_graph(graph_def=described, graph=graph)
    signature = meta_graph_pb2.CollectionDef()
    signature.node_list.value.extend([f"{image}:0", *outputs])
    meta.collection_def["train_op"].CopyFrom(signature)
    settings = config_pb2.ConfigProto()
    settings.graph_options.rewrite_options.optimizers.extend(["function", "constfold", "dependency"])
    settings.graph_options.rewrite_options.min_graph_nodes = -1
    return tf_optimizer.OptimizeGraph(settings, meta), weights


def _take_weights(graph: tf.compat.v1.GraphDef) -> dict[str, tf.Variable]:
    """Put placeholders in place of the large constants of a graph, and return these by name."""
    weights = {}
    for node in graph.node:
        if node.op == "Const" and node.attr["value"].ByteSize() > LARGE:
            value = node.attr.pop("value").tensor
            weights[node.name] = tf.Variable(tf.make_ndarray(value), trainable=False)
            node.op = "Placeholder"
            node.attr["shape"].shape.CopyFrom(value.tensor_shape)
    return weights


def _inner_nodes(graph: tf.compat.v1.GraphDef) -> Iterator[tf.compat.v1.NodeDef]:
    for function in graph.library.function:
        yield from function.node_def


def examine(network: FrozenNetwork, output: int = 0) -> Anatomy:
    """Find where things are in a network, seen from one of its outputs.

    Raises UnexplainedError where it has a loop, or looks at no map of features; BundleError where not at its image.
    """
    if any(node.op in LOOPS for node in network.graph.node):
        raise UnexplainedError("This network has a loop, whose gradient cannot be exported.")
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
    maps, sizes = [], set()
    for operation in order:
        size = tuple(operation.outputs[0].shape[1:3]) if _is_map(operation.outputs[0]) else ()
        if operation.type in SIZES:
            sizes.add(size)
        # What has other sides, such as the weights of attention, has no places of the image.
        if size and size in sizes and operation.type not in POOLS and operation.type != "Pad":
            maps.append(operation)
    for operation in reversed(maps):
        if not _reaches(image, end, around=operation):
            return operation.outputs[0], False
    if not maps:
        raise UnexplainedError(
            "This network has no map of features, which a convolution makes of an image, and Grad-CAM explains nothing "
            "else."
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
    UnexplainedError
        An operation behind the feature map has no gradient.
    """
    names = [anatomy.answer, anatomy.scores, anatomy.feature_map, *anatomy.behind]
    answer, scores, feature_map, *behind = _put(network, image, names, anatomy.feature_map)
    answer, scores = (tf.reshape(tf.cast(one, tf.float32), (1, anatomy.units)) for one in (answer, scores))
    if not anatomy.last and anatomy.units > 1:
        scores = answer
    try:
        alpha = [_channel_weights(score, behind) for score in tf.unstack(gradcam.class_scores(scores), axis=-1)]
    except LookupError as error:
        operation = str(error).partition("type: ")[2].partition(")")[0] or str(error)
        raise UnexplainedError(
            f"Behind its last feature map this network has an operation without a gradient ({operation})."
        ) from error
    _, height, width, channels = feature_map.shape
    weights = tf.stack(alpha, axis=-1)[None] / (height * width)  # [1, C, K]
    flat = tf.reshape(tf.cast(feature_map, tf.float32), (1, height * width, channels))
    heat = tf.reshape(tf.matmul(flat, weights), (1, height, width, weights.shape[-1]))
    return answer, gradcam.scale(tf.nn.relu(heat)), tf.reduce_mean(flat, axis=1)


def _put(network: FrozenNetwork, image: tf.Tensor, names: Sequence[str], feature_map: str) -> list[tf.Tensor]:
    """What a network makes of an image, at some of its tensors."""
    graph = tf.compat.v1.GraphDef()
    graph.versions.CopyFrom(network.graph.versions)
    # Before the feature map LiteRT knows GELU as one; behind it the gradient needs what GELU is made of.
    whole = _before(network.graph, feature_map)
    for node in network.graph.node:
        if node.op in LACKING and node.name not in whole:
            graph.node.extend(_write_out(node))
        elif node.name not in (IMAGE, *network.weights):  # a placeholder would wait for a value
            graph.node.append(node)
    given = {f"{name}:0": weight.value() for name, weight in network.weights.items()} | {f"{IMAGE}:0": image}
    return tf.graph_util.import_graph_def(graph, input_map=given, return_elements=list(names), name="")


def _before(graph: tf.compat.v1.GraphDef, tensor: str) -> set[str]:
    """The names of the nodes that a tensor hangs on."""
    inputs = {node.name: node.input for node in graph.node}
    before: set[str] = set()
    stack = [tensor]
    while stack:
        name = stack.pop().partition(":")[0]
        if name not in before:
            before.add(name)
            stack.extend(inputs[name])
    return before


def _write_out(node: tf.compat.v1.NodeDef) -> Iterator[tf.compat.v1.NodeDef]:
    """A node of `LACKING` in nodes that LiteRT has, the last of them under its name."""
    with tf.Graph().as_default() as graph:
        tf.identity(LACKING[node.op](tf.compat.v1.placeholder(node.attr["T"].type, name="x")), name="y")
    names = {part.name: f"{node.name}/{part.name}" for part in graph.as_graph_def().node}
    names |= {"x": node.input[0], "y": node.name}
    for part in graph.as_graph_def().node:
        if part.name != "x":
            part.name = names[part.name]
            part.input[:] = [names[name] for name in part.input]
            yield part


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


def convert_answer(network: FrozenNetwork, anatomy: Anatomy) -> bytes:
    """The network as a LiteRT graph that answers ``image [1, H, W, C]`` and explains nothing."""

    @tf.function(input_signature=[tf.TensorSpec(_shape(network), tf.float32, name=IMAGE)], autograph=False)
    def answer(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"answer": tf.cast(_put(network, image, [anatomy.answer], anatomy.feature_map)[0], tf.float32)}

    return convert(answer)


def convert_call(call: Callable[[tf.Tensor], Any], shape: Sequence[int], output: int = 0) -> bytes:
    """One output of what ``call`` answers to images of a ``shape`` ``(H, W, C)``, as a LiteRT graph."""

    @tf.function(input_signature=[tf.TensorSpec((1, *shape), tf.float32, name=IMAGE)], autograph=False)
    def answer(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"answer": tf.cast(tf.nest.flatten(call(image))[output], tf.float32)}

    # Loops stay loops, which LiteRT has.
    constants = convert_variables_to_constants_v2(answer.get_concrete_function(), lower_control_flow=False)
    with _one_sentence("this network does"):
        return tf.lite.TFLiteConverter.from_concrete_functions([constants]).convert()


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


def convert(function: Any, what: str = "this network does") -> bytes:
    """A function as a LiteRT graph; raises BundleError, which says ``what`` cannot be, where LiteRT lacks something."""
    with _one_sentence(what):
        return export.convert_function(function)


@contextlib.contextmanager
def _one_sentence(what: str) -> Iterator[None]:
    try:
        yield
    except BundleError:
        raise
    except Exception as error:  # the converter's own errors have no common base
        lacking = re.findall(r"(?:Custom|Flex|TF Select) ops: ([^\n]*)", str(error))
        reason = lacking[0] if lacking else str(error).strip().splitlines()[-1].strip()[:200]
        if lacking and (half := re.search(r"x(b?f16|f64)>", str(error))):
            reason += f" in {half[1]}: its .keras or .h5 file can be added"
        raise BundleError(f"LiteRT, in which all models here work, cannot do what {what} ({reason}).") from error
