"""The closed form of Grad-CAM is Grad-CAM: held against automatic differentiation, for every kind of head."""

from typing import NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from keras import layers

from covid_cnn.data import synthetic
from covid_cnn.training import export, gradcam, networks


@pytest.mark.parametrize("name", ["MobileNetV2", "notebook_cnn"])
def test_with_three_classes_as_well(name):
    keras.utils.set_random_seed(3)
    model = networks.build_network(name, 3, pretrained=False)
    export.round_weights(model)
    interpreter = Interpreter(model_content=export.convert_graph(model, temperature=1.5))
    images = np.random.default_rng(0).random((2, *model.input_shape[1:]), np.float32)
    heatmaps = gradcam.reference(model, images)
    probabilities = export.calibrated_probabilities(model(images, training=False), 1.5).numpy()
    assert heatmaps.shape[-1] == probabilities.shape[-1] == 3
    assert heatmaps.max() == pytest.approx(1)
    for i, image in enumerate(images):
        outputs = interpreter.get_signature_runner()(image=image[None])
        np.testing.assert_allclose(outputs["heatmaps"][0], heatmaps[i], rtol=0, atol=1e-3)
        np.testing.assert_allclose(outputs["probabilities"][0], probabilities[i], rtol=0, atol=1e-4)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("name", ["tiny_pooled", "tiny_dense"])
def test_the_closed_form_is_the_gradient_for_every_head(tiny_networks, name, classes):
    model = networks.build_network(name, classes)
    images = np.random.default_rng(1).random((5, 32, 32, 1), np.float32)
    outputs = [model.get_layer("feature_map").output, model.get_layer("embedding").output]
    closed = gradcam.explain(model, *keras.Model(model.inputs, outputs)([images], training=False)).numpy()
    np.testing.assert_allclose(closed, gradcam.reference(model, images), atol=1e-5)


def test_layers_of_a_linear_network_explain_the_same():
    """Without biases and activations, 1x1 convolutions and a mean are one linear map, at whatever layer one looks."""
    image = keras.Input((8, 8, 1))
    early = layers.Conv2D(4, 1, use_bias=False, name="early")(image)
    late = layers.Conv2D(5, 1, use_bias=False, name="feature_map")(early)
    pooled = layers.GlobalAveragePooling2D(name="embedding")(late)
    model = keras.Model(image, networks.logits_layer(3)(pooled))
    images = np.random.default_rng(2).normal(size=(4, 8, 8, 1)).astype(np.float32)
    at_early = gradcam.reference(model, images, layer="early")
    assert at_early.any()
    np.testing.assert_allclose(at_early, gradcam.reference(model, images), atol=1e-5)


def test_the_reference_has_the_size_of_the_layer_that_is_asked_for(tiny_networks):
    model = networks.build_network("tiny_dense", 2)
    images = np.random.default_rng(3).random((2, 32, 32, 1), np.float32)
    heatmaps = gradcam.reference(model, images, layer=model.layers[1].name)
    assert heatmaps.shape == (2, 15, 15, 2)
    assert heatmaps.min() >= 0 and heatmaps.max() <= 1


def test_one_logit_speaks_against_the_first_class_and_for_the_second(tiny_networks):
    one = networks.build_network("tiny_dense", 2)
    embedding = one.get_layer("logits").input
    two = keras.Model(one.inputs, layers.Dense(2, name="logits_of_both")(embedding))
    kernel, bias = one.get_layer("logits").get_weights()
    two.layers[-1].set_weights([np.concatenate([-kernel, kernel], 1), np.concatenate([-bias, bias])])
    images = np.random.default_rng(4).random((3, 32, 32, 1), np.float32)
    heatmaps = gradcam.reference(one, images)
    np.testing.assert_allclose(heatmaps, gradcam.reference(two, images), atol=1e-6)
    assert not np.allclose(heatmaps[..., 0], heatmaps[..., 1])


def test_scale_divides_each_map_by_its_own_maximum_and_keeps_an_empty_one():
    heatmaps = np.zeros((1, 2, 2, 3), np.float32)
    heatmaps[0, 1, 0] = 4, 0, 1e-3
    heatmaps[0, 0, 1] = 1, 0, 0
    scaled = gradcam.scale(heatmaps).numpy()
    np.testing.assert_allclose(scaled[0, 1, 0], [1, 0, 1])
    np.testing.assert_allclose(scaled[0, 0, 1], [0.25, 0, 0])


# The network that looks at the image and at the zones of the lungs apart


class LungZones(NamedTuple):
    model: keras.Model
    images: np.ndarray
    feature_map: tf.Tensor
    embedding: tf.Tensor
    logits: np.ndarray
    box: tf.Tensor


@pytest.fixture(scope="module")
def lung_zones() -> LungZones:
    """With three classes, rounded as a graph stores it, and what its layers say about two drawn radiographs."""
    keras.utils.set_random_seed(3)
    model = networks.build_network("lung_zones", 3)
    model.get_layer("logits").bias.assign([0.5, -1, 2])
    export.round_weights(model)
    images = np.stack([synthetic.draw_radiograph(seed, opacities=True, size=384)[..., None] for seed in range(2)])
    names = ("feature_map", "embedding", "logits", "box")
    outputs = keras.Model(model.inputs, [model.get_layer(name).output for name in names])([images], training=False)
    return LungZones(model, images, outputs[0], outputs[1], outputs[2].numpy(), outputs[3])


def test_all_places_together_are_the_logits_less_their_bias(lung_zones):
    contributions = gradcam.zone_contributions(lung_zones.model, lung_zones.feature_map).numpy()
    assert contributions.shape == (2, *lung_zones.feature_map.shape[1:3], 2, 3)
    bias = lung_zones.model.get_layer("logits").bias.numpy()
    np.testing.assert_allclose(contributions.sum(axis=(1, 2, 3)), lung_zones.logits - bias, atol=1e-4)


def test_the_closed_form_of_zones_is_the_gradient(lung_zones):
    closed = gradcam.explain(lung_zones.model, lung_zones.feature_map, lung_zones.embedding, lung_zones.box).numpy()
    assert closed.shape == (2, gradcam.GRID, gradcam.GRID, 3)
    assert closed.max() == pytest.approx(1)
    np.testing.assert_allclose(closed, gradcam.reference(lung_zones.model, lung_zones.images), atol=1e-4)


def test_the_drawn_lungs_have_boxes_of_their_own(lung_zones):
    """Otherwise the box is the whole image, and the tests here would see half of what there is."""
    top, bottom, left, right = lung_zones.box.numpy().T
    assert (top > 0).all() and (bottom < 1).all() and (left < 0.4).all() and (right > 0.6).all()


def test_the_exported_graph_of_zones_is_the_network(lung_zones):
    interpreter = Interpreter(model_content=export.convert_graph(lung_zones.model, temperature=1.5))
    heatmaps = gradcam.reference(lung_zones.model, lung_zones.images)
    probabilities = export.calibrated_probabilities(tf.constant(lung_zones.logits), 1.5).numpy()
    for i, image in enumerate(lung_zones.images):
        outputs = interpreter.get_signature_runner()(image=image[None])
        np.testing.assert_allclose(outputs["heatmaps"][0], heatmaps[i], rtol=0, atol=1e-3)
        np.testing.assert_allclose(outputs["probabilities"][0], probabilities[i], rtol=0, atol=1e-4)
        np.testing.assert_allclose(outputs["embedding"][0], lung_zones.embedding[i], rtol=0, atol=1e-3)
