"""Images a second from JPEG files to CSV, against decoding alone and inference alone; memory of few and many files.

All use every core, a thread each. Decoding and inference both need the cores, so that together they take at best the
sum of what each takes alone; the goal is held against the slower one alone.
"""

import csv
import io
import multiprocessing
import tempfile
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks import measure
from covid_cnn.common import paths
from covid_cnn.common.errors import CovidCnnError
from covid_cnn.common.jobs import map_ahead
from covid_cnn.images import reader
from covid_cnn.models import batch, bundle
from covid_cnn.models.bundle import DEFAULT_MODEL, Bundle

DRAWN = 25


def main(model: str = DEFAULT_MODEL, size: int = 1024, few: int = 100, many: int = 10_000, rounds: int = 5) -> None:
    """Measure a folder of drawn radiographs, `size` px a side."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # In another process: what this one holds would count into the peaks that it measures.
        maker = multiprocessing.get_context("spawn").Process(target=draw, args=(folder, size, few, many))
        maker.start()
        maker.join()
        peaks = {count: peak(folder, count, model) for count in (few, many)}
        for count, usage in peaks.items():
            print(f"  {count:6} files by the command line: {usage.peak_mb:6.1f} MB at most, {usage.seconds:.1f} s")
        memory = peaks[many].peak_mb / peaks[few].peak_mb
        measure.verdict(f"memory of {many} files, against {few}", memory, 1.1, at_least=False)
        loaded = bundle.load_bundle(model)
        actions = ways(loaded, folder / str(few))
        rivals = {title: measure.timed(action) for title, action in actions.items()}
        measure.rounds(rivals, 1)
        work = {title: processor_seconds(action) for title, action in actions.items()}
        seconds = measure.rounds(rivals, rounds)
    print(f"{few} JPEG files of {size} px, {model}, median of {rounds} rounds")
    for title, values in seconds.items():
        spent = 1000 * work[title] / few
        print(f"  {title:25} {few / median(values):7.1f} images a second, {spent:5.1f} ms of processor time an image")
    slower = [max(pair) for pair in zip(seconds["decoding alone"], seconds["inference alone"], strict=True)]
    both = [sum(pair) for pair in zip(seconds["decoding alone"], seconds["inference alone"], strict=True)]
    measure.verdict("part of the slower one's limit", measure.ratio(slower, seconds["files to CSV"]), 0.85)
    print(f"  part of both in turn: {measure.ratio(both, seconds['files to CSV']):.3g}")
    faster = measure.ratio(seconds["one image at a time"], seconds["files to CSV"])
    print(f"  times as fast as one image at a time: {faster:.3g}")


def processor_seconds(action: Callable[[], object]) -> float:
    """What an action takes of all cores together, which a busy machine changes little."""
    began = time.process_time()
    action()
    return time.process_time() - began


def draw(folder: Path, size: int, *counts: int) -> None:
    """A folder of so many links to a few drawn radiographs, for each count."""
    import numpy as np
    from PIL import Image

    from covid_cnn.data import synthetic

    drawn = folder / "drawn"
    drawn.mkdir()
    for seed in range(DRAWN):
        pixels = np.uint8(synthetic.draw_radiograph(seed, opacities=bool(seed % 2), size=size) * 255)
        Image.fromarray(pixels).save(drawn / f"{seed}.jpg", quality=90)
    for count in counts:
        (folder / str(count)).mkdir()
        for n in range(count):
            (folder / str(count) / f"{n:06}.jpg").symlink_to(drawn / f"{n % DRAWN}.jpg")


def peak(folder: Path, count: int, model: str) -> measure.Usage:
    """The command line over so many files, held to have written a row for each."""
    table = folder / f"{count}.csv"
    command = ("-m", "covid_cnn", "predict", str(folder / str(count)), "--csv", str(table), "--model", model)
    usage = measure.process(*command, home=paths.models_dir().parent)
    with table.open(newline="", encoding="utf-8") as opened:
        rows = sum(not row["error"] for row in csv.DictReader(opened))
    if rows != count:
        raise CovidCnnError(f"{count} files gave {rows} answers.")
    return usage


def ways(model: Bundle, folder: Path) -> dict[str, Callable[[], object]]:
    """The parts alone, and the whole in two ways."""
    files = sorted(folder.iterdir())
    pixels = [reader.read(file).pixels for file in files[:DRAWN]]
    again = [pixels[n % DRAWN] for n in range(len(files))]

    def to_csv() -> None:
        answers = batch.predict_images(model, files, lambda *answer: batch.to_row(model, "", answer), reader.read)
        rows = (
            batch.to_row(model, "", a) if isinstance(a, CovidCnnError) else a | {"path": str(f)} for f, a in answers
        )
        batch.write_csv(io.StringIO(), model, rows)

    def one_at_a_time() -> None:
        for file in files:
            model.predict(reader.read(file).pixels)

    return {
        "decoding alone": lambda: deque(map_ahead(files, reader.read), maxlen=0),
        "inference alone": lambda: deque(map_ahead(again, partial(model.predict, crowd=True)), maxlen=0),
        "files to CSV": to_csv,
        "one image at a time": one_at_a_time,
    }


if __name__ == "__main__":
    measure.run(main)
