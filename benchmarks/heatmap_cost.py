"""What the heatmaps of every class cost: the exported graph with them against the same without, in one process.

Only the graphs are measured. The preprocessing, which both need, would hide a part of the cost.
"""

import os
from collections.abc import Callable
from statistics import median
from typing import Any

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from benchmarks import measure
from benchmarks.default_model.network import on_crops, on_images
from benchmarks.default_model.train import Recipe
from covid_cnn.training import export, networks


def main(rounds: int = 50, calls: int = 10) -> None:
    """Measure the networks that ship, with weights as training starts from: they do not change the time."""
    for name in ("notebook_cnn", "efficientnet_lite0", "lung_styles"):
        model = build(name)
        image = np.random.default_rng(0).random((1, *model.input_shape[1:]), np.float32)
        rivals = {
            title: measure.timed(call(export.convert_graph(model, 1.0, heatmaps), image), calls)
            for title, heatmaps in (("with heatmaps", True), ("without", False))
        }
        measure.rounds(rivals, 3)
        seconds = measure.rounds(rivals, rounds)
        print(f"Heatmap cost, {name}, median of {rounds} rounds of {calls} calls")
        for title, values in seconds.items():
            print(f"  {title:15} {1000 * median(values):7.2f} ms a call")
        cost = measure.ratio(seconds["with heatmaps"], seconds["without"])
        measure.verdict("times the cost of a prediction alone", cost, 1.1, at_least=False)


def build(name: str) -> keras.Model:
    """A network that ships."""
    if name in networks.ARCHITECTURES:
        return networks.build_network(name, 2)
    lung = Recipe().lung
    return on_images(on_crops(lung), lung)


def call(graph: bytes, image: np.ndarray) -> Callable[[], dict[str, Any]]:
    """A call of the graph, with the threads that a bundle gives it."""
    interpreter = Interpreter(model_content=graph, num_threads=min(4, os.cpu_count() or 1))
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner()
    return lambda: runner(image=image)


if __name__ == "__main__":
    measure.run(main)
