"""A network that somebody else saved becomes a bundle that answers as Keras does and explains as GradientTape does."""

import contextlib
import json
import warnings
import zipfile
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from keras import layers

from benchmarks import own_networks
from covid_cnn.common.errors import BundleError, CovidCnnError
from covid_cnn.evaluation import own_network
from covid_cnn.evaluation.own_network import Choice
from covid_cnn.images import ops
from covid_cnn.models import faithfulness
from covid_cnn.models.bundle import NO_LIMIT, OCCLUSION, Bundle
from covid_cnn.training import frozen, imported, own_bundle

IMAGE = np.random.default_rng(3).random((80, 90), np.float32)


@pytest.fixture(autouse=True)
def _same_weights() -> None:
    """Random, and the same each time."""
    keras.utils.set_random_seed(2)


def notebook_cnn(size: int = 256) -> keras.Model:
    """The seed notebook's CNN as the notebook builds it: colour, Sequential, one sigmoid."""
    convolutions = [layers.Conv2D(filters, 3, activation="relu") for filters in (32, 64, 64, 128)]
    pools = [layers.MaxPooling2D() for _ in range(3)]
    return keras.Sequential(
        [
            keras.Input((size, size, 3)),
            *[convolutions[0], convolutions[1], pools[0], layers.Dropout(0.25)],
            *[convolutions[2], pools[1], layers.Dropout(0.25), convolutions[3], pools[2], layers.Dropout(0.25)],
            *[layers.Flatten(), layers.Dense(64, activation="relu"), layers.Dropout(0.5)],
            layers.Dense(1, activation="sigmoid"),
        ]
    )


def small(units: int = 3, last: str | None = "softmax", size: int | None = 32, channels: int = 3) -> keras.Model:
    """A network of a few layers, with a head that no closed form is written down for."""
    image = keras.Input((size, size, channels), name="image")
    x = layers.Conv2D(6, 3, activation="relu")(image)
    x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(8, 3, activation="swish")(x)
    x = layers.Concatenate()([layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x)])
    x = layers.BatchNormalization()(x)
    x = layers.Dense(12, activation="elu")(x)
    return keras.Model(image, layers.Dense(units, activation=last)(x))


def vgg16_with_head() -> keras.Model:
    """The usual COVID notebook: VGG16 within another network, average pooling, two dense layers."""
    base = keras.applications.VGG16(include_top=False, weights=None, input_shape=(64, 64, 3))
    x = layers.AveragePooling2D((2, 2))(base.output)
    x = layers.Dense(64, activation="relu")(layers.Flatten(name="flatten")(x))
    return keras.Model(base.input, layers.Dense(2, activation="softmax")(layers.Dropout(0.5)(x)))


def inverted_residuals() -> keras.Model:
    """The two kinds of block that MobileNetV2 has, each once: it adds what it was given, or halves it."""
    image = x = keras.Input((32, 32, 3), name="image")
    for strides in (2, 1, 2):
        given = x
        x = layers.ReLU(6.0)(layers.BatchNormalization()(layers.Conv2D(24, 1, use_bias=False)(x)))
        x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x) if strides == 2 else x
        x = layers.DepthwiseConv2D(3, strides, "valid" if strides == 2 else "same", use_bias=False)(x)
        x = layers.BatchNormalization()(layers.Conv2D(8, 1, use_bias=False)(layers.ReLU(6.0)(x)))
        x = layers.Add()([given, x]) if strides == 1 else x
    x = layers.GlobalAveragePooling2D()(layers.ReLU(6.0)(layers.Conv2D(16, 1)(x)))
    return keras.Model(image, layers.Dense(3, activation="softmax")(x))


