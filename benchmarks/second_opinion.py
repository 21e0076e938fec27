"""Do heatmaps mark what an answer rests on: deletion and insertion curves (Petsiuk et al. 2018) against random order.

On the X-rays that have a lung mask, the class that the model names. Of each image the area under the curves of the
heatmap is compared with the mean of random orders as coarse as the heatmap.
"""

import time
from typing import Annotated, NamedTuple

import numpy as np
import typer

from benchmarks import measure, tables, where_it_looks
from benchmarks.perturbation_curves import SEEDS, compare_maps
from covid_cnn.common.statistics import bootstrap, mean_of
from covid_cnn.data.dataset import Item
from covid_cnn.images import reader
from covid_cnn.models import bundle
from covid_cnn.models.bundle import Bundle


class Areas(NamedTuple):
    """Areas under the curves of one image: of the heatmap, and the mean of random orders."""

    deletion: float
    deletion_by_chance: float
    insertion: float
    insertion_by_chance: float


def main(
    models: Annotated[list[str] | None, typer.Argument(help="Names or folders of bundles.")] = None,
    images: Annotated[int, typer.Option(help="How many, evenly spaced.")] = 40,
) -> None:
    """Print the table of some bundles."""
    masked = [item for item, _ in where_it_looks.masked()]
    items = [masked[i] for i in np.unique(np.linspace(0, len(masked) - 1, min(images, len(masked))).astype(int))]
    rows = []
    for name in models or (bundle.DEFAULT_MODEL, "notebook_cnn"):
        began = time.monotonic()
        rows += _rows(bundle.load_bundle(name), items)
        print(f"# {name}: {time.monotonic() - began:.0f} s", flush=True)
    text = (
        "Mean area under the deletion curve (lower is better) and the insertion curve (higher is better) of the class "
        f"that the model names; random order is the mean of {SEEDS} for each image. Better: images on "
        "which the heatmap beats that mean. Images without any heat for their class are left out; some of the others "
        "the models learned from. Intervals: bootstrap over patients."
    )
    interval = "95 % interval"
    columns = ("Model", "Curve", "n", "Heatmap", interval, "Random order", interval, "Difference", interval)
    print(tables.markdown(tables.finding("Deletion and insertion", text, (*columns, "Better", interval), rows)))


def _rows(model: Bundle, items: list[Item]) -> list[list[str]]:
    found = [(item.patient, areas) for item in items if (areas := measured(model, item))]
    patients, table = [patient for patient, _ in found], np.array([areas for _, areas in found]).reshape(-1, 4)
    rows = []
    for title, mine, chance, sign in (("deletion", 0, 1, -1), ("insertion", 2, 3, 1)):
        difference = table[:, mine] - table[:, chance]
        columns = (table[:, mine], table[:, chance], difference)
        cells = [cell for values in columns for cell in tables.number(_mean(values, patients))]
        better = tables.percent(_mean((sign * difference > 0).astype(float), patients))
        rows.append([model.name, title, str(len(found)), *cells, *better])
    return rows


def measured(model: Bundle, item: Item) -> Areas | None:
    """The areas of an image; None where nothing speaks for the class that ``model`` names."""
    pixels = reader.read(item.path).pixels
    prediction = model.predict(pixels)
    heatmap = prediction.heatmaps[..., prediction.classes.index(prediction.label)]
    if not heatmap.any():
        return None
    verdict = compare_maps(model, pixels, prediction.label, {"heatmap": heatmap})
    mine, chance = verdict.orders["heatmap"], verdict.mean_chance()
    return Areas(mine.deletion.area, chance.deletion.area, mine.insertion.area, chance.insertion.area)


def _mean(values: np.ndarray, patients: list[str]):
    return bootstrap(mean_of(values), patients) if len(values) else None


if __name__ == "__main__":
    measure.run(main)
