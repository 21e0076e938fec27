"""The two architectures: their published shapes, and EfficientNet-Lite0 against its reference implementation."""

from pathlib import Path

import numpy as np
import pytest

from covid_cnn import networks, torch_checkpoint
from covid_cnn.errors import RunError

REFERENCE = Path(__file__).parent / "data" / "efficientnet_lite0_reference.npz"


def test_notebook_cnn_is_the_published_one():
    model = networks.build("notebook_cnn", classes=2)
    assert model.input_shape == (None, 256, 256, 1)
    assert model.count_params() == 7_503_105
    convolutions = [layer for layer in model.layers if "conv" in type(layer).__name__.lower()]
    assert [layer.filters for layer in convolutions] == [32, 64, 64, 128]
    assert all(layer.padding == "valid" and layer.kernel_size == (3, 3) for layer in convolutions)
    assert model.get_layer("feature_map").output.shape == (None, 60, 60, 128)


@pytest.mark.parametrize("name", networks.ARCHITECTURES)
def test_more_classes_have_a_logit_each(name):
    assert networks.build(name, classes=2, pretrained=False).output_shape == (None, 1)
    assert networks.build(name, classes=4, pretrained=False).output_shape == (None, 4)


def test_lite0_equals_the_reference_implementation():
    stored = np.load(REFERENCE)
    model = networks.build("efficientnet_lite0", classes=1000)
    tensors = torch_checkpoint.read(networks.lite0_weights_path())
    model.get_layer("logits").set_weights([tensors["_fc.weight"].T, tensors["_fc.bias"]])
    images = stored["images"].astype(np.float32)[..., None]
    np.testing.assert_allclose(model.predict(images, verbose=0), stored["logits"], atol=1e-4)


def test_an_unknown_network_is_told_in_a_sentence():
    with pytest.raises(RunError, match="There is no network called resnet999; choose one of"):
        networks.build("resnet999", classes=2)
