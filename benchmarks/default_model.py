"""Make the default model again: gather its data, train it, test it in every way that its card tells of, install it."""

import os
import shutil
import tempfile
from pathlib import Path

from benchmarks import (
    ablation,
    collections,
    heatmap_sanity,
    held_out,
    leave_one_source_out,
    measure,
    out_of_distribution,
    tables,
    where_it_looks,
)
from benchmarks.shipped_models import install
from covid_cnn.data.dataset import open_dataset
from covid_cnn.evaluation import metrics
from covid_cnn.models import bundle
from covid_cnn.models.bundle import Bundle
from covid_cnn.reports import card

NETWORK = bundle.DEFAULT_MODEL


def main(cache: Path | None = None, trained: Path | None = None) -> None:
    """Make, test and install the default model. About half an hour.

    CACHE keeps what leaving sources out computes; TRAINED is a bundle that was made before, to test and install.
    """
    root = measure.real_data(collections.COHEN).parent
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        os.environ["COVID_CNN_HOME"] = name  # where the dataset is written
        collections.write_gathered(collections.gather_collections(root))
        folder = home / "models" / NETWORK
        if trained:
            shutil.copytree(trained, folder)
        else:
            train = ("train", "--data", collections.NAME, "--network", NETWORK, "--name", NETWORK, "--quiet")
            usage = measure.process("-m", "covid_cnn", *train, home=home)
            print(f"# trained in {usage.seconds:.0f} s, with at most {usage.peak_mb:.0f} MB", flush=True)
        test(folder, home / "data" / collections.NAME, cache)
        install(folder)


def test(folder: Path, data: Path, cache: Path | None) -> None:
    """Put the bundle in ``folder`` through all tests, and write what they tell into its card."""
    model, dataset = Bundle(folder), open_dataset(data)
    items = list(dataset.subset("test"))
    evidence = []
    for report in (
        lambda: [leave_one_source_out.report(str(data), cache)],
        lambda: [ablation.report(str(data), cache)],
        lambda: held_out.reports(model, items),
        lambda: [out_of_distribution.report(model, items)],
        lambda: [where_it_looks.report([model, bundle.load_bundle("notebook_cnn")], items)],
        lambda: [heatmap_sanity.report(model, items[::4])],
    ):
        for found in report():
            print(tables.markdown(found), flush=True)
            evidence.append(found)
    gathered = (data / "NOTES.txt").read_text(encoding="utf-8").splitlines()
    notes = [note for note in model.info["training_data"]["notes"] if note not in gathered]
    learned = model.info["training_data"] | {"notes": notes + gathered}
    card.write_card(folder, model.info | {"training_data": learned, "evidence": evidence})
    print(f"\n## Test\n\n{metrics.summarize(model.info['metrics']['test'])}")


if __name__ == "__main__":
    measure.run(main)
