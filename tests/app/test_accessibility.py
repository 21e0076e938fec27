"""Every page for everyone: axe-core's findings, the order in which the Tab key goes, and what the console says.

A page is looked at as it opens and with what it hides opened, light and dark, wide and on a phone.
"""

import json
import re
import time
from collections.abc import Callable

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import MOST_WORDS, PAGES, WORDS, App, press, settled, visit
from playwright.sync_api import Locator, Page, expect

from covid_cnn.data import synthetic
from covid_cnn.runs import pictures
from covid_cnn.runs.config import TrainConfig
from covid_cnn.runs.run import create_run

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

RUN, MODEL = "ended", "efficientnet_lite0"
SIZES = {"wide": {"width": 1280, "height": 720}, "phone": {"width": 390, "height": 844}}
# What the Tab key can come to, in shadow roots as well.
FOCUSED = """() => {
  let element = document.activeElement;
  while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
  if (!element || element === document.body) return null;
  element.dataset.met ??= String(Math.random());
  const { left, right, top, bottom } = element.getBoundingClientRect();
  const named = element.closest("[aria-label]")?.ariaLabel || element.labels?.[0]?.innerText;
  const name = named || element.innerText || element.title || "";
  return { id: element.dataset.met, left, right, top: top + scroll(), bottom: bottom + scroll(),
           name: name.trim(), html: element.outerHTML.slice(0, 160), main: Boolean(inMain(element)) };
  function inMain(one) {
    for (; one; one = one.getRootNode().host) if (one.closest("[data-testid=stMain]")) return true;
  }
  function scroll() { return document.querySelector("[data-testid=stMain]").scrollTop; }
}"""
BUTTONS = """() => [...document.querySelectorAll("[data-testid=stMain] button")].filter((one) =>
  !one.disabled && one.tabIndex >= 0 && one.checkVisibility({ visibilityProperty: true })
  && !one.closest("[role=radiogroup], [role=tablist], [data-testid=stButtonGroup], [data-testid=stElementToolbar]")
  && !one.dataset.met).map((one) => one.outerHTML.slice(0, 160))"""


