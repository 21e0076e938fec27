"""Where the lungs are: a small U-Net, and the crop to them, both as layers of a network.

What tells hospitals apart lies mostly outside the lungs: collimation, arms, text, the crop of a journal. A network that
sees the lungs alone, always at the same place and in the same tones, has less to cheat by (DeGrave et al. 2021).
"""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from covid_cnn.images import lungs

SEGMENTER_WEIGHTS = Path(__file__).with_name("lungs.npz")
SEGMENTER_SIDE = lungs.SEGMENTER_SIZE[0]  # pixels of the U-Net's input
CHANNELS = (12, 24, 48, 64, 64)
WHOLE = np.array([0, 1, 0, 1], np.float32)  # the box where there are no lungs


def segmenter() -> keras.Model:
    """A U-Net (Ronneberger et al. 2015): image ``[N, 128, 128, 1]`` 0..1 -> probability of lung, of the same shape."""
    image = keras.Input((SEGMENTER_SIDE, SEGMENTER_SIDE, 1), name="image")
    x, skipped = image, []
    for level, channels in enumerate(CHANNELS):
        x = _twice(layers.MaxPooling2D()(x) if level else x, channels)
        skipped.append(x)
    for channels, skip in zip(CHANNELS[-2::-1], skipped[-2::-1], strict=True):
        x = _twice(layers.Concatenate()([layers.UpSampling2D()(x), skip]), channels)
    return keras.Model(image, layers.Conv2D(1, 1, activation="sigmoid")(x), name="lungs")


def _twice(x, channels: int):
    for _ in range(2):
        x = layers.Conv2D(channels, 3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    return x


def trained_segmenter() -> keras.Model:
    """The segmenter with the weights that come with the package, frozen."""
    model = segmenter()
    with np.load(SEGMENTER_WEIGHTS) as stored:
        model.set_weights([stored[name].astype(np.float32) for name in stored.files])
    model.trainable = False
    return model


def save_weights(model: keras.Model) -> None:
    """Store the segmenter's weights with the package, in float16."""
    np.savez_compressed(SEGMENTER_WEIGHTS, *[weight.astype(np.float16) for weight in model.get_weights()])


def convert_segmenter(model: keras.Model) -> bytes:
    """The segmenter as the LiteRT graph that ``lung_mask`` runs: one image a call, weights in float16."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return converter.convert()


@keras.saving.register_keras_serializable("covid_cnn")
class Box(layers.Layer):
    """The box around the lungs, as ``lungs.lung_boxes``: mask ``[N, h, w, 1]`` -> ``[N, 4]``; else the whole image."""

    def __init__(self, margin: float = 0.04, **options) -> None:
        super().__init__(**options)
        self.margin = margin

    def call(self, lung):
        """The box of each mask."""
        return lungs.lung_boxes(lung[..., 0], self.margin, WHOLE, ops)

    def compute_output_shape(self, lung_shape):
        """As Keras asks of a layer."""
        return (lung_shape[0], 4)

    def get_config(self):
        """As Keras asks of a layer that is saved."""
        return super().get_config() | {"margin": self.margin}


@keras.saving.register_keras_serializable("covid_cnn")
class Crop(layers.Layer):
    """The part of an image within a box, at a fixed size: image ``[N, H, W, 1]``, box ``[N, 4]`` -> ``[N, h, w, 1]``.

    Bilinear and antialiased, as two matrix products, ``rows @ image @ columns``: any converter has those. Without a
    box it is the whole image; pixels outside the image repeat its border.
    """

    def __init__(self, height: int, width: int, **options) -> None:
        super().__init__(**options)
        self.height, self.width = height, width

    def call(self, image, box=None):
        """The part of each image."""
        if box is None:
            box = ops.convert_to_tensor([[0.0, 1.0, 0.0, 1.0]])
        rows = sampling_matrix(box[:, 0], box[:, 1], self.height, image.shape[1])
        columns = sampling_matrix(box[:, 2], box[:, 3], self.width, image.shape[2])
        cropped = ops.matmul(ops.matmul(rows, image[..., 0]), ops.transpose(columns, (0, 2, 1)))
        return cropped[..., None]

    def compute_output_shape(self, image_shape, box_shape=None):
        """As Keras asks of a layer."""
        return (image_shape[0], self.height, self.width, 1)

    def get_config(self):
        """As Keras asks of a layer that is saved."""
        return super().get_config() | {"height": self.height, "width": self.width}


def sampling_matrix(start, end, size: int, length: int):
    """The matrix ``[N, size, length]`` that resamples a line of ``length`` pixels between ``start`` and ``end``, 0..1.

    Each row holds the triangle of linear interpolation about its place, as wide as the step where that is above a
    pixel (which is what prevents aliasing), and sums to 1.
    """
    span = (end - start)[:, None, None] * length
    places = start[:, None, None] * length + (np.arange(size, dtype=np.float32)[None, :, None] + 0.5) / size * span
    places = ops.clip(places - 0.5, 0.0, length - 1.0)
    width = ops.maximum(span / size, 1.0)
    triangle = ops.relu(1.0 - ops.abs(places - np.arange(length, dtype=np.float32)[None, None, :]) / width)
    return triangle / ops.sum(triangle, axis=2, keepdims=True)


@keras.saving.register_keras_serializable("covid_cnn")
class Tone(layers.Layer):
    """Images ``[N, H, W, 1]`` stretched so that a hundredth of them is black and a hundredth white.

    Exposure, film and window differ between hospitals, the patient does not. The percentiles are those of a coarser
    image, where they cost little and a stray pixel means less.
    """

    SHARE, COARSE = 0.01, 4

    def call(self, image):
        """The images, stretched."""
        pixels = ops.average_pool(image, self.COARSE, padding="valid")
        pixels = ops.reshape(pixels, (-1, pixels.shape[1] * pixels.shape[2]))
        few = max(1, round(self.SHARE * pixels.shape[1]))
        white = ops.top_k(pixels, few)[0][:, -1]
        black = -ops.top_k(-pixels, few)[0][:, -1]
        black, white = black[:, None, None, None], white[:, None, None, None]
        return ops.clip((image - black) / ops.maximum(white - black, 1e-3), 0.0, 1.0)

    def compute_output_shape(self, image_shape):
        """As Keras asks of a layer."""
        return image_shape


def place_heat(heat, box, size: int):
    """Heat ``[N, h, w, K]`` of what lies in ``box`` ``[N, 4]`` -> ``[N, size, size, K]`` of the whole image.

    The sum stays, but for heat outside the image: the two are the same contributions in another grid.
    """
    rows = _placing(box[:, 0], box[:, 1], size, heat.shape[1])
    columns = _placing(box[:, 2], box[:, 3], size, heat.shape[2])
    heat = ops.transpose(heat, (0, 3, 1, 2))
    placed = ops.matmul(ops.matmul(rows[:, None], heat), ops.transpose(columns, (0, 2, 1))[:, None])
    return ops.transpose(placed, (0, 2, 3, 1))


def _placing(start, end, size: int, length: int):
    """The matrix ``[N, size, length]`` that spreads ``length`` cells between ``start`` and ``end`` over ``size``."""
    span = (end - start)[:, None, None] * size
    cells = start[:, None, None] * size + (np.arange(length, dtype=np.float32)[None, None, :] + 0.5) / length * span
    width = ops.maximum(span / length, 1.0)
    triangle = ops.relu(1.0 - ops.abs(cells - 0.5 - np.arange(size, dtype=np.float32)[None, :, None]) / width)
    return triangle / (ops.sum(triangle, axis=1, keepdims=True) + 1e-6)
