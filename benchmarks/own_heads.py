"""What Keras can build behind a feature map: each head as one of a network of one's own, against GradientTape.

A small network with random weights gets one head after the other, and its graph is held to Keras and GradientTape as in
`benchmarks.own_networks`. What has no gradient in LiteRT is told apart: such a network is explained by occlusion, and
its answers alone are held to Keras.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from benchmarks.own_networks import measure
from covid_cnn.common.errors import BundleError
from covid_cnn.models.plain_graph import PlainGraph
from covid_cnn.reports import card
from covid_cnn.training import frozen, imported

SIZE = 24  # pixels a side of its images
ACTIVATIONS = (
    "relu relu6 leaky_relu elu selu celu gelu silu hard_silu hard_sigmoid hard_tanh tanh sigmoid softplus softsign "
    "mish exponential log_sigmoid log_softmax softmax squareplus sparse_plus sparsemax soft_shrink hard_shrink "
    "tanh_shrink"
)
MAPS = {  # and what they are given
    **{"Conv2DTranspose": (4, 3), "SeparableConv2D": (4, 3), "DepthwiseConv2D": (3,)},
    **dict.fromkeys(("MaxPooling2D", "AveragePooling2D", "Cropping2D", "ZeroPadding2D", "UpSampling2D"), (2,)),
    **dict.fromkeys(("Resizing", "CenterCrop"), (3, 3)),
    **dict.fromkeys(("AdaptiveAveragePooling2D", "AdaptiveMaxPooling2D"), (3,)),
}
Head = Callable[[Any], Any]


def _mean(x: Any) -> Any:
    return layers.GlobalAveragePooling2D()(x)


def _steps(x: Any) -> Any:
    return layers.Reshape((-1, x.shape[-1]))(x)


def _squeeze_and_excite(x: Any) -> Any:
    shares = layers.Dense(x.shape[-1], activation="sigmoid")(layers.Dense(4, activation="relu")(_mean(x)))
    return _mean(layers.Multiply()([x, layers.Reshape((1, 1, x.shape[-1]))(shares)]))


def _of_vector(layer: Callable[[], Any]) -> Head:
    # Larger numbers than random weights make, for some activations change no small ones.
    return lambda x: layer()(layers.Rescaling(20)(layers.Dense(12)(_mean(x))))


def _of_map(layer: str, *settings: Any) -> Head:
    return lambda x: layers.Flatten()(getattr(layers, layer)(*settings)(x))


def _of_steps(layer: Callable[[], Any]) -> Head:
    return lambda x: layers.Flatten()(layers.Dense(3, activation="tanh")(layer()(_steps(x))))


def _of_both(layer: str) -> Head:
    return lambda x: getattr(layers, layer)()(
        [layers.Dense(6)(_mean(x)), layers.Dense(6)(layers.GlobalMaxPooling2D()(x))]
    )


def _attend(layer: str) -> Head:
    return lambda x: layers.GlobalAveragePooling1D()(getattr(layers, layer)()([_steps(x), _steps(x)]))


def _recur(layer: str) -> Head:
    return lambda x: getattr(layers, layer)(6)(_steps(x))


HEADS: dict[str, Head] = {
    **{f"activation {name}": _of_vector(partial(layers.Activation, name)) for name in ACTIVATIONS.split()},
    **{
        name: _of_vector(getattr(layers, name))
        for name in ("PReLU", "BatchNormalization", "LayerNormalization", "UnitNormalization", "RMSNormalization")
    },
    "GroupNormalization": _of_vector(lambda: layers.GroupNormalization(4)),
    "SpectralNormalization": _of_vector(lambda: layers.SpectralNormalization(layers.Dense(6))),
    "RepeatVector": lambda x: layers.Flatten()(layers.RepeatVector(3)(layers.Dense(8, activation="tanh")(_mean(x)))),
    "EinsumDense": _of_vector(lambda: layers.EinsumDense("ab,bc->ac", output_shape=8)),
    "Flatten": lambda x: layers.Dense(12, activation="relu")(layers.Flatten()(x)),
    "GlobalMaxPooling2D": lambda x: layers.Rescaling(2)(layers.GlobalMaxPooling2D()(x)),
    "squeeze and excite": _squeeze_and_excite,
    "spatial attention": lambda x: _mean(layers.Multiply()([x, layers.Conv2D(1, 1, activation="sigmoid")(x)])),
    **{name: _attend(name) for name in ("Attention", "AdditiveAttention")},
    "MultiHeadAttention": lambda x: layers.GlobalAveragePooling1D()(
        layers.MultiHeadAttention(2, 4)(_steps(x), _steps(x))
    ),
    **{name: _recur(name) for name in ("LSTM", "GRU", "SimpleRNN")},
    "Bidirectional LSTM": lambda x: layers.Bidirectional(layers.LSTM(6))(_steps(x)),
    "LSTM of 144 steps": lambda x: layers.LSTM(6)(_steps(layers.UpSampling2D(2)(x))),
    "RNN of cells": lambda x: layers.RNN([layers.LSTMCell(4), layers.GRUCell(4)])(_steps(x)),
    "last step of LSTM": lambda x: layers.LSTM(6, return_sequences=True)(_steps(x))[:, -1],
    "TimeDistributed": _of_steps(lambda: layers.TimeDistributed(layers.Dense(8, activation="relu"))),
    **{name: _of_steps(partial(getattr(layers, name), 8, 3)) for name in ("Conv1D", "Conv1DTranspose")},
    "SeparableConv1D": _of_steps(lambda: layers.SeparableConv1D(8, 3)),
    "DepthwiseConv1D": _of_steps(lambda: layers.DepthwiseConv1D(3)),
    "MaxPooling1D": _of_steps(lambda: layers.MaxPooling1D(2)),
    "AveragePooling1D": _of_steps(lambda: layers.AveragePooling1D(2)),
    "Permute": _of_steps(lambda: layers.Permute((2, 1))),
    **{name: _of_steps(partial(getattr(layers, name), 2)) for name in ("Cropping1D", "ZeroPadding1D")},
    "UpSampling1D": _of_steps(lambda: layers.UpSampling1D(2)),
    "Dot": lambda x: layers.Flatten()(layers.Dot(axes=1)([_steps(x), _steps(x)])),
    **{
        name: _of_both(name) for name in ("Average", "Maximum", "Minimum", "Subtract", "Add", "Multiply", "Concatenate")
    },
    "a slice": lambda x: _mean(x)[:, 2:9],
    "every second": lambda x: _mean(x)[:, ::2],
    "sum": lambda x: ops.sum(x, axis=(1, 2)),
    "generalized mean": lambda x: ops.power(ops.mean(ops.power(ops.maximum(x, 1e-6), 3.0), axis=(1, 2)), 1 / 3),
    "bilinear": lambda x: layers.Dense(8)(layers.Flatten()(ops.matmul(layers.Permute((2, 1))(_steps(x)), _steps(x)))),
    **{name: _of_map(name, *settings) for name, settings in MAPS.items()},
    "ReLU between bounds": _of_vector(lambda: layers.ReLU(6.0, 0.1, 0.5)),
    "masked LSTM": lambda x: layers.LSTM(6)(layers.Masking()(_steps(x))),
    "GlobalMaxPooling1D": lambda x: layers.GlobalMaxPooling1D()(_steps(x)),
    "dropout and noise": _of_vector(lambda: keras.Sequential([layers.AlphaDropout(0.2), layers.GaussianNoise(0.2)])),
    "GroupQueryAttention": lambda x: layers.Flatten()(layers.GroupQueryAttention(4, 4, 2)(_steps(x), _steps(x))),
    "Conv3D": lambda x: layers.Flatten()(layers.Conv3D(4, 2, activation="relu")(layers.Reshape((6, 6, 4, 3))(x))),
    "MaxPooling3D": lambda x: layers.Flatten()(layers.MaxPooling3D(2)(layers.Reshape((6, 6, 4, 3))(x))),
    "ConvLSTM1D": lambda x: layers.Flatten()(layers.ConvLSTM1D(4, 3)(layers.Reshape((6, 6, 12))(x))),
    "grouped convolution": lambda x: layers.Flatten()(layers.Conv2D(12, 3, groups=3, activation="relu")(x)),
}


def build(head: Head) -> keras.Model:
    """A network of two convolutions with a head."""
    keras.utils.set_random_seed(1)
    image = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(image)
    x = layers.Conv2D(12, 3, strides=2, padding="same", activation="relu")(x)
    model = keras.Model(image, layers.Dense(3, activation="softmax")(head(x)))
    imported.unroll(model)
    return model


def measure_answer(model: keras.Model) -> float:
    """How far the answer of a network as a LiteRT graph that explains nothing is off Keras."""
    image = np.random.default_rng(0).random((SIZE, SIZE, 3), np.float32)
    with tempfile.NamedTemporaryFile(suffix=".tflite") as file:
        file.write(frozen.convert_call(lambda image: model(image, training=False), image.shape))
        file.flush()
        answer = PlainGraph(Path(file.name)).answer(image, np.ones(3, np.float32), np.zeros(3, np.float32))
    return float(np.abs(answer - model(image[None], training=False).numpy()).max())


def main() -> None:
    """Measure the heads that are named, or all, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    rows: list[tuple[str, ...]] = []
    for name in parser.parse_args().names or HEADS:
        began, model, why = time.monotonic(), build(HEADS[name]), ""
        try:
            measured = measure(model, SIZE)
        except (BundleError, RuntimeError) as error:
            measured, why = {"hottest": 1}, f"by occlusion: {str(error).splitlines()[0][-160:]}"
            try:
                measured["probabilities"] = measure_answer(model)
            except BundleError as refused:
                why = str(refused)
        off = (measured.get(key, 0) <= most for key, most in imported.TOLERANCES.items())
        within = all(off) and measured["hottest"] > 0
        figures = [f"{measured[key]:.0e}" if key in measured else why for key in imported.TOLERANCES]
        rows.append((name + ("" if within else " (beyond)"), *figures, f"{time.monotonic() - began:.0f}"))
        print(*rows[-1], flush=True)
    print(card.markdown_table(("Head", "Probabilities off", "Heatmaps off", "Seconds"), rows))


if __name__ == "__main__":
    main()
