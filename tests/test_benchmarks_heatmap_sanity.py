import numpy as np
import pytest

from benchmarks.heatmap_sanity import Graph, copies, likeness, randomised
from covid_cnn import synthetic
from covid_cnn.bundle import Bundle
from covid_cnn.errors import CovidCnnError


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


def test_a_graph_without_shuffled_layers_predicts_as_before(model, tmp_path):
    pixels = synthetic.draw(0, opacities=True)
    same = randomised(model, 0, np.random.default_rng(0), tmp_path).predict(pixels)
    assert np.array_equal(same.heatmaps, model.predict(pixels).heatmaps)


def test_the_last_layer_changes_with_its_copies_and_nothing_else(model, tmp_path):
    pixels = synthetic.draw(0, opacities=True)
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
