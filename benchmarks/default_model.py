"""Make the default model again: gather its data, train it, test it in every way that its card tells of, install it."""

import shutil
import tempfile
from pathlib import Path

from benchmarks import (
    ablation,
    heatmap_sanity,
    held_out,
    leave_one_source_out,
    measure,
    out_of_distribution,
    tables,
    where_it_looks,
)
from benchmarks.shipped_models import install
from covid_cnn import bundle, cards, datasets, evaluation, hospitals
from covid_cnn.bundle import Bundle

NETWORK = bundle.DEFAULT


def main(cache: Path | None = None, trained: Path | None = None) -> None:
    """Make, test and install the default model. About half an hour.

    CACHE keeps what leaving sources out computes; TRAINED is a bundle that was made before, to test and install.
    """
    root = measure.real_data(hospitals.COHEN).parent
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        measure.process("-m", "covid_cnn", "data", "gather", str(root), home=home)
        folder = home / "models" / NETWORK
        if trained:
            shutil.copytree(trained, folder)
        else:
            train = ("train", "--data", hospitals.NAME, "--network", NETWORK, "--name", NETWORK, "--quiet")
            usage = measure.process("-m", "covid_cnn", *train, home=home)
            print(f"# trained in {usage.seconds:.0f} s, with at most {usage.peak_mb:.0f} MB", flush=True)
        test(folder, home / "data" / hospitals.NAME, cache)
        install(folder)


def test(folder: Path, data: Path, cache: Path | None) -> None:
    """Put the bundle in ``folder`` through all tests, and write what they tell into its card."""
    model, dataset = Bundle(folder), datasets.open(data)
    items = list(dataset.subset("test"))
    evidence = []
    for report in (
        lambda: [leave_one_source_out.report(str(data), cache)],
        lambda: [ablation.report(str(data), cache)],
        lambda: held_out.reports(model, items),
        lambda: [out_of_distribution.report(model, items)],
        lambda: [where_it_looks.report([model, bundle.load("notebook_cnn")], items)],
        lambda: [heatmap_sanity.report(model, items[::4])],
    ):
        for found in report():
            print(tables.markdown(found), flush=True)
            evidence.append(found)
    gathered = (data / "NOTES.txt").read_text(encoding="utf-8").splitlines()
    notes = [note for note in model.info["training_data"]["notes"] if note not in gathered]
    learned = model.info["training_data"] | {"notes": notes + gathered}
    cards.write(folder, model.info | {"training_data": learned, "evidence": evidence})
    print(f"\n## Test\n\n{evaluation.summary(model.info['metrics']['test'])}")


if __name__ == "__main__":
    measure.run(main)
