"""What a person waits for in a real browser: the first page, and from the click on a sample to its heatmap.

Cold is a server that was just started and a browser that has nothing of it; warm the same server, asked again by a
new browser window. A heatmap counts as visible when the viewer has drawn it.
"""

import shutil
import time
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import NamedTuple

from playwright.sync_api import Browser, sync_playwright

from benchmarks import measure, web
from covid_cnn.common.errors import CovidCnnError

PATIENCE = 300_000  # milliseconds
# The viewer's canvas has colours: the heatmap is drawn over the X-ray.
DRAWN = """canvas => {
    const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    for (let i = 0; i < pixels.length; i += 4) if (Math.abs(pixels[i] - pixels[i + 2]) > 8) return true;
    return false;
}"""


class Sight(NamedTuple):
    """Seconds to the first page, seconds from the click to the heatmap, and the web process's memory after it."""

    page: float
    heatmap: float
    memory_mb: float


def main(rounds: int = 3, against: Path | None = None) -> None:
    """Measure with Chromium, a new server each round; ``--against`` another checkout, in turn, as ratios to it."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise CovidCnnError("There is no chromium: install it first.")
    roots = {"this": web.ROOT} | ({"other": against.resolve()} if against else {})
    sights: dict[tuple[str, str], list[Sight]] = defaultdict(list)
    with sync_playwright() as playwright:
        for _ in range(rounds):
            for name, root in roots.items():
                browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
                with web.app(root=root) as app:
                    for state in ("cold", "warm"):
                        sights[state, name].append(look(browser, app))
                browser.close()
    print(f"First sight, median of {rounds} rounds")
    for state in ("cold", "warm"):
        mine = sights[state, "this"]
        page, heatmap, memory = (median(column) for column in zip(*mine, strict=True))
        print(
            f"  {state}: first page {page:.2f} s, sample click to heatmap {heatmap:.2f} s, web process {memory:.0f} MB"
        )
        if against:
            pairs = zip(zip(*mine, strict=True), zip(*sights[state, "other"], strict=True), strict=True)
            ratios = [median(one / other for one, other in zip(*columns, strict=True)) for columns in pairs]
            print("    times the other's, median of the rounds: " + ", ".join(f"{ratio:.2f}" for ratio in ratios))


def look(browser: Browser, app: web.App) -> Sight:
    """Visit the start page in a new window, and click on the first sample."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    began = time.perf_counter()
    page.goto(app.address)
    page.get_by_role("button", name="Ask the model").first.wait_for()
    page.get_by_test_id("stImage").locator("img").first.wait_for()
    visible = time.perf_counter()
    page.get_by_role("button", name="Ask the model").first.click()
    page.get_by_role("heading", name="Predict", level=1).wait_for()
    canvas = page.locator(".viewer figure canvas").first
    canvas.wait_for()
    page.wait_for_function(DRAWN, arg=canvas.element_handle())
    done = time.perf_counter()
    context.close()
    return Sight(visible - began, done - visible, app.memory_mb())


if __name__ == "__main__":
    measure.run(main)
