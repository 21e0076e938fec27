"""Images a second of an evaluation, from files to answers, against the network alone on images that are ready."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from benchmarks import measure
from covid_cnn import assessment, bundle, datasets, imaging, synthetic
from covid_cnn.bundle import Bundle
from covid_cnn.datasets import Item
from covid_cnn.reading import ahead
from covid_cnn.store import Store

EACH = 32  # drawn images of each class


def main(data: str | None = None, model: str = bundle.DEFAULT, rounds: int = 5) -> None:
    """Measure on DATA (all its images), or on radiographs drawn for this."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        dataset = datasets.open(data or synthetic.write_dataset(root / "drawn", counts={"test": EACH}))
        loaded = bundle.load(model)
        images, store = list(dataset.items), Store(root / "kept.sqlite")
        assessment.ask_all(loaded, images, store)
        rivals = {
            "network alone": alone(loaded, images),
            "evaluation": measure.timed(lambda: assessment.ask_all(loaded, images)),
            "evaluation, answers kept": measure.timed(lambda: assessment.ask_all(loaded, images, store)),
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
    ready = [imaging.prepare(imaging.read(item.path).pixels, model.input_size)[..., 0] for item in images]

    def measured() -> float:
        began = time.perf_counter()
        for _ in ahead(ready, lambda pixels: model.predict(pixels, crowd=True)):
            pass
        return time.perf_counter() - began

    return measured


if __name__ == "__main__":
    measure.run(main)
