"""Does a model know that it does not know: the share flagged of images that are no chest X-ray, and of held-out ones.

A flagged image lies further from the training images than the model's limit. ``not_chest_xrays`` has the images.
"""

from collections import Counter
from typing import Annotated, Any

import typer

from benchmarks import measure, not_chest_xrays, tables
from covid_cnn.common.errors import ImageError
from covid_cnn.common.statistics import wilson
from covid_cnn.data.dataset import Item
from covid_cnn.images.reader import read_ahead
from covid_cnn.models import bundle
from covid_cnn.models.bundle import Bundle

CAUGHT, FALSE_ALARMS = 0.95, 0.05  # goals: at least, of each kind; at most, of the held-out X-rays
FEW = 20  # images of a source; those with fewer have no row of their own


def main(
    model: Annotated[str, typer.Argument(help="Name or folder of a bundle.")] = bundle.DEFAULT_MODEL,
    data: Annotated[str, typer.Option(help="Dataset of the held-out X-rays, by default the real ones.")] = "",
    split: str = "test",
) -> None:
    """Print the table of a bundle."""
    print(tables.markdown(report(bundle.load_bundle(model), not_chest_xrays.held_out(data, split))))


def report(model: Bundle, items: list[Item], elsewhere: list[Item] | None = None) -> dict[str, Any]:
    """The table of a bundle as a ``tables.finding``.

    ``items`` are chest X-rays that it has not seen, ``elsewhere`` such of hospitals that it has not seen either.
    """
    text = (
        f"Share of images that {model.name} flags as unlike what it learned from. "
        f"Goals: at most {100 * FALSE_ALARMS:g} % of the held-out chest X-rays, "
        f"at least {100 * CAUGHT:g} % of every other kind. "
        "Images of one patient, pieces of one photograph and views of one leg count as independent here."
    )
    columns = ("Images", "n", "Flagged", "95 % interval", "Goal")
    rows = held_out_rows(model, items)
    if elsewhere:
        first, *_ = held_out_rows(model, elsewhere)
        rows.append(["Frontal chest X-rays of another hospital", *first[1:]])
    rows += kind_rows(model, items)
    return tables.finding("Images that are no frontal chest X-ray", text, columns, rows)


def held_out_rows(model: Bundle, items: list[Item]) -> list[list[str]]:
    """The row of all ``items`` that can be read, and below it one for each source."""
    total: Counter[str] = Counter()
    flagged: Counter[str] = Counter()
    common = Counter(item.source for item in items)
    answers = read_ahead([item.path for item in items], lambda image: not model.predict(image.pixels).in_distribution)
    for item, answer in zip(items, answers, strict=True):
        if not isinstance(answer, ImageError):
            source = item.source if common[item.source] >= FEW else "other sources"
            total[source] += 1
            flagged[source] += answer
    flags, n = flagged.total(), total.total()
    rows = [[*_cells("Held-out frontal chest X-rays", flags, n), _met(flags / n <= FALSE_ALARMS)]]
    return rows + [[*_cells(f"of them, {name}", flagged[name], n), ""] for name, n in total.most_common()]


def kind_rows(model: Bundle, items: list[Item]) -> list[list[str]]:
    """A row for each kind of image that is no chest X-ray."""
    total: Counter[str] = Counter()
    flagged: Counter[str] = Counter()
    for kind, _, pixels in not_chest_xrays.every([item.path for item in items]):
        total[kind] += 1
        flagged[kind] += not model.predict(pixels).in_distribution
    return [[*_cells(kind, flagged[kind], n), _met(flagged[kind] / n >= CAUGHT)] for kind, n in total.items()]


def _cells(name: str, flagged: int, n: int) -> list[str]:
    return [name, str(n), *tables.percent(wilson(flagged, n))]


def _met(goal: bool) -> str:
    return "met" if goal else "missed"


if __name__ == "__main__":
    measure.run(main)
