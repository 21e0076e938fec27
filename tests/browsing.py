"""What the tests in a real browser share: the running app, its pages, and how a person goes from one to another."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
from playwright.sync_api import Locator, Page, expect

from benchmarks import web

ROOT = Path(__file__).parents[1]
# The address of each page and its title.
PAGES = {
    "": "Covid CNN",
    "predict": "Predict",
    "train": "Train",
    "dataset": "Dataset",
    "evaluate": "Evaluate",
    "tour": "Why 100 % is not 100 %",
}
PATIENCE = 60_000  # milliseconds; a busy machine is no failure
TRAINING = 240_000  # from the click until the end of the run; TensorFlow alone takes long to start
MOST_WORDS = 120  # on the first screen of a page
# The words within the first screen, in shadow roots as well; without icons, which are letters of a font, and without
# what is there for listeners alone.
WORDS = """() => {
  const words = [];
  const visit = (root) => {
    const nodes = document.createTreeWalker(root, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
    for (let node; (node = nodes.nextNode()); ) {
      if (node.shadowRoot) visit(node.shadowRoot);
      const parent = node.parentElement;
      if (node.nodeType !== Node.TEXT_NODE || !node.textContent.trim() || !parent) continue;
      if (["STYLE", "SCRIPT", "OPTION", "NOSCRIPT"].includes(parent.tagName)) continue;
      if (parent.closest(".icon, [data-testid=stIconMaterial], .st-key-heading")) continue;
      if (getComputedStyle(parent).fontFamily.includes("Material")) continue;
      if (node.textContent.trim() === "Skip to main content") continue;  // it is shown when a key reaches it
      const range = document.createRange();
      range.selectNodeContents(node);
      const { left, right, top, bottom, width, height } = range.getBoundingClientRect();
      const outside = bottom <= 0 || top >= innerHeight || right <= 0 || left >= innerWidth;
      const seen = parent.checkVisibility({ opacityProperty: true, visibilityProperty: true });
      if (!seen || outside || width < 2 || height < 2) continue;
      words.push(...node.textContent.trim().split(/\\s+/));
    }
  };
  visit(document.body);
  return words;
}"""

expect.set_options(timeout=PATIENCE)


class App(NamedTuple):
    """The running app."""

    address: str
    home: Path
    process: psutil.Process


@contextmanager
def served(script: str | Path, home: Path, **environment: str) -> Iterator[App]:
    """A script of Streamlit's, served from the project's folder; what the server says is in ``home/server.log``."""
    with web.app(home, script=script, log=home / "server.log", **environment) as app:
        yield App(app.address, home, app.process)


def visit(page: Page, app: App, name: str) -> None:
    page.goto(f"{app.address}/{name}")
    settled(page, name)


def settled(page: Page, name: str) -> None:
    """Wait until a page of the app is drawn."""
    expect(page.get_by_role("heading", level=1)).to_have_text(PAGES[name])
    expect(page.locator("[data-test-script-state=notRunning]")).to_be_visible()
    expect(page.get_by_test_id("stException")).to_have_count(0)


def press(page: Page | Locator, label: str) -> None:
    page.get_by_role("button", name=label).first.click()


def expect_pictures(pictures: Locator, count: int) -> None:
    """Wait until ``count`` pictures are there and loaded."""
    expect(pictures).to_have_count(count)
    for n in range(count):
        expect(pictures.nth(n)).not_to_have_js_property("naturalWidth", 0)
        expect(pictures.nth(n)).to_have_js_property("complete", True)
