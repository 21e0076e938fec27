import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from benchmarks.heatmap_sanity import OPERATORS, Graph, copies, likeness, randomised, resamples
from covid_cnn.common.errors import CovidCnnError
from covid_cnn.data import synthetic
from covid_cnn.models import bundle
from covid_cnn.models.bundle import Bundle


@pytest.fixture(scope="module")
def model(shipped_models):
    return Bundle(shipped_models[0])


def test_copies_of_a_layer_are_found_along_any_axis_with_their_factors():
    layer = np.random.default_rng(0).normal(size=(2, 30)).astype(np.float32)
    array = np.stack([-0.1 * layer[1], 3 * layer[0], layer[1]], axis=1)[None]  # [1, 30, 3]
    found = copies(layer, array)
    assert [copy.row for copy in found] == [1, 0, 1]
    assert [copy.factor for copy in found] == pytest.approx([-0.1, 3, 1])
    found[0].weights[...] = 7
    assert (array[0, :, 0] == 7).all()


def test_one_vector_that_is_no_copy_spoils_the_array():
    rng = np.random.default_rng(0)
    layer = rng.normal(size=(2, 30)).astype(np.float32)
    assert copies(layer, np.stack([layer[0], rng.normal(size=30)])) == []


def test_scaled_slices_of_a_layer_are_found_with_where_they_start():
    layer = np.random.default_rng(0).normal(size=(3, 80)).astype(np.float32)
    zones = (0.3 * layer[:, 20:]).reshape(3, 3, 20).transpose(1, 2, 0).copy()  # [zones, 20, 3]
    found = copies(layer, zones.astype(np.float16))
    assert [(copy.row, copy.start) for copy in found] == [(row, start) for start in (20, 40, 60) for row in range(3)]
    assert [copy.factor for copy in found] == pytest.approx([0.3] * 9, rel=1e-3)


def test_a_slice_so_short_that_others_may_fit_is_none():
    layer = np.random.default_rng(0).normal(size=(3, 80)).astype(np.float32)
    assert copies(layer, layer[:, :8]) == []


def test_matrices_that_only_move_pixels_are_told_from_weights():
    rng = np.random.default_rng(0)
    matrix = rng.random((1, 5, 9))
    assert resamples(matrix / matrix.sum(axis=-1, keepdims=True))
    assert resamples(matrix / matrix.sum(axis=-2, keepdims=True))
    assert not resamples(matrix)
    signed = rng.normal(size=(5, 9))
    assert not resamples(signed - signed.mean(axis=-1, keepdims=True) + 1 / 9)


@pytest.fixture
def zoned(tmp_path):
    """A folder with a graph that looks twice through one convolution, and its constants."""
    rng = np.random.default_rng(0)
    kernel, logits = rng.normal(size=(20, 3, 3, 1)), rng.normal(size=(3, 40))
    parts = logits[:, :20].T[None] / 210, logits[:, 20:].T[None] / 70
    constants = [array.astype(np.float32) for array in (kernel, np.eye(6)[None], logits, *parts)]
    trunk, crop, head, whole, inside = range(1, 6)  # tensor 0 is the image, 6 and more are computed
    steps = [
        (OPERATORS.CONV_2D, [0, trunk], 6),
        (OPERATORS.BATCH_MATMUL, [crop, 0], 7),
        (OPERATORS.CONV_2D, [7, trunk], 8),
        (OPERATORS.CONCATENATION, [6, 8], 9),
        (OPERATORS.FULLY_CONNECTED, [9, head], 10),
        (OPERATORS.BATCH_MATMUL, [6, whole], 11),
        (OPERATORS.BATCH_MATMUL, [8, inside], 12),
        (OPERATORS.ADD, [11, 12], 13),
    ]
    (tmp_path / bundle.GRAPH_FILE).write_bytes(_packed(constants, steps, {"probabilities": 10, "heatmaps": 13}))
    return tmp_path


