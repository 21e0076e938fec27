"""Training on the seed notebook's dataset: its own loop, the same network in ours, and transfer learning.

Each is a whole process, from its start to the tested model. Images a second are those of the epochs alone, each with
its validation and with all that is kept of it, but for the first, in which TensorFlow builds its graphs. Test
accuracies stand beside the times, since a quick bad network would be no gain; the test images are read after the end.
"""

import json
import tempfile
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from benchmarks import measure
from covid_cnn.common.statistics import wilson
from covid_cnn.data import dataset, splits
from covid_cnn.models.bundle import read_info
from covid_cnn.runs import config
from covid_cnn.runs.run import Run

LOOP = "the notebook's loop"
SAME, QUICK = "notebook_cnn", "efficientnet_lite0"


def main(
    data: Annotated[Path | None, typer.Option(help="Another dataset, to try.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Of the notebook's network, other than its recipe's.")] = None,
    rounds: Annotated[
        int, typer.Option(help="Each rival trains once in each: minutes even out what seconds do not.")
    ] = 1,
) -> None:
    """Train each in turn, in processes of their own."""
    data = (data or measure.real_data("xray_dataset_covid19")).absolute()
    epochs = epochs or config.find_recipe(SAME).epochs
    options: dict[str, list[str]] = {SAME: ["--epochs", str(epochs)], QUICK: []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _as_folders(data, folder / "data")

        def loop() -> dict:
            result = folder / "loop.json"
            usage = measure.process("-m", "benchmarks.notebook_loop", str(folder / "data"), str(epochs), str(result))
            told = json.loads(result.read_text())
            share = wilson(told["right"], told["tested"])
            return {"whole": usage.seconds, "rate": _rate(told["images"], told["seconds"]), "accuracy": share}

        def ours(network: str) -> dict:
            with tempfile.TemporaryDirectory(dir=folder) as home:
                command = ["--data", str(data), "--network", network, "--name", network, "--quiet"]
                usage = measure.process("-m", "covid_cnn", "train", *command, *options[network], home=Path(home))
                epochs = Run(Path(home) / "runs" / network).journal.epochs
                info = read_info(Path(home) / "models" / network)
            return {
                "whole": usage.seconds,
                "rate": _rate(info.training_data.images.train, [epoch.seconds for epoch in epochs]),
                "waited": median(epoch.waited for epoch in epochs[1:]),
                "accuracy": info.metrics.test.accuracy if info.metrics.test else None,
            }

        rivals = {LOOP: loop, SAME: lambda: ours(SAME), QUICK: lambda: ours(QUICK)}
        measured = measure.rounds(rivals, rounds)
    for rival, results in measured.items():
        for told in results:
            print(f"  {rival:20} {told['whole']:7.1f} s, test accuracy {told['accuracy']}")
    of = {rival: {key: [told[key] for told in results] for key in results[0]} for rival, results in measured.items()}
    faster = measure.ratio(of[SAME]["rate"], of[LOOP]["rate"])
    print(f"  {median(of[SAME]['rate']):.1f} images a second, against {median(of[LOOP]['rate']):.1f}")
    measure.verdict("times the images a second of the notebook's loop, same network", faster, 1.5)
    measure.verdict("of its time our trainer waits for images", max(of[SAME]["waited"]), 0.05, at_least=False)
    sooner = measure.ratio(of[LOOP]["whole"], of[QUICK]["whole"])
    measure.verdict(f"times sooner done: {QUICK} against the notebook's loop", sooner, 10)
    better = min(a.value - b.value for a, b in zip(of[QUICK]["accuracy"], of[LOOP]["accuracy"], strict=True))
    measure.verdict("more of the test images right", better, 0)


def _as_folders(data: Path, folder: Path) -> None:
    """The splits that our training makes, as the folders that Keras reads, of links."""
    made = splits.training_splits(dataset.open_dataset(data), seed=0)
    for split, items in (("train", made.train), ("val", made.val), ("test", made.test)):
        for number, item in enumerate(items):
            link = folder / split / item.label / f"{number}_{item.path.name}"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(item.path)


def _rate(images: int, seconds: list[float]) -> float:
    """Images a second, the median of the epochs after the first."""
    return median(images / taken for taken in (seconds[1:] or seconds))


if __name__ == "__main__":
    measure.run(main)
