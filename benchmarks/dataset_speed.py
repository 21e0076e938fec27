"""How long the Dataset page waits: the first page of thumbnails, and the audit, as datasets grow; and their memory.

    python -m benchmarks.dataset_speed [--counts 200 --counts 10000] [--drawn FOLDER]

The page is measured twice: as work of Python alone, and in Chromium, from the address to the last of its thumbnails
being painted. There, cold is a server that was just started, and warm the same server and a new browser window.

Images are drawn, a few dozen of them, and each file is one of these with shades of its own over it, so that no two look
the same. Cold means that nothing was worked out of them before; the files themselves are in the system's memory.
"""

import math
import shutil
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from playwright.sync_api import Browser, sync_playwright

from benchmarks import measure, web

PAGE, DRAWN, SIDE = 24, 24, 256
PAINTED = """count => {
    const pictures = [...document.querySelectorAll('[data-testid=stImage] img')];
    return pictures.length >= count && pictures.every(picture => picture.complete && picture.naturalWidth);
}"""
SCRIPT = """
import sys, time
from covid_cnn.data import audit, dataset, index
began = time.perf_counter()
opened = dataset.open_dataset(sys.argv[1])
indexed = time.perf_counter()
if sys.argv[2] == "page":
    index.load_thumbnails([item.path for item in opened.items[:{page}]])
else:
    audit.audit_dataset(opened)
times = indexed - began, time.perf_counter() - indexed, time.process_time()
print(*times, file=open(sys.argv[3], "w"))
"""


def main(
    counts: Annotated[list[int], typer.Option(help="Images of a dataset; given again for another, a larger one.")] = [  # noqa: B006
        200,
        1000,
        3000,
        10_000,
    ],
    drawn: Annotated[Path | None, typer.Option(help="Keep the drawn images here, and find them again.")] = None,
) -> None:
    """Measure datasets of so many images."""
    with tempfile.TemporaryDirectory() as temporary:
        taken = {}
        seen: list[tuple[int, Path]] = []
        for count in counts:
            folder = (drawn or Path(temporary)) / f"of_{count}"
            if not folder.is_dir():
                _write(folder, count)
            seen.append((count, folder))
            print(f"{count} images, {SIDE} px")
            for what, state in (("page", "cold"), ("page", "warm"), ("audit", "cold")):
                home = Path(temporary) / f"home_{count}_{what}"
                index, seconds, work, peak = _run(folder, what, home)
                taken[count, what, state] = work, peak
                times = f"index {index:.2f} s, then {seconds:.2f} s; processor {work:.2f} s"
                print(f"  {what}, {state}: {times}; peak {peak:.0f} MB", flush=True)
        _in_chromium(seen, Path(temporary))
        for one, other in pairwise(counts):
            (before, small), (after, large) = taken[one, "audit", "cold"], taken[other, "audit", "cold"]
            power = math.log(after / before) / math.log(other / one)
            print(
                f"from {one} to {other} images the audit's processor time grows with their number to the power "
                f"{power:.2f},"
            )
            print(
                f"  and its peak memory {large / small:.2f} times, {1000 * (large - small) / (other - one):.1f} kB each"
            )
        base = next((count for count in counts if count >= 1000), counts[0])
        if counts[-1] > base:
            ratio = taken[counts[-1], "audit", "cold"][1] / taken[base, "audit", "cold"][1]
            measure.verdict(
                f"peak memory of the audit, {counts[-1]} images against {base}", ratio, 1.25, at_least=False
            )
            ratio = taken[counts[-1], "page", "cold"][1] / taken[base, "page", "cold"][1]
            measure.verdict(f"peak memory of a page, {counts[-1]} images against {base}", ratio, 1.25, at_least=False)


def _in_chromium(folders: list[tuple[int, Path]], temporary: Path) -> None:
    """Print how long the Dataset page's first thumbnails take to be seen in a browser."""
    chromium = shutil.which("chromium")
    if chromium is None:
        print("There is no chromium: what a browser shows was not measured.")
        return
    with sync_playwright() as playwright:
        for count, folder in folders:
            home = temporary / f"browser_{count}"
            (home / "data").mkdir(parents=True)
            (home / "data" / folder.name).symlink_to(folder.absolute())
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            with web.app(home) as app:
                for state in ("cold", "warm"):
                    seconds = _visible(browser, app, min(PAGE, count))
                    print(f"{count} images, thumbnails visible in Chromium, {state}: {seconds:.2f} s", flush=True)
            browser.close()


def _visible(browser: Browser, app: web.App, thumbnails: int) -> float:
    """Seconds from the address of the Dataset page, in a new window, to so many painted thumbnails."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(1000 * web.PATIENCE)
    began = time.perf_counter()
    page.goto(f"{app.address}/dataset")
    page.wait_for_function(PAINTED, arg=thumbnails)
    seconds = time.perf_counter() - began
    context.close()
    return seconds


def _write(folder: Path, count: int) -> None:
    from PIL import Image

    from covid_cnn.data import synthetic

    drawn = [synthetic.draw_radiograph(n, n % 2 == 1, SIDE) for n in range(DRAWN)]
    for label in synthetic.CLASSES:
        (folder / label).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for n in range(count):
        shades = Image.fromarray(rng.uniform(size=(32, 32)).astype(np.float32))
        shade = np.asarray(shades.resize((SIDE, SIDE), Image.Resampling.BICUBIC)).clip(0, 1)
        pixels = (drawn[n % DRAWN] + shade) / 2
        synthetic.write_png(folder / synthetic.CLASSES[n % 2] / f"{n:06}.png", pixels)


def _run(folder: Path, what: str, home: Path) -> tuple[float, float, float, float]:
    """Seconds to index the dataset and to do the work, of processor time, and the peak MB, of a fresh process."""
    home.mkdir(exist_ok=True)
    told = home / "told"
    used = measure.process("-c", SCRIPT.format(page=PAGE), str(folder), what, str(told), home=home)
    index, seconds, work = map(float, told.read_text().split())
    return index, seconds, work, used.peak_mb


if __name__ == "__main__":
    measure.run(main)