def of_rare_layers() -> keras.Model:
    """Grouped convolutions, which Keras leaves to XLA; behind them recurrent layers, a slice, a repetition and GELU."""
    image = keras.Input((32, 32, 3), name="image")
    x = layers.Conv2D(6, 3, strides=4, activation="relu")(image)
    x = layers.Conv2D(6, 3, strides=4, groups=3, padding="same", activation="gelu")(x)
    steps = layers.Reshape((4, 6))(x)
    x = layers.Concatenate()([layers.LSTM(3)(steps), layers.GRU(3, return_sequences=True)(steps)[:, -1]])
    x = layers.Flatten()(layers.RepeatVector(3)(layers.Dense(8, activation="gelu")(x)))
    return keras.Model(image, layers.Dense(1, activation="sigmoid")(x))


class Subclassed(keras.Model):
    """A network that is code of its own, as PyTorch's are."""

    def __init__(self, inner: keras.Model) -> None:
        super().__init__()
        self.inner = inner

    def call(self, image):
        return self.inner(image)


def read(model: keras.Model, file: Path, tmp_path: Path, **wanted) -> own_network.OwnNetwork:
    """A network saved and read, in this process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(file) if file.suffix else model.export(file, verbose=False)
    return read_file(file, tmp_path, **wanted)


class _Folder:
    """A folder that stays."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)

    def cleanup(self) -> None:
        pass


def read_file(file: Path, tmp_path: Path, **wanted) -> own_network.OwnNetwork:
    folder = tmp_path / "read"
    folder.mkdir(exist_ok=True)
    imported.read(folder, {"file": str(file), "size": None, "output": None} | wanted)
    return own_network.OwnNetwork(file.name, _Folder(folder))


def add(network: own_network.OwnNetwork, **chosen) -> Bundle:
    """The bundle of a network, made in this process."""
    names = ("NORMAL", "PNEUMONIA", "OTHER")[: network.classes]
    choice = Choice(**{"name": "mine", "classes": names, "scale": "255", "last": ""} | chosen)
    own_bundle.make(network.folder, own_network.request(network, choice), lambda part, message: None)
    from covid_cnn.common import paths

    return Bundle(paths.models_dir() / choice.name)


def held_to_keras(model: keras.Model, bundle: Bundle, gain: float = 1.0) -> None:
    """The bundle's probabilities within 1e-4 of Keras, its heatmaps within 1e-3 of GradientTape."""
    told = bundle.predict(IMAGE)
    channels = model.input_shape[-1]
    image = np.repeat(gain * told.prepared[None, ..., None], channels, axis=-1)
    probabilities, heatmaps = own_networks.by_gradient_tape(model, image)
    assert heatmaps.max() == pytest.approx(1)
    np.testing.assert_allclose(told.probabilities, probabilities[0], rtol=0, atol=1e-4)
    np.testing.assert_allclose(told.heatmaps, heatmaps[0], rtol=0, atol=1e-3)


@pytest.mark.parametrize(("file", "size"), [("own.keras", 64), ("own.h5", 256), ("folder", 64)])
def test_the_notebooks_cnn_in_every_format(home, tmp_path, file, size):
    model = notebook_cnn(size)
    network = read(model, tmp_path / file, tmp_path)
    assert (network.facts["size"], network.facts["units"], network.facts["last"]) == ([size, size], 1, "sigmoid")
    held_to_keras(model, add(network))


def test_vgg16_with_a_head_of_its_own(home, tmp_path):
    model = vgg16_with_head()
    held_to_keras(model, add(read(model, tmp_path / "vgg.keras", tmp_path), scale="none"), gain=255)


def test_a_network_within_another(home, tmp_path):
    base = keras.applications.MobileNet(include_top=False, alpha=0.25, weights=None, input_shape=(64, 64, 3))
    nested = keras.Sequential([base, layers.Flatten(), layers.Dense(2, activation="softmax")])
    nested.build((None, 64, 64, 3))
    flat = keras.Model(base.input, nested.layers[2](nested.layers[1](base.output)))
    held_to_keras(flat, add(read(nested, tmp_path / "nested.keras", tmp_path)))


def test_rare_layers(home, tmp_path):
    model = of_rare_layers()
    held_to_keras(model, add(read(model, tmp_path / "rare.keras", tmp_path)))


