"""Make the default model again: gather its data, train it, test it in every way that its card tells of, install it."""

import tempfile
from pathlib import Path

from benchmarks import (
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


def main(seeds: int = 3, cache: Path | None = None) -> None:
    """Make, test and install the default model. About half an hour; CACHE keeps what leaving sources out computes."""
    root = measure.real_data(hospitals.COHEN).parent
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        measure.process("-m", "covid_cnn", "data", "gather", str(root), home=home)
        train = ("train", "--data", hospitals.NAME, "--network", NETWORK, "--name", NETWORK, "--quiet")
        usage = measure.process("-m", "covid_cnn", *train, home=home)
        print(f"# trained in {usage.seconds:.0f} s, with at most {usage.peak_mb:.0f} MB")
        folder = home / "models" / NETWORK
        data = datasets.open(home / "data" / hospitals.NAME)
        notes = (data.root / "NOTES.txt").read_text(encoding="utf-8").splitlines()
        model = Bundle(folder)
        test = data.subset("test")
        evidence = [
            leave_one_source_out.report(str(data.root), seeds, cache),
            *held_out.reports(model, test),
            out_of_distribution.report(model, list(test)),
            where_it_looks.report([model, bundle.load("notebook_cnn")], test),
        ]
        learned = model.info["training_data"] | {"notes": model.info["training_data"]["notes"] + notes}
        cards.write(folder, model.info | {"training_data": learned, "evidence": evidence})
        print(evaluation.summary(model.info["metrics"]["test"]))
        for found in evidence:
            print(tables.markdown(found))
        install(folder)


if __name__ == "__main__":
    measure.run(main)
