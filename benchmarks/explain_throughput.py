"""Explained predictions a second: a bundle against Keras with GradientTape and against tf-keras-vis.

All take one radiograph at a time from its pixels, as an app does, and share the preprocessing. Where the work differs,
it is in favour of the rivals: a bundle returns probabilities, heatmaps of every class, the embedding and its distance;
``usual`` the probability and the heatmap of one class, ``reference`` heatmaps of every class without the
probabilities, tf-keras-vis the heatmap of one class and no more.
"""

import warnings
from collections.abc import Callable
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer
from tf_keras_vis.gradcam import Gradcam

from benchmarks import gradient_tape, measure, usual_way
from covid_cnn.data import synthetic
from covid_cnn.images import ops
from covid_cnn.models import bundle
from covid_cnn.training import networks

OURS = "bundle"
RIVALS = ("usual", "reference", "tf-keras-vis")


def main(
    models: Annotated[list[str] | None, typer.Argument(help="Names of bundles, by default the shipped ones.")] = None,
    rounds: int = 10,
) -> None:
    """Measure each bundle against the same network in Keras."""
    # Keras says so at each call of the network that tf-keras-vis makes.
    warnings.filterwarnings("ignore", message="The structure of `inputs`")
    pixels = synthetic.draw_radiograph(0, opacities=True)
    for loaded in [bundle.load_bundle(name) for name in models or sorted(bundle.discover_bundles()[0])]:
        actions = explainers(loaded, pixels)
        # Ten calls of ours, so that a turn of it is not a blink beside theirs.
        rivals = {name: measure.timed(action, 10 if name == OURS else 1) for name, action in actions.items()}
        measure.rounds(rivals, 1)
        seconds = measure.rounds(rivals, rounds)
        print(f"Explained predictions, {loaded.info.network}, median of {rounds} rounds")
        for name, values in seconds.items():
            print(f"  {name:15} {1000 * median(values):8.2f} ms each, {1 / median(values):7.1f} a second")
        for name in RIVALS:
            measure.verdict(f"times as many as {name}", measure.ratio(seconds[name], seconds[OURS]), 30)


def explainers(loaded: bundle.Bundle, pixels: np.ndarray) -> dict[str, Callable[[], Any]]:
    """One explained prediction by each way. The weights in Keras are others; they do not change the time."""
    model = networks.build_network(loaded.info.network, len(loaded.classes))
    network, visualizer = usual_way.gradcam_model(model), Gradcam(model, clone=False)

    def image() -> np.ndarray:
        return ops.prepare(pixels, loaded.input_size)[None]

    def tf_keras_vis() -> np.ndarray:
        return visualizer(
            lambda logits: logits[:, 0],
            image(),
            penultimate_layer="feature_map",
            seek_penultimate_conv_layer=False,
            expand_cam=False,
        )

    return {
        OURS: lambda: loaded.predict(pixels),
        "usual": lambda: usual_way.explain(network, image()),
        "reference": lambda: gradient_tape.reference(model, image()),
        "tf-keras-vis": tf_keras_vis,
    }


if __name__ == "__main__":
    measure.run(main)
