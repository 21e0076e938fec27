"""Make the default model again: gather its data, judge its recipe away from home, train it, test it, install it."""

import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import structs

from benchmarks import held_out, measure, out_of_distribution, tables, where_it_looks
from benchmarks.default_model import calibration, hospitals, making, protocol, report
from benchmarks.default_model.protocol import EXTERNAL, FINAL, HEALTHY, SOURCES, Images
from benchmarks.default_model.train import Recipe
from covid_cnn.evaluation import metrics
from covid_cnn.models import bundle
from covid_cnn.models.bundle import Bundle
from covid_cnn.models.info import Evidence
from covid_cnn.reports import card
from covid_cnn.training import export

RECIPE = Recipe()
# What no program can count: how often people looked, and what they chose by it. It stands below tables of the card.
LOOKS_AT = {
    "Held-out patients": "The test images were looked at five times while the network was made, and nothing was "
    "changed by what they told.",
    "Images that are no frontal chest X-ray": "What the distance is measured on was chosen among about 55 by tables "
    "that held these images, so these figures are selected.",
}


def main(cache: Path | None = None) -> None:
    """Make, test and install the default model. About an hour on two cores.

    CACHE is a folder that keeps the crops, and what each training said: those that are there are not done again.
    """
    root = measure.real_data(hospitals.COHEN).parent
    with tempfile.TemporaryDirectory() as name:
        kept = cache or Path(name)
        images = protocol.load(root, kept)
        trials = (*EXTERNAL, *SOURCES.values(), *HEALTHY.values(), *FINAL)
        said = {trial.name: protocol.run(images, trial, RECIPE, kept) for trial in trials}
        found = calibration.fit(calibration.pool(images, said))
        weights = [kept / f"{trial.name}.weights.h5" for trial in FINAL]
        folder = making.stage(images, weights, RECIPE, found)
        info = bundle.read_info(folder)
        evidence = msgspec.convert(test(Bundle(folder), images, said, found), list[Evidence])
        card.write_card(folder, structs.replace(info, evidence=evidence))
        export.publish_bundle(folder)
    assert info.metrics.test
    print(f"\n## Test\n\n{metrics.summarize(info.metrics.test)}")


def test(model: Bundle, images: Images, said: dict[str, np.ndarray], found: calibration.Calibration) -> list[Any]:
    """The sections of the card, the most sobering first."""
    items, elsewhere = images.of_split("test"), images.of_split(hospitals.EXTERNAL)
    sections = [
        *report.left_out(images, said, found),
        *held_out.reports(model, items),
        report.external(images, said, found),
        report.trust(images, said, model, found),
        out_of_distribution.report(model, items, elsewhere),
        where_it_looks.report([model, bundle.load_bundle("notebook_cnn")], items),
    ]
    for section in sections:
        section["text"] += f" {LOOKS_AT[section['title']]}" if section["title"] in LOOKS_AT else ""
        print(tables.markdown(section), flush=True)
    return sections


if __name__ == "__main__":
    measure.run(main)
