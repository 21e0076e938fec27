"""The usual way to explain a prediction, against which ours is measured: Keras and Grad-CAM by GradientTape.

A script such as Keras's own Grad-CAM example leads to: load the saved model, take the gradient of the predicted
class's score at the last convolution, lay the heatmap over the image.

    python -m benchmarks.usual_way MODEL.keras IMAGE [OVERLAY.png]
"""

import json
import sys

import keras
import numpy as np
import tensorflow as tf
from PIL import Image


def gradcam_model(model: keras.Model) -> keras.Model:
    """The network with its last feature map as a second output."""
    return keras.Model(model.inputs, [model.get_layer("feature_map").output, model.output])


def explain(network: keras.Model, image: np.ndarray) -> tuple[float, np.ndarray]:
    """The probability of the second of two classes, and Grad-CAM of the predicted class.

    Parameters
    ----------
    network : from ``gradcam_model``, with a single logit
    image : float32 ``[1, H, W, 1]``, 0..1

    Returns
    -------
    The probability, and float32 ``[h, w]``, 0..1.
    """
    with tf.GradientTape() as tape:
        feature_map, logits = network(image, training=False)
        # The score of the first class is -z, of the second z: the larger is the predicted one's.
        score = tf.abs(logits[:, 0])
    weights = tf.reduce_mean(tape.gradient(score, feature_map), axis=(1, 2))
    heatmap = tf.nn.relu(feature_map[0] @ weights[0][:, None])[..., 0]
    heatmap /= tf.maximum(tf.reduce_max(heatmap), 1e-12)
    return float(tf.sigmoid(logits)[0, 0]), heatmap.numpy()


def write_overlay(path: str, picture: Image.Image, heatmap: np.ndarray) -> None:
    """The heatmap in colours over the picture, half of each, as PNG."""
    import matplotlib

    colours = matplotlib.colormaps["jet"](np.arange(256))[:, :3]
    coloured = Image.fromarray((colours[np.uint8(255 * heatmap)] * 255).astype(np.uint8)).resize(picture.size)
    Image.blend(picture.convert("RGB"), coloured, 0.5).save(path)


def main(model_file: str, image_file: str, overlay_file: str = "") -> None:
    """Explain one image from start to end, and print the probability."""
    model = keras.models.load_model(model_file)
    height, width = model.input_shape[1:3]
    picture = Image.open(image_file).convert("L")
    image = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR), np.float32)[None, ..., None] / 255
    probability, heatmap = explain(gradcam_model(model), image)
    if overlay_file:
        write_overlay(overlay_file, picture, heatmap)
    print(json.dumps({"probability": probability, "heatmap": heatmap.tolist()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
