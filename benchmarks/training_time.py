"""Training on the seed notebook's dataset, as whole processes: transfer learning against the notebook's own network.

Both by their default recipes, from reading the images to the tested and exported bundle. Test accuracies stand beside
the times, since a quick bad network would be no gain.
"""

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import measure
from covid_cnn.bundle import read_info
from covid_cnn.evaluation import Interval

QUICK, SLOW = "efficientnet_lite0", "notebook_cnn"


def main(
    data: Annotated[Path | None, typer.Option(help="Another dataset, to try.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Other than the recipes', to try.")] = None,
) -> None:
    """Train each once, one after the other: minutes even out what shakes a measurement of seconds."""
    data = (data or measure.real_data("xray_dataset_covid19")).absolute()
    seconds = {}
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        for network in (QUICK, SLOW):
            options = ["--data", str(data), "--network", network, "--name", network, "--quiet"]
            if epochs:
                options += ["--epochs", str(epochs)]
            seconds[network] = measure.process("-m", "covid_cnn", "train", *options, home=home).seconds
            info = read_info(home / "models" / network)
            accuracy = Interval(**info["metrics"]["test"]["accuracy"])
            trained = f"{info['recipe']['epochs_trained']} epochs"
            print(f"  {network:20} {seconds[network]:7.1f} s, {trained}, test accuracy {accuracy}")
    measure.verdict(f"times less time for {QUICK}", seconds[SLOW] / seconds[QUICK], 8)


if __name__ == "__main__":
    measure.run(main)
