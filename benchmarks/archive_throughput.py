"""Images a second of the engine ray on this machine, with one worker and with two, against the engine local.

Ray takes seconds to start, which an archive does not feel and a benchmark does: each engine answers few images and
many, and the rate is that of the images between.
"""

import tempfile
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks import measure
from benchmarks.batch_throughput import draw
from covid_cnn.images import sources
from covid_cnn.models import batch, bundle, cluster
from covid_cnn.models.bundle import DEFAULT_MODEL, Bundle


def main(
    model: str = DEFAULT_MODEL, size: int = 1024, few: int = 64, many: int = 1024, block: int = 32, rounds: int = 3
) -> None:
    """Measure a folder of drawn radiographs, `size` px a side."""
    loaded = bundle.load_bundle(model)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        draw(folder, size, few, many)
        began = time.perf_counter()
        with cluster.connect(None):
            print(f"  Ray starts in {time.perf_counter() - began:.1f} s")
            engines = {
                "local, one thread": partial(here, loaded, 1),
                "ray, one worker": partial(there, loaded, 1, block),
                "local, a thread a core": partial(here, loaded, None),
                "ray, two workers": partial(there, loaded, 2, block),
            }
            rivals = {title: partial(rate, engine, folder, few, many) for title, engine in engines.items()}
            rates = measure.rounds(rivals, rounds)
    print(f"{many - few} JPEG files of {size} px, {model}, blocks of {block}, median of {rounds} rounds")
    for title, values in rates.items():
        print(f"  {title:25} {median(values):7.1f} images a second")
    one, two = rates["ray, one worker"], rates["ray, two workers"]
    print(f"  one worker against one thread: {measure.ratio(one, rates['local, one thread']):.3g}")
    print(f"  two workers against all threads: {measure.ratio(two, rates['local, a thread a core']):.3g}")
    print(f"  two workers against one: {measure.ratio(two, one):.3g}")


def rate(engine: Callable[[Path], None], folder: Path, few: int, many: int) -> float:
    """Images a second, without what an engine takes to begin."""
    seconds = [measure.timed(partial(engine, folder / str(count)))() for count in (few, many)]
    return (many - few) / (seconds[1] - seconds[0])


def here(model: Bundle, ahead: int | None, folder: Path) -> None:
    """The engine local over a folder."""
    deque(batch.predict_rows(model, sources.select([folder], _none).images, ahead=ahead), maxlen=0)


def there(model: Bundle, workers: int, block: int, folder: Path) -> None:
    """The engine ray over a folder, blocks written."""
    images = sources.select([folder], _none).images
    with tempfile.TemporaryDirectory() as parts:
        deque(cluster.answer_blocks(model, cluster.plan_blocks(model, images, Path(parts), block), workers), maxlen=0)


def _none(archive: sources.Archive) -> sources.Archive:
    return archive


if __name__ == "__main__":
    measure.run(main)
