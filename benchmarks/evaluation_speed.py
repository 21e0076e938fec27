"""Images a second of an evaluation, from files to answers, and its memory on few images and on many.

Held against the network alone on images that are ready.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks import measure
from covid_cnn.common import paths
from covid_cnn.common.jobs import map_ahead
from covid_cnn.common.storage import Cache
from covid_cnn.data import synthetic
from covid_cnn.data.dataset import Dataset, Item, open_dataset
from covid_cnn.evaluation import predictions
from covid_cnn.images import ops, reader
from covid_cnn.models import bundle
from covid_cnn.models.bundle import Bundle

EACH = 32  # drawn images of each class


def main(
    data: str | None = None, model: str = bundle.DEFAULT_MODEL, rounds: int = 5, few: int = 100, many: int = 1000
) -> None:
    """Measure on DATA (all its images), or on radiographs drawn for this; memory with MODEL on links to these."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        dataset = open_dataset(data or synthetic.write_dataset(root / "drawn", counts={"test": EACH}))
        # Whole processes first: what this one holds would count into the peaks that it measures.
        peaks = {count: peak(dataset, root / str(count), count, model) for count in (few, many)}
        for count, usage in peaks.items():
            print(f"  {count:6} images by the command line: {usage.peak_mb:6.1f} MB at most, {usage.seconds:.1f} s")
        memory = peaks[many].peak_mb / peaks[few].peak_mb
        measure.verdict(f"memory of {many} images, against {few}", memory, 1.1, at_least=False)
        speed(dataset, model, rounds, Cache(root / "kept.sqlite"))


def peak(dataset: Dataset, folder: Path, count: int, model: str) -> measure.Usage:
    """An evaluation of so many images by the command line, in a home of its own, so that no answer is kept yet."""
    for n in range(count):
        item = dataset.items[n % len(dataset.items)]
        copy = folder / "data" / "many" / "test" / item.label / f"{n:06}{item.path.suffix}"
        copy.parent.mkdir(parents=True, exist_ok=True)
        # Other bytes after the image, or all copies of one would share its answer.
        copy.write_bytes(item.path.read_bytes() + str(n).encode())
    (folder / "models").symlink_to(paths.models_dir())
    question = ("--question", "ill", "--json")
    return measure.process("-m", "covid_cnn", "evaluate", "--data", "many", "--model", model, *question, home=folder)


def speed(dataset: Dataset, model: str, rounds: int, store: Cache) -> None:
    """Print how fast an evaluation is against the network alone."""
    loaded, images = bundle.load_bundle(model), list(dataset.items)
    predictions.predict_dataset(loaded, images, store)
    rivals = {
        "network alone": alone(loaded, images),
        "evaluation": measure.timed(lambda: predictions.predict_dataset(loaded, images)),
        "evaluation, answers kept": measure.timed(lambda: predictions.predict_dataset(loaded, images, store)),
    }
    seconds = measure.rounds(rivals, rounds)
    print(f"Evaluation of {model} on {len(images)} images of {dataset.name}, median of {rounds} rounds")
    for title, values in seconds.items():
        print(f"  {title:26} {len(images) / median(values):9.1f} images a second")
    share = measure.ratio(seconds["network alone"], seconds["evaluation"])
    print(f"  An evaluation goes at {share:.2f} of the speed of the network alone.")
    gain = measure.ratio(seconds["evaluation"], seconds["evaluation, answers kept"])
    print(f"  With the answers kept it is {gain:.1f} times as fast.")


def alone(model: Bundle, images: list[Item]) -> Callable[[], float]:
    """The network on images that are decoded and resized before the clock starts, with a thread a core."""
    ready = [ops.prepare(reader.read(item.path).pixels, model.input_size)[..., 0] for item in images]

    def measured() -> float:
        began = time.perf_counter()
        for _ in map_ahead(ready, lambda pixels: model.predict(pixels, crowd=True)):
            pass
        return time.perf_counter() - began

    return measured


if __name__ == "__main__":
    measure.run(main)
