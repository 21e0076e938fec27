"""The closed form of Grad-CAM is Grad-CAM: held against automatic differentiation, for every kind of head."""

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers

from benchmarks import gradient_tape
from covid_cnn.training import export, gradcam, networks


@pytest.mark.parametrize("name", ["MobileNetV2", "notebook_cnn"])
def test_with_three_classes_as_well(name):
    keras.utils.set_random_seed(3)
    model = networks.build_network(name, 3, pretrained=False)
    export.round_weights(model)
    interpreter = Interpreter(model_content=export.convert_graph(model, temperature=1.5))
    images = np.random.default_rng(0).random((2, *model.input_shape[1:]), np.float32)
    heatmaps = gradient_tape.reference(model, images)
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
    np.testing.assert_allclose(closed, gradient_tape.reference(model, images), atol=1e-5)


def test_layers_of_a_linear_network_explain_the_same():
    """Without biases and activations, 1x1 convolutions and a mean are one linear map, at whatever layer one looks."""
    image = keras.Input((8, 8, 1))
    early = layers.Conv2D(4, 1, use_bias=False, name="early")(image)
    late = layers.Conv2D(5, 1, use_bias=False, name="feature_map")(early)
    pooled = layers.GlobalAveragePooling2D(name="embedding")(late)
    model = keras.Model(image, networks.logits_layer(3)(pooled))
    images = np.random.default_rng(2).normal(size=(4, 8, 8, 1)).astype(np.float32)
    at_early = gradient_tape.reference(model, images, layer="early")
    assert at_early.any()
    np.testing.assert_allclose(at_early, gradient_tape.reference(model, images), atol=1e-5)


def test_the_reference_has_the_size_of_the_layer_that_is_asked_for(tiny_networks):
    model = networks.build_network("tiny_dense", 2)
    images = np.random.default_rng(3).random((2, 32, 32, 1), np.float32)
    heatmaps = gradient_tape.reference(model, images, layer=model.layers[1].name)
    assert heatmaps.shape == (2, 15, 15, 2)
    assert heatmaps.min() >= 0 and heatmaps.max() <= 1


def test_one_logit_speaks_against_the_first_class_and_for_the_second(tiny_networks):
    one = networks.build_network("tiny_dense", 2)
    embedding = one.get_layer("logits").input
    two = keras.Model(one.inputs, layers.Dense(2, name="logits_of_both")(embedding))
    kernel, bias = one.get_layer("logits").get_weights()
    two.layers[-1].set_weights([np.concatenate([-kernel, kernel], 1), np.concatenate([-bias, bias])])
    images = np.random.default_rng(4).random((3, 32, 32, 1), np.float32)
    heatmaps = gradient_tape.reference(one, images)
    np.testing.assert_allclose(heatmaps, gradient_tape.reference(two, images), atol=1e-6)
    assert not np.allclose(heatmaps[..., 0], heatmaps[..., 1])


def test_scale_divides_each_map_by_its_own_maximum_and_keeps_an_empty_one():
    heatmaps = np.zeros((1, 2, 2, 3), np.float32)
    heatmaps[0, 1, 0] = 4, 0, 1e-3
    heatmaps[0, 0, 1] = 1, 0, 0
    scaled = gradcam.scale(heatmaps).numpy()
    np.testing.assert_allclose(scaled[0, 1, 0], [1, 0, 1])
    np.testing.assert_allclose(scaled[0, 0, 1], [0.25, 0, 0])