def _packed(constants, steps, outputs) -> bytes:
    """A LiteRT graph: buffer and tensor 0 are empty, then come the constants, then what the steps compute."""
    model, graph, signature = schema.ModelT(), schema.SubGraphT(), schema.SignatureDefT()
    model.subgraphs, model.signatureDefs = [graph], [signature]
    model.buffers = [schema.BufferT() for _ in range(len(constants) + 1)]
    graph.tensors = [schema.TensorT() for _ in range(1 + len(constants) + len(steps))]
    for index, array in enumerate(constants, start=1):
        model.buffers[index].data = np.frombuffer(array.tobytes(), np.uint8)
        graph.tensors[index].buffer, graph.tensors[index].shape = index, list(array.shape)
    model.operatorCodes, graph.operators = [], []
    for index, (code, inputs, output) in enumerate(steps):
        model.operatorCodes.append(schema.OperatorCodeT())
        model.operatorCodes[-1].builtinCode = code
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = index, np.int32(inputs), np.int32([output])
        graph.operators.append(operator)
    signature.outputs = [schema.TensorMapT() for _ in outputs]
    for entry, (name, tensor) in zip(signature.outputs, outputs.items(), strict=True):
        entry.name, entry.tensorIndex = name, tensor
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _constants(content) -> list[np.ndarray]:
    buffers = schema.ModelT.InitFromPackedBuf(bytearray(content), 0).buffers
    return [buffer.data.view("<f4").copy() for buffer in buffers if buffer.data is not None]


def test_slices_change_with_the_last_layer(zoned):
    graph = Graph(zoned)
    before = _constants(graph.content)
    graph.shuffle(0, np.random.default_rng(1))
    kernel, crop, logits, whole, inside = _constants(graph.content)
    assert not np.array_equal(logits, before[2])
    logits = logits.reshape(3, 40)
    assert whole.reshape(20, 3) * 210 == pytest.approx(logits[:, :20].T, rel=1e-5)
    assert inside.reshape(20, 3) * 70 == pytest.approx(logits[:, 20:].T, rel=1e-5)
    assert np.array_equal(kernel, before[0]) and np.array_equal(crop, before[1])


def test_a_layer_that_is_used_twice_is_one_layer_and_a_crop_is_none(zoned):
    graph = Graph(zoned)
    assert [filters.shape for filters in graph.layers] == [(3, 40), (20, 9)]
    crop = _constants(graph.content)[1]
    graph.shuffle(1, np.random.default_rng(1))
    once = np.random.default_rng(1).permuted(Graph(zoned).layers[1], axis=1)
    assert np.array_equal(graph.layers[1], once)
    assert np.array_equal(_constants(graph.content)[1], crop)


def test_a_graph_without_shuffled_layers_predicts_as_before(model, tmp_path):
    pixels = synthetic.draw_radiograph(0, opacities=True)
    same = randomised(model, 0, np.random.default_rng(0), tmp_path).predict(pixels)
    assert np.array_equal(same.heatmaps, model.predict(pixels).heatmaps)


def test_the_last_layer_changes_with_its_copies_and_nothing_else(model, tmp_path):
    pixels = synthetic.draw_radiograph(0, opacities=True)
    before, other = model.predict(pixels), randomised(model, 1, np.random.default_rng(0), tmp_path)
    after = other.predict(pixels)
    assert np.array_equal(after.embedding, before.embedding)
    assert not np.allclose(after.probabilities, before.probabilities, atol=1e-3)
    assert not np.allclose(after.heatmaps, before.heatmaps, atol=0.1)
    # Opening the graph finds the copies by their values, so they must have changed alike.
    old, new = Graph(model.folder).layers, Graph(other.folder).layers
    assert np.array_equal(np.sort(new[0]), np.sort(old[0])) and not np.array_equal(new[0], old[0])
    assert all(np.array_equal(a, b) for a, b in zip(new[1:], old[1:], strict=True))


def test_everything_is_shuffled_within_its_filters(model, tmp_path):
    old = Graph(model.folder).layers
    new = Graph(randomised(model, len(old), np.random.default_rng(0), tmp_path).folder).layers
    for a, b in zip(old, new, strict=True):
        assert np.array_equal(np.sort(a), np.sort(b)) and not np.array_equal(a, b)


def test_heatmaps_that_rest_on_sums_of_weights_are_refused(shipped_models):
    with pytest.raises(CovidCnnError, match="sums of its weights"):
        Graph(shipped_models[1])


def test_likeness_is_one_for_the_same_map_and_undefined_for_a_flat_one():
    heat = np.random.default_rng(0).random((7, 7))
    assert likeness(heat, heat, (64, 64)) == pytest.approx((1, 1))
    assert likeness(heat, 1 - heat, (64, 64))[0] == pytest.approx(-1)
    assert np.isnan(likeness(heat, np.zeros((7, 7)), (64, 64))).all()