@pytest.fixture(scope="module")
def furnished(app) -> App:
    """The app with two hospitals' images and a run that has ended."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COVID_CNN_HOME", str(app.home))
        synthetic.write_dataset(app.home / "data" / "drawn", counts={"train": 6, "val": 3, "test": 6}, size=128)
        patch.setattr(synthetic, "IMAGES_ELSEWHERE", 4)
        synthetic.draw_elsewhere(lambda part, line: None)
        run = create_run(TrainConfig.of("drawn", MODEL, epochs=1), RUN)
        images = np.stack([synthetic.draw_radiograph(seed, bool(seed % 2), 224) for seed in range(4)])
        for kind in ("augmented", "watched"):
            pictures.save_images(run.folder, kind, images, ["NORMAL", "PNEUMONIA"] * 2)
        run.append("read", classes=["NORMAL", "PNEUMONIA"], train=12, val=6)
        run.append("step", epoch=1, step=1, steps=1, loss=0.5, accuracy=0.5, learning_rate=0.1)
        scores = {"loss": 0.5, "accuracy": 0.5, "val_loss": 0.5, "val_accuracy": 0.5}
        run.append("epoch", epoch=1, step=1, seconds=1.0, best=1, **scores)
        look = pictures.AttentionPicture(np.full((4, 2), 0.5), np.full((4, 7, 7, 2), 0.5))
        pictures.save_attention(run.folder, 1, look)
        run.append("exported", model=MODEL, epoch=1)
    return app


def predict(page: Page, app: App) -> None:
    visit(page, app, "")
    press(page, "Ask the model")
    expect(page.locator(".viewer.ready")).to_be_visible()
    settled(page, "predict")


def predict_opened(page: Page, app: App) -> None:
    predict(page, app)
    press(page, "What if?")
    settled(page, "predict")
    page.get_by_test_id("stButtonGroup").get_by_text("Stamp an R").click()
    settled(page, "predict")
    press(page.locator(".viewer"), "Settings")
    page.get_by_text("The numbers", exact=True).click()


def popover(name: str) -> Callable[[Page, App], None]:
    def opened(page: Page, app: App) -> None:
        predict(page, app)
        press(page, name)
        expect(page.get_by_test_id("stPopoverBody")).to_be_visible()

    return opened


def train(page: Page, app: App) -> None:
    visit(page, app, "train")
    page.get_by_text("Settings", exact=True).click()
    expect(page.get_by_text("What the network gets to see")).to_be_visible()


def run(page: Page, app: App) -> None:
    page.goto(f"{app.address}/train?run={RUN}")
    settled(page, "train")
    for part in ("All figures", "What the network is shown", "Settings and downloads"):
        page.get_by_text(part, exact=True).click()


def ensure_result(page: Page, button: str, result: Locator) -> None:
    """Wait for the result of work, which this button starts where no test before has."""
    start = page.get_by_role("button", name=button)
    expect(start.or_(result).filter(visible=True).first).to_be_visible()
    if start.is_visible():
        start.click()
    expect(result).to_be_visible()


def chart_of_map(page: Page) -> Locator:
    return page.get_by_role("tabpanel", name="Map").locator(".plane canvas")


def dataset(tab: str) -> Callable[[Page, App], None]:
    def opened(page: Page, app: App) -> None:
        visit(page, app, "dataset")
        page.get_by_role("tab", name=tab).click()
        panel = page.get_by_role("tabpanel", name=tab)
        expect(panel).to_be_visible()
        if tab == "Overview":
            ensure_result(page, "Look at all images", panel.get_by_role("img", name="mean").first)
        if tab == "Map":
            ensure_result(page, "Draw the map", chart_of_map(page))
        settled(page, "dataset")

    return opened


def dialog(button: str) -> Callable[[Page, App], None]:
    def opened(page: Page, app: App) -> None:
        visit(page, app, "dataset")
        press(page, button)
        expect(page.get_by_role("dialog")).to_be_visible()
        settled(page, "dataset")

    return opened


def evaluate(section: str) -> Callable[[Page, App], None]:
    def opened(page: Page, app: App) -> None:
        visit(page, app, "evaluate")
        ensure_result(page, "Ask the model", page.get_by_role("tab", name="All figures"))
        page.get_by_role("tab", name=section).click()
        expect(page.get_by_role("tabpanel", name=section)).to_be_visible()
        settled(page, "evaluate")

    return opened


def home_and_away(page: Page, app: App) -> None:
    visit(page, app, "evaluate")
    page.get_by_role("tab", name="Home and away").click()
    ensure_result(page, "Ask all of these", page.get_by_role("tabpanel").get_by_test_id("stVegaLiteChart").first)
    expect(page.get_by_role("heading", name=re.compile("right.* right"))).to_have_count(3)  # of each model at both
    expect(page.get_by_role("progressbar")).to_have_count(0)
    settled(page, "evaluate")


def tour(slide: int) -> Callable[[Page, App], None]:
    def opened(page: Page, app: App) -> None:
        visit(page, app, "tour")
        expect(page.locator(".deck .slide").first).to_be_visible()
        count = page.locator(".deck .slide").count()
        for _ in range(slide % count):
            press(page.locator(".deck"), "Next")
        expect(page.locator(".deck .place")).to_have_text(f"{1 + slide % count} of {count}")

    return opened


VIEWS: dict[str, Callable[[Page, App], None]] = {
    "Start": lambda page, app: visit(page, app, ""),
    "Predict, empty": lambda page, app: visit(page, app, "predict"),
    "Predict": predict,
    "Predict, opened": predict_opened,
    "Predict, another model": popover("Another model"),
    "Train": train,
    "Train, a run": run,
    "Dataset": dataset("Images"),
    "Dataset, overview": dataset("Overview"),
    "Dataset, map": dataset("Map"),
    "Dataset, audit": dataset("Audit"),
    "Dataset, an image": dialog("View"),
    "Dataset, adding": dialog("Add a dataset"),
    "Evaluate": evaluate("All figures"),
    "Evaluate, errors": evaluate("Errors"),
    "Evaluate, subgroups": evaluate("Subgroups"),
    "Evaluate, home and away": home_and_away,
    "Tour": tour(0),
    "Tour, films": tour(1),
    "Tour, bars": tour(5),
    "Tour, guess": tour(-2),
    "Tour, ending": tour(-1),
}


@pytest.mark.parametrize("name", VIEWS)
def test_axe_finds_nothing_serious_and_the_console_says_nothing(page, furnished, name):
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "warning" else None)
    VIEWS[name](page, furnished)
    time.sleep(0.5)  # for what fades in: half transparent text has half the contrast
    wrong = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        expect(page.locator("html")).to_have_css("color-scheme", scheme)  # of dialogs as well
        for size, viewport in SIZES.items():
            page.set_viewport_size(viewport)
            page.wait_for_timeout(300)
            # Between light and dark nothing but colours changes.
            rules = {"runOnly": ["color-contrast"]} if scheme == "dark" else {}
            for finding in Axe().run(page, options=rules).response["violations"]:
                if finding["impact"] in ("serious", "critical") or finding["id"] == "heading-order":
                    nodes = [(node["target"], node["html"][:200]) for node in finding["nodes"]]
                    wrong.append((scheme, size, finding["id"], nodes[:5]))
    assert not wrong, json.dumps(wrong, indent=1)
    assert not said


@pytest.mark.parametrize("name", PAGES)
def test_the_tab_key_reaches_every_button_in_the_order_of_reading(page, furnished, name):
    page.set_viewport_size(SIZES["wide"])
    visit(page, furnished, name)
    page.wait_for_timeout(1000)  # some pages are drawn once more, and a new button is not the one that was met
    settled(page, name)
    met: list[dict] = []
    while len(met) < 300:
        page.keyboard.press("Tab")
        focused = page.evaluate(FOCUSED)
        if focused is None or any(focused["id"] == other["id"] for other in met):
            break
        met.append(focused)
    assert len(met) < 300
    assert not [one["html"] for one in met if not one["name"]]
    assert not page.evaluate(BUTTONS)
    inside = [one for one in met if one["main"]]
    for before, after in zip(inside, inside[1:], strict=False):
        above, left = after["bottom"] <= before["top"], after["left"] < before["left"]
        assert not (above and left), (before, after)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", PAGES)
def test_no_page_begins_with_more_words_than_a_glance_takes_in(page, furnished, name, size):
    page.set_viewport_size(SIZES[size])
    visit(page, furnished, name)
    words = page.evaluate(WORDS)
    assert 10 < len(words) <= (MOST_WORDS if name != "evaluate" else 160), " ".join(words)  # its threshold is explained


def test_a_lasso_on_the_map_filters_the_gallery(page, furnished):
    page.set_viewport_size(SIZES["wide"])
    dataset("Map")(page, furnished)
    chart = chart_of_map(page)
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    whole = int(page.locator(".st-key-dataset_named strong").first.inner_text())
    chart.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".plane output")).to_have_text(re.compile(r"\.png, (NORMAL|PNEUMONIA), "))

    def draw(*corners: tuple[float, float]) -> None:
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place, steps=4)
        page.mouse.up()

    draw((0.01, 0.01), (0.5, 0.01), (0.5, 0.99), (0.01, 0.99))  # the left half
    framed = page.get_by_text(re.compile(r"^\d+ images are framed:$"))
    expect(framed).to_be_visible()
    left = int(framed.inner_text().split()[0])
    assert 0 < left < whole
    page.keyboard.down("Shift")
    draw((0.5, 0.01), (0.99, 0.01), (0.99, 0.99), (0.5, 0.99))  # and the right one
    page.keyboard.up("Shift")
    expect(framed).not_to_have_text(re.compile(f"^{left} "))
    count = framed.inner_text().split()[0]
    assert int(count) == whole
    page.get_by_role("tab", name="Images").click()
    expect(page.get_by_text(f"of {count}", exact=False).first).to_be_visible()
    press(page, f"{count} images framed on the map")
    expect(page.get_by_role("button", name="framed on the map")).to_have_count(0)
