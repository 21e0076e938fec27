"""Make both shipped bundles again: train, test, and test on another hospital's images, which goes into their cards.

The bundles are made in a temporary home and replace those in ``models/`` only when all is done.
covid-chestxray-dataset is no test for them: the training images come from it.
"""

import shutil
import tempfile
from pathlib import Path

from benchmarks import measure
from covid_cnn.common import paths
from covid_cnn.evaluation.metrics import summarize
from covid_cnn.models.bundle import read_info
from covid_cnn.models.info import Report
from covid_cnn.reports import card

NETWORKS = ("efficientnet_lite0", "notebook_cnn")
TRAINED_ON, OTHER = "xray_dataset_covid19", "nih-chestxray8-subset"
TITLE = "Adults of another hospital (NIH Clinical Center)"


def main() -> None:
    """Make, test and install the shipped bundles. About ten minutes."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        (home / "data").mkdir()
        # Linked, so that the cards name the datasets and no folder of this machine.
        for dataset in (TRAINED_ON, OTHER):
            (home / "data" / dataset).symlink_to(measure.real_data(dataset), target_is_directory=True)
        for network in NETWORKS:
            usage = make(network, home)
            print(f"# {network}: trained in {usage.seconds:.0f} s")
            metrics = read_info(home / "models" / network).metrics
            assert metrics.test
            show("Test", metrics.test)
            for other, report in metrics.other.items():
                show(other, report)
        for network in NETWORKS:
            install(home / "models" / network)


def make(network: str, home: Path) -> measure.Usage:
    """Train a network by its default recipe, under its own name, and record its test on the other dataset."""
    train = ("train", "--data", TRAINED_ON, "--network", network, "--name", network, "--seed", "0", "--quiet")
    usage = measure.process("-m", "covid_cnn", *train, home=home)
    test = ("evaluate", "--data", OTHER, "--split", "all", "--model", network, "--record", TITLE)
    measure.process("-m", "covid_cnn", *test, home=home)
    return usage


def show(title: str, report: Report) -> None:
    """Print an evaluation."""
    print(f"\n## {title}\n\n{summarize(report)}\n\n{card.flagged_sentence(report)}")
    print("\n".join(report.notes))


def install(folder: Path) -> None:
    """Put a bundle into ``models/``, in place of the one of its name."""
    target = paths.models_dir() / folder.name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(folder, target)
    print(f"Installed {target.name} in {target.parent.name}/.")


if __name__ == "__main__":
    measure.run(main)
