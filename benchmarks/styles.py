"""What the style of other sources changes, at home and away: the notebook's CNN trained with it and without.

Both learn from the notebook's training images, by the network's own recipe but for the augmentation, from several
seeds. Then they are asked of the notebook's test images, and of healthy adults of two hospitals that they never saw.
The figures go to where the tour takes them from.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import structs

from benchmarks import measure, tables
from covid_cnn.app import tour
from covid_cnn.common.statistics import clustered_proportion
from covid_cnn.data import dataset
from covid_cnn.data.classes import NORMAL, matching_class
from covid_cnn.data.dataset import Item
from covid_cnn.evaluation import predictions
from covid_cnn.models.bundle import Bundle

NETWORK, HOME = "notebook_cnn", "xray_dataset_covid19"
AUGMENTATIONS = ("notebook", "styles")  # the network's own, and the one that is tried
HOSPITALS = {"Montgomery County": "montgomery", "NIH Clinical Center": "nih-chestxray8-subset"}
FIGURES = Path(tour.__file__).with_name("styles.json")


def main(seeds: int = 3, cache: Path | None = None) -> None:
    """Train with and without, ask both, print the table and write the figures for the tour. Minutes a training.

    CACHE is a folder that keeps the trained models; those that are there are not trained again.
    """
    home = list(dataset.open_dataset(measure.real_data(HOME)).subset("test"))
    places = {f"Healthy adults of {name} called sick": _healthy(folder) for name, folder in HOSPITALS.items()}
    places = {"Right on the notebook's test images": home} | places
    figures: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        kept = cache.absolute() if cache else Path(name)
        models = {kind: [_train(kind, seed, kept) for seed in range(seeds)] for kind in AUGMENTATIONS}
        for title, items in places.items():
            for kind, trained in models.items():
                figures.append({"figure": title, "augmentation": kind} | _share(trained, items, items is home))
    content = {"network": NETWORK, "seeds": seeds, "figures": figures}
    FIGURES.write_bytes(msgspec.json.format(msgspec.json.encode(content)) + b"\n")
    rows = [
        [one["figure"], one["augmentation"], *tables.percent(one["share"]), str(one["share"].n)]
        + [" ".join(f"{100 * value:.1f}" for value in one["each"])]
        for one in figures
    ]
    text = f"{NETWORK} of {seeds} seeds each; intervals over patients, who count once for all seeds."
    columns = ["Figure", "Augmentation", "Mean", "95 % interval", "n", "Each seed, %"]
    print(tables.markdown(tables.finding("The style of other sources", text, columns, rows)))


def _healthy(folder: str) -> list[Item]:
    return [i for i in dataset.open_dataset(measure.real_data(folder)).items if matching_class(i.label, [NORMAL])]


def _train(augmentation: str, seed: int, home: Path) -> Bundle:
    name = f"{augmentation}-{seed}"
    folder = home / "models" / name
    if not folder.is_dir():
        options = ("--augmentation", augmentation, "--seed", str(seed), "--name", name, "--quiet")
        command = ("-m", "covid_cnn", "train", "--data", str(measure.real_data(HOME)), "--network", NETWORK, *options)
        print(f"# {name}: trained in {measure.process(*command, home=home).seconds:.0f} s", flush=True)
    return Bundle(folder)


def _share(trained: Sequence[Bundle], items: Sequence[Item], at_home: bool) -> dict[str, Any]:
    """The share of images that are read rightly at home, or wrongly away: in the mean over the models, and of each."""
    answers = [predictions.predict_known(model, items) for model in trained]
    counted = [(one.predicted == one.labels) == at_home for one in answers]
    patients = [item.patient for item in answers[0].items]
    share = clustered_proportion(np.concatenate(counted), patients * len(counted))
    assert share is not None
    return {"share": structs.replace(share, n=len(patients)), "each": [float(one.mean()) for one in counted]}


if __name__ == "__main__":
    measure.run(main)
