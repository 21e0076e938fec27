"""Does a model look at the lungs: the share of its Grad-CAM heat that lies inside lung masks, models side by side.

The masks are those of covid-chestxray-dataset (lungVAE, Selvan et al. 2020). Each heatmap is that of the class which
the model names, enlarged as the app shows it. Heat that knows nothing of lungs would lie in them by their share of
the image, so that share stands beside it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks import measure, tables
from covid_cnn.common.statistics import bootstrap, mean_of
from covid_cnn.data.dataset import Item, open_dataset
from covid_cnn.images import ops, reader
from covid_cnn.models import bundle
from covid_cnn.models.bundle import Bundle

MASKS = Path("annotations") / "lungVAE-masks"
HELD_OUT = "Those held out are kept from the newest model; one of other data may have learned from them. "


@dataclass(frozen=True)
class Gaze:
    """Where the heat of one image lies.

    Attributes
    ----------
    file : the image's name, lower case and without its suffix, which collections change
    patient : whose image it is
    heat : share of the heat inside the lungs, 0..1; NaN where nothing speaks for the class
    area : share of the image that the lungs are, 0..1
    """

    file: str
    patient: str
    heat: float
    area: float


def main(
    models: Annotated[list[str], typer.Argument(help="Names or folders of bundles.")],
    data: Annotated[str, typer.Option(help="Dataset of images to tell apart as held out, by file name.")] = "",
    split: str = "test",
) -> None:
    """Print the table of some bundles."""
    unseen = open_dataset(data).subset(split) if data else ()
    print(tables.markdown(report([bundle.load_bundle(name) for name in models], unseen)))


def report(models: Sequence[Bundle], unseen: Iterable[Item] = ()) -> dict[str, Any]:
    """The table of some bundles as a ``tables.finding``, with rows for the images that ``unseen`` holds too."""
    names = {_stem(item.path) for item in unseen}
    rows = []
    for model in models:
        gazes = [gaze(model, item, mask) for item, mask in masked()]
        groups = {"all": gazes, "held out": [one for one in gazes if one.file in names]}
        rows += [[model.name, name, *_cells(group)] for name, group in groups.items() if group]
    text = (
        "Share of the Grad-CAM heat of the predicted class that lies inside the lungs, beside the share of the image "
        "that the lungs are; 1 times is what heat without any knowledge reaches. Among all images are some that the "
        f"models learned from. {HELD_OUT if names else ''}Images without any heat for their class are left out. "
        "Intervals: bootstrap over patients."
    )
    columns = ("Model", "Images", "n", "Heat in the lungs", "95 % interval", "Lungs", "Times", "95 % interval")
    return tables.finding("Where it looks", text, columns, rows)


def masked() -> list[tuple[Item, Path]]:
    """The frontal X-rays that have a lung mask, each with the file of it."""
    dataset = open_dataset(measure.real_data("covid-chestxray-dataset"))
    pairs = [(item, dataset.root / MASKS / f"{item.path.stem}_mask.png") for item in dataset.items]
    return [(item, mask) for item, mask in pairs if mask.is_file()]


def gaze(model: Bundle, item: Item, mask: Path) -> Gaze:
    """Where the heat of the class that ``model`` names lies."""
    prediction = model.predict(reader.read(item.path).pixels)
    lungs = reader.read(mask).pixels > 0.5
    heatmap = prediction.heatmaps[..., prediction.classes.index(prediction.label)]
    return Gaze(_stem(item.path), item.patient, share_inside(heatmap, lungs), float(lungs.mean()))


def share_inside(heatmap: np.ndarray, mask: np.ndarray) -> float:
    """The share of the heat of ``[h, w]`` inside a bool ``[H, W]`` of the same picture; NaN without any heat."""
    heat = ops.upsample(heatmap, mask.shape)
    return float(heat[mask].sum() / heat.sum()) if heat.any() else float("nan")


def _cells(gazes: list[Gaze]) -> list[str]:
    seen = [one for one in gazes if not np.isnan(one.heat)]
    heat, area = np.array([(one.heat, one.area) for one in seen]).reshape(-1, 2).T
    patients = [one.patient for one in seen]
    share = bootstrap(mean_of(heat), patients) if seen else None
    times = bootstrap(lambda weights: mean_of(heat)(weights) / mean_of(area)(weights), patients) if seen else None
    lungs = f"{100 * area.mean():.1f} %" if seen else ""
    return [str(len(seen)), *tables.percent(share), lungs, *tables.number(times)]


def _stem(path: Path) -> str:
    """The image's name as all collections have it."""
    return path.stem.lower()


if __name__ == "__main__":
    measure.run(main)