def test_a_subclassed_network_by_its_saved_call(home, tmp_path):
    model = small()
    subclassed = Subclassed(model)
    subclassed(np.zeros((1, 32, 32, 3), np.float32))
    held_to_keras(model, add(read(subclassed, tmp_path / "folder", tmp_path)))


def occluded(network: own_network.OwnNetwork, answer, channels: int, **chosen) -> None:
    """A network whose gradient is not to be had answers as it does, and is explained by hiding parts of the image."""
    assert own_network.BY_OCCLUSION in network.describe()
    bundle = add(network, **chosen)
    told = bundle.predict(IMAGE)
    image = np.repeat(told.prepared[None, ..., None], channels, axis=-1)
    np.testing.assert_allclose(told.probabilities, np.ravel(answer(image)), rtol=0, atol=1e-4)
    drops = faithfulness.occlusion(bundle, IMAGE)
    np.testing.assert_allclose(told.heatmaps[..., 0], faithfulness.heat_of(drops[..., 0]), rtol=0, atol=1e-6)
    assert told.heatmaps.max() == 1 and told.explained_by == OCCLUSION
    assert not bundle.predict(IMAGE, explained=False).heatmaps.size
    assert network.facts["unexplained"] in own_network.describe_added(bundle.name)
    card = (bundle.folder / "MODEL_CARD.md").read_text()
    assert f"{network.facts['unexplained']} {own_network.BY_OCCLUSION} They show" in card
    assert card.count("Grad-CAM") == card.count("are no Grad-CAM") + network.facts["unexplained"].count("Grad-CAM")


def test_without_a_feature_map_it_is_explained_by_occlusion(home, tmp_path):
    model = dense_alone()
    network = read(model, tmp_path / "dense.keras", tmp_path)
    assert "no map of features" in network.facts["unexplained"]
    occluded(network, model, 1)


def test_a_lite_graph_of_other_operations_is_explained_by_occlusion(home, tmp_path):
    import tensorflow as tf

    kernel = tf.constant(np.random.default_rng(0).normal(size=(3, 3)), tf.float32)

    def logits(image):
        return tf.reduce_mean(tf.sin(9 * image), axis=(1, 2)) @ kernel

    (tmp_path / "sine.tflite").write_bytes(frozen.convert_call(logits, (16, 16, 3)))
    network = read_file(tmp_path / "sine.tflite", tmp_path)
    assert "a .tflite file with SIN" in network.facts["unexplained"] and network.facts["units"] == 3
    assert network.guess_last(network.answer(IMAGE, "255")[None]) == "softmax"
    occluded(network, lambda image: tf.nn.softmax(logits(image)), 3, last="softmax")


