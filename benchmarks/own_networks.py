"""Every network of ``keras.applications`` as a network of one's own: its graph against Keras and GradientTape.

Each is built with random weights and a head for three classes, its norms are given the statistics of a few images,
and it is frozen, examined, exported with its heatmaps, and asked about an image; the answers are held against Keras's
own, and the heatmaps against GradientTape at the same layer.
Without names all are measured, one by one, each in a process of its own; results are kept in a file, so that a
sweep that was stopped goes on.
"""

import argparse
import json
import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from covid_cnn.reports import card
from covid_cnn.training.imported import TOLERANCES

SIZE = 224
COLUMNS = ("Network", "Parameters", "Feature map", "Probabilities off", "Heatmaps off", "Graph", "Seconds", "Memory")


def measure(model: Any, size: int = SIZE) -> dict[str, Any]:
    """How far the exported graph of a Keras network is off Keras and GradientTape on one image.

    Parameters
    ----------
    model : of one image of three channels, 0..1; its last layer is a softmax or a sigmoid
    """
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    from covid_cnn.training import frozen

    began = time.monotonic()
    channels = model.input_shape[-1]
    network = frozen.freeze(lambda image: model(image, training=False), (size, size, channels))
    anatomy = frozen.examine(network)
    graph = frozen.convert(frozen.explained(network, anatomy, [1.0] * channels, [0.0] * channels, ""))
    seconds = time.monotonic() - began
    image = np.random.default_rng(0).random((1, size, size, 1), np.float32)
    told = Interpreter(model_content=graph).get_signature_runner()(image=image)
    probabilities, heatmaps = by_gradient_tape(model, np.repeat(image, channels, axis=-1))
    return {
        "network": model.name,
        "parameters": model.count_params(),
        "feature_map": list(heatmaps.shape[1:3]),
        "probabilities": float(np.abs(told["probabilities"] - probabilities).max()),
        "heatmaps": float(np.abs(told["heatmaps"] - heatmaps).max()),
        "hottest": float(heatmaps.max()),  # 0 where all maps are empty, and so no test
        "surest": float(probabilities.max()),
        "bytes": len(graph),
        "seconds": seconds,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 2**10,  # the process's most, Keras among it
    }


def by_gradient_tape(model: Any, image: Any) -> tuple[Any, Any]:
    """Probabilities ``[1, K]`` and heatmaps ``[1, h, w, K]`` of a Keras network by automatic differentiation.

    The feature map is the output of the last operation that has places, pooling, cropping and the like apart; the
    scores are those before the last softmax or sigmoid.
    """
    import keras
    import tensorflow as tf

    from covid_cnn.training import frozen, gradcam

    # Operations, not layers alone: a sum written with + is no layer.
    operations = reversed(getattr(model, "operations", model.layers))
    maps = (one.output for one in operations if not re.search("pool|drop|crop|pad", type(one).__name__.lower()))
    feature_map = next(one for one in maps if len(one.shape) == 4 and one.shape[1] > 1)
    answers, last = frozen.probabilities(model(image, training=False)).numpy(), model.layers[-1]
    if isinstance(last, keras.layers.Activation):
        network = keras.Model(model.inputs[0], [feature_map, last.input])
    else:
        last.activation = keras.activations.linear
        network = keras.Model(model.inputs[0], [feature_map, model.outputs[0]])
    with tf.GradientTape(persistent=True) as tape:
        activations, scores = network(image, training=False)
        each = tf.unstack(gradcam.class_scores(scores), axis=-1)
    gradients = tf.stack([tape.gradient(score, activations) for score in each], axis=-1)
    alpha = tf.reduce_mean(gradients, axis=(1, 2), keepdims=True)
    heat = gradcam.scale(tf.nn.relu(tf.reduce_sum(alpha * activations[..., None], axis=-2)))
    return answers, heat.numpy()


def build(name: str) -> Any:
    """A network of ``keras.applications`` with random weights for three classes, on images of ``SIZE``."""
    import keras
    import numpy as np

    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, name)(weights=None, classes=3, input_shape=(SIZE, SIZE, 3))
    settle(model)
    # Untrained, answers are all but equal or all but certain, and either would hide what is off: the last kernel is
    # scaled until they are neither.
    image = np.random.default_rng(1).random((1, SIZE, SIZE, 3), np.float32)
    last = next(layer for layer in reversed(model.layers) if layer.get_weights())
    kernel, bias = last.get_weights()
    scores = keras.Model(model.input, last.input)(image, training=False).numpy().reshape(1, -1) @ kernel.reshape(-1, 3)
    last.set_weights([kernel * 2 / np.abs(scores).max(), bias])
    return model


def settle(model: Any) -> None:
    """Give the norms of a random network the statistics of a few images, as trained ones have them.

    With those that it begins with, mean 0 and variance 1, nothing is normalized, and a deep network amplifies rounding
    until no two ways to compute it agree: EfficientNetV2M, whose activations reach 8e5, answers in float32 0.42 off
    itself in float64, and 0.80 off itself where the image changes by 1e-7.
    """
    import keras
    import numpy as np

    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(np.random.default_rng(2).random((4, SIZE, SIZE, 3), np.float32), training=True)


def all_names() -> list[str]:
    """The networks of ``keras.applications``."""
    import keras

    return sorted(name for name, one in vars(keras.applications).items() if callable(one) and name[0].isupper())


def main() -> None:
    """Measure the networks that are named, or all, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--results", type=Path, default=Path("own_networks.jsonl"))
    parser.add_argument("--one", action="store_true", help="measure in this process and print JSON")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(build(arguments.names[0]))))
        return
    kept = arguments.results.read_text(encoding="utf-8").splitlines() if arguments.results.is_file() else []
    done = {one["name"]: one for one in map(json.loads, kept) if "error" not in one}
    for name in arguments.names or all_names():
        if name not in done:
            command = [sys.executable, "-m", "benchmarks.own_networks", name, "--one"]
            ended = subprocess.run(command, capture_output=True, text=True, check=False)
            lines = ended.stdout.strip().splitlines()
            told = json.loads(lines[-1]) if ended.returncode == 0 else {"error": ended.stderr.strip()[-400:]}
            if ended.returncode < 0:
                told = {"error": f"ended by signal {-ended.returncode}, 9 for want of memory"}
            done[name] = {"name": name} | told
            with arguments.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(done[name]) + "\n")
    print(card.markdown_table(COLUMNS, [_row(done[name]) for name in arguments.names or all_names()]))


def _row(one: dict[str, Any]) -> tuple[object, ...]:
    if "error" in one:
        return (one["name"], one["error"].splitlines()[-1], *[""] * 6)
    within = all(one[key] <= most for key, most in TOLERANCES.items()) and one["hottest"] > 0
    return (
        one["name"] + ("" if within else " (beyond)"),
        f"{one['parameters']:,}",
        "x".join(map(str, one["feature_map"])),
        f"{one['probabilities']:.1e}",
        f"{one['heatmaps']:.1e}",
        f"{one['bytes'] / 2**20:.0f} MB",
        f"{one['seconds']:.0f}",
        f"{one['memory'] / 2**30:.1f} GB" if "memory" in one else "",
    )


if __name__ == "__main__":
    main()
