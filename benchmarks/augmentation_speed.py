"""How many images a second each augmentation varies, on one core; beside another checkout of this repository, if named.

The images are drawn ones of 224 pixels a side.
"""

import subprocess
import sys
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from benchmarks import measure, tables

IMAGES = 24
TIMED = """
import sys, time
import numpy as np
from covid_cnn.data import synthetic
from covid_cnn.images.augment import AUGMENTATIONS, augment_batch
images = np.stack([synthetic.draw_radiograph(seed, seed % 2 == 0, 224) for seed in range(int(sys.argv[1]))])[..., None]
for name, augmentation in AUGMENTATIONS.items():
    for epoch in range(2):  # the first loads what is loaded when first needed
        began = time.perf_counter()
        augment_batch(images, np.arange(len(images)), augmentation, 0, epoch, images)
    print(name, len(images) / (time.perf_counter() - began))
"""


def main(
    against: Annotated[Path | None, typer.Option(help="The folder of another checkout, to compare with.")] = None,
    rounds: Annotated[int, typer.Option(help="How often each is measured, in turns.")] = 5,
) -> None:
    """Print the table."""
    folders = {"here": Path.cwd()} | ({"there": against} if against else {})
    times = measure.rounds({name: partial(_rates, folder) for name, folder in folders.items()}, rounds)
    rows = []
    for name in times["here"][0]:
        mine = [one[name] for one in times["here"]]
        row = [name, f"{median(mine):.0f}"]
        if against:
            row.append(f"{measure.ratio(mine, [one[name] for one in times['there']]):.2f}")
        rows.append(row)
    columns = ["Augmentation", "Images a second", *(["Ratio to the other checkout"] if against else [])]
    print(tables.markdown(tables.finding("Augmentation", "", columns, rows)))


def _rates(folder: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", TIMED, str(IMAGES)], cwd=folder, capture_output=True, text=True, check=True
    )
    return {name: float(rate) for name, rate in map(str.split, done.stdout.splitlines())}


if __name__ == "__main__":
    measure.run(main)