def test_a_file_that_takes_too_much_memory_or_time_ends_in_a_sentence(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as bomb:
        bomb.writestr("config.json", b" " * 2**27 + b"{}")
    monkeypatch.setattr(own_network, "MEMORY", 2**27)
    with pytest.raises(CovidCnnError, match="needs more memory than it is given here"):
        own_network.read_network(tmp_path / "bomb.keras")
    monkeypatch.setattr(own_network, "SECONDS_TO_READ", 0.01)
    with pytest.raises(CovidCnnError, match="took more memory or time"):
        own_network.read_network(tmp_path / "bomb.keras")


@pytest.mark.parametrize(
    ("build", "stored", "off"),
    [
        (small, "float32", 1e-4),
        (small, "float16", 2e-3),
        (small, "int8", 2e-2),
        (inverted_residuals, "float32", 1e-4),
    ],
)
def test_a_lite_graph_is_explained_as_well(home, tmp_path, build, stored, off):
    import tensorflow as tf

    model, file = build(), tmp_path / "own.tflite"
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if stored != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if stored == "float16":
        converter.target_spec.supported_types = [tf.float16]
    file.write_bytes(converter.convert())
    told = add(read_file(file, tmp_path)).predict(IMAGE)
    image = np.repeat(told.prepared[None, ..., None], 3, axis=-1)
    probabilities, heatmaps = own_networks.by_gradient_tape(model, image)
    np.testing.assert_allclose(told.probabilities, probabilities[0], rtol=0, atol=off)
    np.testing.assert_allclose(told.heatmaps, heatmaps[0], rtol=0, atol=10 * off)


@pytest.mark.parametrize("file", ["two.h5", "two.keras", "two"])
def test_files_of_keras_2(home, tmp_path, file):
    import tf_keras

    kit = tf_keras.layers
    image = tf_keras.Input((32, 32, 3), name="image")
    x = kit.DepthwiseConv2D(3, depth_multiplier=2)(image)
    x = kit.Conv2D(8, 3, activation="relu", name="map")(kit.BatchNormalization()(x))
    x = kit.Dense(2, activation="softmax")(kit.Flatten()(kit.MaxPooling2D()(x)))
    model = tf_keras.Model(image, x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(tmp_path / file)
    told = add(read_file(tmp_path / file, tmp_path)).predict(IMAGE)
    answers = model(np.repeat(told.prepared[None, ..., None], 3, axis=-1), training=False)
    np.testing.assert_allclose(told.probabilities, answers[0], rtol=0, atol=1e-4)
    assert told.heatmaps.shape == (28, 28, 2) and told.heatmaps.max() == 1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("units", [1, 2, 3])
def test_any_head_of_any_number_of_classes(home, tmp_path, units, channels):
    model = small(units, "sigmoid" if units == 1 else "softmax", channels=channels)
    held_to_keras(model, add(read(model, tmp_path / "small.keras", tmp_path)))


@pytest.mark.parametrize("name", ["MobileNet", "MobileNetV3Small"])
def test_networks_of_keras_applications(name):
    """Two of them; `benchmarks.own_networks` measures every one."""
    measured = own_networks.measure(own_networks.build(name))
    assert measured["hottest"] > 0
    for key, most in imported.TOLERANCES.items():
        assert measured[key] <= most


@pytest.mark.parametrize("kit", [keras, pytest.importorskip("tf_keras")], ids=["Keras 3", "Keras 2"])
def test_half_precision_is_asked_in_float32(tmp_path, kit):
    """As notebooks on graphics cards learn: the layers compute in float16, the last one in float32."""
    kit.mixed_precision.set_global_policy("mixed_float16")
    try:
        image = kit.Input((16, 16, 3))
        x = kit.layers.BatchNormalization()(kit.layers.Conv2D(6, 3, activation="relu")(image))
        x = kit.layers.Dense(6, activation="relu")(kit.layers.GlobalAveragePooling2D()(x))
        model = kit.Model(image, kit.layers.Dense(2, activation="softmax", dtype="float32")(x))
    finally:
        kit.mixed_precision.set_global_policy("float32")
    network = read(model, tmp_path / "half.keras", tmp_path)
    assert "in float16, asked in float32" in network.describe() and not network.facts["unexplained"]
    given = np.repeat(ops.prepare(IMAGE, (16, 16))[None], 3, axis=-1)
    np.testing.assert_allclose(network.answer(IMAGE, "255"), model(given)[0], rtol=0, atol=2e-3)


def test_a_graph_of_half_precision_is_refused_in_a_sentence():
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((1, 8, 8, 1))])
    def half(image):
        kernel = tf.ones((3, 3, 1, 2), tf.float16)
        return {"answer": tf.nn.conv2d(tf.cast(image, tf.float16), kernel, 1, "SAME")}

    with pytest.raises(BundleError, match=r"\(Conv2D in f16: its \.keras or \.h5 file can be added\)"):
        frozen.convert(half)


@pytest.mark.parametrize(("off", "refused"), [(9e-5, False), (1.1e-4, True)])
@pytest.mark.parametrize("largest", [0.7, 30.0])
def test_answers_are_held_to_the_network_itself(off, refused, largest):
    """Probabilities within 1e-4; logits within that share of the largest."""
    call = lambda image: np.float32([[largest, 0.3]])  # noqa: E731
    answer = np.float32([largest, 0.3 + off * max(1, largest)])
    graph = SimpleNamespace(shape=(8, 8, 1), answer=lambda image, gain, offset: answer)
    opened = imported.OpenedNetwork(call, (8, 8, 1), ["finding"], "Keras", "any")
    expected = pytest.raises(BundleError, match="0.0001 is the most") if refused else contextlib.nullcontext()
    with expected:
        imported._check_answer(opened, graph, 0)


