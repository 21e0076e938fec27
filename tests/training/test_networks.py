"""The architectures: their published shapes; EfficientNet-Lite0 against its reference; weights by Keras's loader."""

import inspect
from pathlib import Path
from urllib.error import URLError

import h5py
import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from covid_cnn.common.errors import RunError
from covid_cnn.runs import config
from covid_cnn.training import export, networks, torch_checkpoint

REFERENCE = Path(__file__).with_name("efficientnet_lite0_reference.npz")


def test_notebook_cnn_is_the_published_one():
    model = networks.build_network("notebook_cnn", classes=2)
    assert model.input_shape == (None, 256, 256, 1)
    assert model.count_params() == 7_503_105
    convolutions = [layer for layer in model.layers if "conv" in type(layer).__name__.lower()]
    assert [layer.filters for layer in convolutions] == [32, 64, 64, 128]
    assert all(layer.padding == "valid" and layer.kernel_size == (3, 3) for layer in convolutions)
    assert model.get_layer("feature_map").output.shape == (None, 60, 60, 128)


@pytest.mark.parametrize("name", sorted(networks.ARCHITECTURES.keys() - set(networks.KERAS_APPLICATIONS)))
def test_more_classes_have_a_logit_each(name):
    assert networks.build_network(name, classes=2, pretrained=False).output_shape == (None, 1)
    assert networks.build_network(name, classes=4, pretrained=False).output_shape == (None, 4)


def test_lite0_equals_the_reference_implementation():
    stored = np.load(REFERENCE)
    model = networks.build_network("efficientnet_lite0", classes=1000)
    tensors = torch_checkpoint.read_checkpoint(networks.lite0_weights_path())
    model.get_layer("logits").set_weights([tensors["_fc.weight"].T, tensors["_fc.bias"]])
    images = stored["images"].astype(np.float32)[..., None]
    np.testing.assert_allclose(model.predict(images, verbose=0), stored["logits"], atol=1e-4)


def test_an_unknown_network_is_told_in_a_sentence():
    with pytest.raises(RunError, match="There is no network called resnet999; choose one of"):
        networks.build_network("resnet999", classes=2)


# The networks of keras.applications, without the internet


@pytest.fixture(scope="module")
def mobilenet() -> keras.Model:
    return networks.build_network("MobileNetV2", classes=3, pretrained=False)


def test_keras_own_preprocessing_is_in_the_graph(mobilenet):
    image = np.random.default_rng(0).random((1, 224, 224, 1), np.float32)
    seen = keras.Model(mobilenet.inputs, mobilenet.get_layer("normalise").output)([image])
    _, preprocess = networks.keras_application("MobileNetV2")
    np.testing.assert_allclose(seen, preprocess(255 * image.repeat(3, axis=-1)), atol=1e-4)


def test_every_network_of_keras_is_known_by_its_name():
    offered = {name for name, value in vars(keras.applications).items() if inspect.isfunction(value)}
    assert set(networks.KERAS_APPLICATIONS) == offered
    assert set(networks.KERAS_APPLICATIONS) == set(config.OTHER_NETWORKS) | (set(config.RECIPES) & offered)
    for name in offered:
        application, preprocess = networks.keras_application(name)
        assert application.__name__ == name and preprocess(np.zeros((1, 2, 2, 3))).shape == (1, 2, 2, 3)


@pytest.mark.parametrize("name", ["VGG16", "MobileNetV3Small"])
def test_others_of_keras_are_exported_with_their_heatmaps(name):
    """Without weights: each brings another kind of layer, and another preprocessing, into the graph."""
    keras.utils.set_random_seed(0)
    network = networks.build_network(name, classes=2, pretrained=False)
    image = np.random.default_rng(0).random((1, 224, 224, 1), np.float32)
    run = Interpreter(model_content=export.convert_graph(network, 1.0)).get_signature_runner()
    answer = run(image=image)
    export.round_weights(network)
    expected = export.calibrated_probabilities(network(image), 1.0).numpy()
    np.testing.assert_allclose(answer["probabilities"], expected, atol=5e-3)
    assert answer["heatmaps"].shape[-1] == 2


def keep_weights(folder: Path, model: keras.Model) -> None:
    """Put the weights of a network where Keras's own loader keeps what it has fetched."""
    from keras.src.legacy.saving import legacy_h5_format

    path = folder / "models" / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        base = keras.Model(model.inputs, model.get_layer("feature_map").output)
        legacy_h5_format.save_weights_to_hdf5_group(file, base)


def test_weights_that_keras_has_kept_are_used(mobilenet, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.src.backend.config, "_KERAS_DIR", str(tmp_path))
    keep_weights(tmp_path, mobilenet)
    again = networks.build_network("MobileNetV2", classes=2)
    kept, loaded = (model.get_layer("Conv_1").get_weights()[0] for model in (mobilenet, again))
    np.testing.assert_array_equal(kept, loaded)


def test_without_the_internet_a_sentence_says_what_there_is(tmp_path, monkeypatch):
    def no_way(*_, **__):
        raise URLError("Name or service not known")

    monkeypatch.setattr(keras.src.backend.config, "_KERAS_DIR", str(tmp_path))
    monkeypatch.setattr(keras.src.utils.file_utils, "urlretrieve", no_way)
    with pytest.raises(RunError, match=r"connect this machine .*, choose efficientnet_lite0, .* from scratch\.$"):
        networks.build_network("MobileNetV2", classes=2)
