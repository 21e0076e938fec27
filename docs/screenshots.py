"""Take the README's screenshots: make screenshots. Needs chromium, takes some minutes.

The app runs on a home folder of its own, so that only drawn images and the real films among the samples can appear.
"""

import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, ViewportSize, expect, sync_playwright

from benchmarks import web
from covid_cnn.app.tour.slides import OLDER
from covid_cnn.data import synthetic
from covid_cnn.data.samples import FILM_KEYS
from covid_cnn.models import bundle

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
SIZE = ViewportSize(width=1280, height=720)  # a projector's
PATIENCE = 120_000  # milliseconds
RUN = "first_try"
SLIDE = 1  # of the tour, that is shown
MOST_BYTES = 400_000

expect.set_options(timeout=PATIENCE)


def main() -> None:
    """Fill a home folder, and take one picture of each page."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for name in (bundle.DEFAULT_MODEL, *OLDER):  # of which the tour tells
            shutil.copytree(ROOT / "models" / name, home / "models" / name)
        synthetic.write_dataset(home / "data" / "synthetic")
        environment = os.environ | {"COVID_CNN_HOME": str(home)}
        train = ["train", "--data", "synthetic", "--network", "efficientnet_lite0", "--epochs", "8", "--name", RUN]
        subprocess.run([sys.executable, "-m", "covid_cnn", *train], cwd=ROOT, env=environment, check=True)
        with web.app(home) as app, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport=SIZE)
            page.set_default_timeout(PATIENCE)
            _take(page, app.address)
            browser.close()


def _take(page: Page, address: str) -> None:
    page.goto(address)
    _keep(page, "start", pictures=len(FILM_KEYS))
    frames = [(page.screenshot(), 1500)]
    page.get_by_role("button", name="Ask the model").first.click()
    expect(page.locator(".viewer.ready")).to_be_visible()
    _keep(page, "predict")
    frames.append((page.screenshot(), 3000))
    page.get_by_role("button", name="What if?").first.click()
    for change in ("Stamp an R", "Hide the lungs"):
        page.get_by_test_id("stButtonGroup").get_by_text(change, exact=True).click()
        expect(page.get_by_test_id("stImage").get_by_alt_text(re.compile(change))).to_be_visible()
        _settle(page)
        frames.append((page.screenshot(), 2500))
    _keep_moving(frames)
    page.goto(f"{address}/train?run={RUN}")
    expect(page.get_by_role("button", name="Try it")).to_be_visible()
    _keep(page, "train", charts=2)
    page.goto(f"{address}/dataset")
    expect(page.get_by_text("Page 1 of")).to_be_visible()
    _keep(page, "dataset", pictures=24)
    page.goto(f"{address}/tour")
    for _ in range(SLIDE):
        page.get_by_role("button", name="Next").click()
    _keep(page, "tour")


def _keep_moving(frames: list[tuple[bytes, int]]) -> None:
    """Write ``docs/prediction.webp``: screenshots, each for so many milliseconds."""
    pictures = [Image.open(io.BytesIO(png)).convert("RGB") for png, _ in frames]
    path = DOCS / "prediction.webp"
    durations = [duration for _, duration in frames]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=durations, loop=0, quality=80, method=6)
    print(f"{path.name}: {path.stat().st_size // 1000} kB")


def _keep(page: Page, name: str, pictures: int = 0, charts: int = 0) -> None:
    """Write ``docs/NAME.png`` once at least so many pictures and charts are drawn."""
    images = page.get_by_test_id("stImage").locator("img")
    for n in range(pictures):
        expect(images.nth(n)).not_to_have_js_property("naturalWidth", 0)
    for n in range(charts):
        expect(page.get_by_test_id("stVegaLiteChart").nth(n).locator("canvas, svg").first).to_be_visible()
    _settle(page)
    png = page.screenshot(animations="disabled")
    if len(png) > MOST_BYTES:
        file = io.BytesIO()
        Image.open(io.BytesIO(png)).convert("RGB").quantize(256).save(file, "PNG", optimize=True)
        png = file.getvalue()
    (DOCS / f"{name}.png").write_bytes(png)
    print(f"docs/{name}.png: {len(png) // 1000} kB")


def _settle(page: Page) -> None:
    expect(page.locator("[data-test-script-state=notRunning]")).to_be_visible()
    expect(page.get_by_test_id("stException")).to_have_count(0)
    page.mouse.move(0, 0)  # where nothing answers to it
    page.wait_for_timeout(500)  # for what fades in


if __name__ == "__main__":
    main()