def test_logits_become_probabilities(home, tmp_path):
    model = small(3, None)
    network = read(model, tmp_path / "logits.keras", tmp_path)
    answers = np.stack([network.answer(IMAGE, "none")])
    assert network.guess_last(answers) == "softmax"
    told = add(network, scale="none", last="softmax").predict(IMAGE)
    logits = model(255 * np.repeat(told.prepared[None, ..., None], 3, axis=-1), training=False)
    np.testing.assert_allclose(told.probabilities, keras.ops.softmax(logits)[0], rtol=0, atol=1e-4)
    np.testing.assert_allclose(told.probabilities, own_network.probabilities(answers, "softmax")[0], atol=1e-5)


def test_an_open_size_is_asked_for_and_taken(home, tmp_path):
    model = small(2, size=None)
    with pytest.raises(BundleError, match="--size 224"):
        read(model, tmp_path / "open.keras", tmp_path)
    assert add(read_file(tmp_path / "open.keras", tmp_path, size=[40, 48])).input_size == (40, 48)


def test_of_several_outputs_one_is_chosen(home, tmp_path):
    image = keras.Input((32, 32, 3), name="image")
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, activation="relu")(image))
    ends = [layers.Dense(3, activation="softmax", name="finding")(x), layers.Dense(1, name="age")(x)]
    model = keras.Model(image, ends)
    network = read(model, tmp_path / "several.keras", tmp_path)
    assert network.facts["outputs"] == ["finding", "age"] and network.facts["units"] == 3
    assert read_file(tmp_path / "several.keras", tmp_path, output="age").facts["units"] == 1
    with pytest.raises(BundleError, match="no output sex: it has finding, age"):
        read_file(tmp_path / "several.keras", tmp_path, output="sex")
    held_to_keras(keras.Model(image, ends[0]), add(read_file(tmp_path / "several.keras", tmp_path)))


def two_inputs() -> keras.Model:
    image, age = keras.Input((32, 32, 3), name="image"), keras.Input((1,), name="age")
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(image))
    return keras.Model([image, age], layers.Dense(2)(layers.Concatenate()([x, age])))


def with_lambda() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Conv2D(4, 3),
            layers.Lambda(lambda x: 2 * x),
            layers.GlobalAveragePooling2D(),
            layers.Dense(2),
        ]
    )


def dense_alone() -> keras.Model:
    return keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(2, activation="softmax")])


def of_1000_classes() -> keras.Model:
    return small(1000)


@pytest.mark.parametrize(
    ("build", "file", "sentence"),
    [
        (two_inputs, "two.keras", r"takes 2 inputs \(image \[32, 32, 3\], age \[1\]\)"),
        (with_lambda, "own.keras", r"The layer lambda\S* of this network is code .*model.export\('folder'\)"),
        (with_lambda, "own.h5", r"The layer lambda\S* of this network is code .*model.export\('folder'\)"),
        (of_1000_classes, "many.keras", "1000 classes apart, and at most 50"),
        (lambda: keras.Sequential([keras.Input((32, 32, 4)), layers.Conv2D(2, 3)]), "four.keras", r"\[32, 32, 4\]"),
    ],
)
def test_what_cannot_be_added_is_said_in_a_sentence(tmp_path, build, file, sentence):
    with pytest.raises(BundleError, match=sentence):
        read(build(), tmp_path / file, tmp_path)


