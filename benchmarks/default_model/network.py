"""The network of the default model: crop -> logits, as it is trained, and image -> logits, as it ships."""

import keras
import numpy as np
from keras import layers

from benchmarks.default_model import lung_layers
from benchmarks.default_model.crops import INPUT, MARGIN, SIZE
from benchmarks.default_model.hospitals import CLASSES
from covid_cnn.training import export, gradcam, networks

GRID = SIZE // 32  # cells a side of the feature map
HEAT_GRID = 24  # cells a side of the heatmaps, which are of the whole image
LOOKS = "lite0_blocks.14._add"  # the end of the last stage but one, which tells best what is no chest X-ray
SHAPE = 15.0  # how much a cell of the lungs' shape, 0..1, counts beside a channel of those
FINER = 4  # pixels of the mask, each way, that a cell's share of lung is the mean of


@keras.saving.register_keras_serializable("covid_cnn")
class Weight(layers.Layer):
    """Lung ``[N, h, w, 1]``, 0..1 -> the weight of each place, 1 in the mean, at least ``least`` before that."""

    def __init__(self, least: float, **options) -> None:
        super().__init__(**options)
        self.least = least

    def call(self, lung):
        """The weight of each place."""
        weight = self.least + (1 - self.least) * lung
        return weight / keras.ops.maximum(keras.ops.mean(weight, axis=(1, 2), keepdims=True), 1e-3)

    def compute_output_shape(self, lung_shape):
        """As Keras asks of a layer."""
        return lung_shape

    def get_config(self):
        """As Keras asks of a layer that is saved."""
        return super().get_config() | {"least": self.least}


def on_crops(least: float, dropout: float = 0.0, pretrained: bool = True) -> keras.Model:
    """Crop ``[N, SIZE, SIZE, 1]`` and its lung ``[N, GRID, GRID, 1]``, 0..1 -> logits ``[N, 3]``.

    EfficientNet-Lite0, whose mean over the places counts each by the lung it holds. BatchNorm is frozen: its statistics
    are of a million photographs, and a batch here is of few hospitals. The last layer begins at 0, so that trainings
    of several seeds have one beginning and their weights can be averaged.
    """
    crop, lung = keras.Input((SIZE, SIZE, 1), name="crop"), keras.Input((GRID, GRID, 1), name="lung")
    model = keras.Model([crop, lung], _head(crop, lung, least, dropout), name="on_crops")
    if pretrained:
        networks.load_lite0_weights(model)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = False
    last = model.get_layer("logits")
    last.set_weights([np.zeros_like(values) for values in last.get_weights()])
    return model


def on_images(trained: keras.Model, least: float) -> keras.Model:
    """A network of ``on_crops`` that finds the lungs by itself: image ``[N, 384, 384, 1]`` -> logits ``[N, 3]``."""
    image = keras.Input((*INPUT, 1), name="image")
    mask = lung_layers.trained_segmenter()(layers.AveragePooling2D(INPUT[0] // lung_layers.SEGMENTER_SIDE)(image))
    box = lung_layers.Box(MARGIN, name="box")(mask)
    crop = lung_layers.Tone(name="tone")(lung_layers.Crop(SIZE, SIZE)(image, box))
    lung = layers.AveragePooling2D(FINER, name="lung")(lung_layers.Crop(FINER * GRID, FINER * GRID)(mask, box))
    model = keras.Model(image, _head(crop, lung, least, 0.0), name="on_images")
    for layer in trained.layers:
        if layer.weights:
            model.get_layer(layer.name).set_weights(layer.get_weights())
    return model


def appearance(model: keras.Model) -> keras.KerasTensor:
    """What an image looks like to a network of ``on_images``, ``[N, D]``: it tells what is no frontal chest X-ray.

    The mean of each channel of ``LOOKS``; and, cell by cell of a coarse grid over the crop, how much lung there is and
    how light it is. A lateral view has no two lungs, and on a negative they are lighter than what surrounds them.
    """
    tone = layers.AveragePooling2D(SIZE // GRID)(model.get_layer("tone").output)
    grids = layers.Concatenate()([layers.Flatten()(grid) for grid in (model.get_layer("lung").output, tone)])
    channels = layers.GlobalAveragePooling2D()(model.get_layer(LOOKS).output)
    return layers.Concatenate()([channels, layers.Rescaling(SHAPE)(grids)])


def explain(model: keras.Model, feature_map, embedding, box):
    """``gradcam.explain`` of a network of ``on_images``, whose heat is put back into the whole image."""
    heat = gradcam.class_heat(model, feature_map, embedding)
    return gradcam.scale(keras.ops.relu(lung_layers.place_heat(heat, box, HEAT_GRID)))


def graph(model: keras.Model, temperature: float) -> bytes:
    """The LiteRT graph of a network of ``on_images``, with its ``appearance`` as the embedding."""
    names = ("feature_map", "embedding", "box", "logits")
    outputs = [model.get_layer(name).output for name in names]

    def answer(feature_map, embedding, box, logits, looks):
        return {
            "probabilities": export.calibrated_probabilities(logits, temperature),
            "heatmaps": explain(model, feature_map, embedding, box),
            "embedding": looks,
        }

    return export.convert_network(keras.Model(model.inputs, [*outputs, appearance(model)]), answer)


def _head(crop, lung, least: float, dropout: float):
    x = networks.lite0_stages(crop)[-1]
    x = networks.conv_relu6(x, 1280, 1, "_conv_head", "_bn1", activation="last_convolution")
    x = layers.Multiply(name="feature_map")([x, Weight(least)(lung)])
    x = layers.GlobalAveragePooling2D(name="embedding")(x)
    x = layers.Dropout(dropout)(x)
    return networks.logits_layer(len(CLASSES))(x)


def lung_grid(lung: np.ndarray) -> np.ndarray:
    """The lung of exact crops, ``[N, SIZE, SIZE]`` -> ``[N, GRID, GRID, 1]``: the mean over each cell."""
    cells = lung.reshape(-1, GRID, SIZE // GRID, GRID, SIZE // GRID)
    return cells.mean(axis=(2, 4), dtype=np.float32)[..., None]
