"""How long the Dataset page waits: the first page of thumbnails, and the audit, as datasets grow; and their memory.

    python -m benchmarks.dataset_speed [--small 200] [--large 10000]

Images are drawn, a few dozen of them, and written again and again with other noise, so that every file is another.
Cold means that nothing was worked out of them before; the files themselves are in the system's memory.
"""

import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks import measure

PAGE, DRAWN, SIDE = 24, 24, 512
SCRIPT = """
import sys, time
from covid_cnn import audit, datasets, looks
began = time.perf_counter()
dataset = datasets.open(sys.argv[1])
indexed = time.perf_counter()
if sys.argv[2] == "page":
    looks.thumbnails([item.path for item in dataset.items[:{page}]])
else:
    audit.audit(dataset)
print(indexed - began, time.perf_counter() - indexed, file=open(sys.argv[3], "w"))
"""


def main(
    small: Annotated[int, typer.Option(help="Images of the smaller dataset.")] = 200,
    large: Annotated[int, typer.Option(help="Images of the larger one.")] = 10_000,
) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        times = {}
        for count in (small, large):
            folder = Path(temporary) / f"of_{count}"
            _write(folder, count)
            print(f"{count} images, {SIDE} px")
            for what in ("page", "audit"):
                for state in ("cold", "warm"):
                    home = Path(temporary) / f"home_{count}_{what}"
                    index, seconds, peak = _run(folder, what, home)
                    times[count, what, state] = index + seconds, peak
                    print(
                        f"  {what}, {state}: index {index:.2f} s, then {seconds:.2f} s; peak {peak:.0f} MB", flush=True
                    )
        grown = times[large, "audit", "cold"][0] / times[small, "audit", "cold"][0]
        more = times[large, "audit", "cold"][1] - times[small, "audit", "cold"][1]
        print(f"  the audit of {large / small:.0f} times the images takes {grown:.1f} times as long")
        print(f"  and {1000 * more / (large - small):.1f} kB of memory an image more")


def _write(folder: Path, count: int) -> None:
    from covid_cnn import synthetic

    drawn = [synthetic.draw(n, n % 2 == 1, SIDE) for n in range(DRAWN)]
    for label in synthetic.CLASSES:
        (folder / label).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for n in range(count):
        pixels = np.roll(drawn[n % DRAWN], rng.integers(-20, 20, 2), (0, 1)).copy()
        pixels[rng.integers(SIDE), rng.integers(SIDE)] = rng.uniform()
        synthetic.write_png(folder / synthetic.CLASSES[n % 2] / f"{n:06}.png", pixels)


def _run(folder: Path, what: str, home: Path) -> tuple[float, float, float]:
    """Seconds to index the dataset and to do the work, and the peak memory in MB, of a fresh process."""
    home.mkdir(exist_ok=True)
    told = home / "told"
    used = measure.process("-c", SCRIPT.format(page=PAGE), str(folder), what, str(told), home=home)
    index, seconds = map(float, told.read_text().split())
    return index, seconds, used.peak_mb


if __name__ == "__main__":
    measure.run(main)