@pytest.mark.parametrize(
    ("layer", "foreign"),
    [
        ({"class_name": "Dense", "module": "keras.layers", "config": {"name": "a"}, "registered_name": None}, False),
        ({"class_name": "Dense", "config": {"name": "a"}}, False),
        ({"class_name": "function", "config": "gelu", "module": "builtins"}, False),
        ({"class_name": "Attention", "module": "my.layers", "config": {}, "registered_name": "Mine>Attention"}, True),
        ({"class_name": "Attention", "module": None, "config": {}, "registered_name": "Mine>Attention"}, True),
        ({"class_name": "function", "config": "get_file", "module": "keras.utils"}, True),
        ({"class_name": "function", "config": "system", "module": "os"}, True),
        ({"class_name": "__lambda__", "config": {"value": ["4wEA"]}}, True),
        ({"class_name": "TFOpLambda", "config": {"name": "tf.nn.relu"}}, True),
        ({"class_name": "TFSMLayer", "module": "keras.layers", "config": {"filepath": "/tmp"}}, True),
    ],
)
def test_code_in_a_configuration_is_refused_before_anything_is_built(layer, foreign):
    config = {"class_name": "Functional", "module": "keras", "config": {"layers": [{"module": "keras"}, layer]}}
    if not foreign:
        return imported.check_config(config)
    with pytest.raises(BundleError, match="code of its own"):
        imported.check_config(config)


def test_a_saved_model_that_reads_files_is_refused(tmp_path):
    import tensorflow as tf

    class Curious(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 1))])
        def __call__(self, image):
            secret = tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32)
            return tf.reduce_mean(image, axis=(1, 2, 3)) + secret

    module = Curious()
    tf.saved_model.save(module, str(tmp_path / "curious"), signatures=module.__call__)
    with pytest.raises(BundleError, match=r"reach beyond itself \(ReadFile\)"):
        read_file(tmp_path / "curious", tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("weights.pkl", b"\x80\x04K*.", "weights.pkl is no network that can be read"),
        ("weights.h5", b"\x89HDF\r\n\x1a\n" + bytes(64), "weights.h5 is damaged"),
    ],
    ids=["pickle", "HDF5"],
)
def test_files_that_are_no_network(tmp_path, name, content, sentence):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BundleError, match=sentence):
        read_file(tmp_path / name, tmp_path)


def test_without_its_images_nothing_is_called_unlike_them(home, tmp_path):
    bundle = add(read(small(2), tmp_path / "small.keras", tmp_path))
    told = bundle.predict(np.zeros((50, 50), np.float32))
    assert told.in_distribution and told.distance_limit == NO_LIMIT and told.resembles_training is None
    info = json.loads((bundle.folder / "model.json").read_text())
    card = (bundle.folder / "MODEL_CARD.md").read_text()
    assert "came without the images that it learned from" in card and info["metrics"] == {}
    assert "What it learned from was not given" in card and "0 images" not in card


@pytest.mark.parametrize(
    ("splits", "tested", "learned"),
    [(("train", "val", "test"), {"val": 10, "test": 8}, 26), (("train", "test"), {"test": 8}, 16), ((), {}, 34)],
)
def test_with_its_dataset_it_is_tested_on_what_it_has_not_learned(
    home, tmp_path, synthetic_data, splits, tested, learned
):
    for file in synthetic_data.glob("*/*/*.png"):
        split, label = file.parts[-3:-1]
        if split in splits or not splits:
            folder = home / "data" / "drawn" / (split if splits else "") / label
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{split}_{file.name}").symlink_to(file)
    info = add(read(small(2), tmp_path / "small.keras", tmp_path), data="drawn").info
    reports = {name: report for name in ("val", "test") if (report := getattr(info.metrics, name))}
    assert {name: report.n for name, report in reports.items()} == tested
    assert bool(info.prediction_sets) == ("val" in tested)
    assert ["it was not tested here" in note for note in info.training_data.notes].count(True) == ("test" not in tested)
    counts = info.training_data.images
    assert info.training_images.images == counts.train + counts.val == learned
    assert {"val": counts.val, "test": counts.test} == {"val": 0, "test": 0} | tested
    assert info.in_distribution.limit_chosen.endswith(
        "validation images" if "val" in tested else "images it learned from"
    )
    assert 0 < info.in_distribution.limit < NO_LIMIT
    assert not Bundle(home / "models" / "mine").predict(IMAGE).in_distribution
