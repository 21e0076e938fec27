"""What a visitor sees without scrolling, with how few clicks, and does without a mouse, in a real browser."""

import re
import shutil

import pytest
from browsing import MOST_WORDS, TRAINING, WORDS, press, settled, visit
from playwright.sync_api import Locator, Page, expect

from covid_cnn.data import synthetic
from covid_cnn.reports import wording
from covid_cnn.runs.config import TrainConfig
from covid_cnn.runs.run import create_run

pytestmark = pytest.mark.browser

PROJECTOR, PHONE = {"width": 1280, "height": 720}, {"width": 390, "height": 844}


def ask(page: Page, app) -> None:
    """The one click from opening the app to an explained answer."""
    visit(page, app, "")
    press(page, "Ask the model")
    expect(page.locator(".viewer.ready")).to_be_visible()
    settled(page, "predict")


def expect_on_first_screen(page: Page, *parts: Locator) -> None:
    for part in parts:
        expect(part).to_be_in_viewport(ratio=0.99)
    assert page.evaluate("scrollY") == 0


@pytest.mark.parametrize("size", [PROJECTOR, PHONE], ids=["projector", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_one_click_after_start_the_answer_is_on_the_first_screen(page, app, size, scheme):
    page.set_viewport_size(size)
    page.emulate_media(color_scheme=scheme)
    ask(page, app)
    image, answer = page.locator(".viewer figure canvas").first, page.locator(".answer h2")
    expect_on_first_screen(page, image, answer, page.locator(".answer .bars"), page.get_by_text(wording.NOTICE).first)
    words = page.evaluate(WORDS)
    assert len(words) <= MOST_WORDS, " ".join(words)
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")


def test_on_a_projector_the_buttons_and_the_trust_are_there_as_well(page, app):
    page.set_viewport_size(PROJECTOR)
    ask(page, app)
    buttons = [page.get_by_role("button", name=name).first for name in ("What if?", "Another model", "Report")]
    expect_on_first_screen(page, page.locator(".answer .trust"), *buttons)
    picture, card = page.locator(".viewer").bounding_box(), page.locator(".answer").bounding_box()
    assert picture["width"] / (picture["width"] + card["width"]) == pytest.approx(0.6, abs=0.03)


def test_start_has_one_button_that_asks_and_six_small_films(page, app):
    page.set_viewport_size(PROJECTOR)
    visit(page, app, "")
    films = page.locator(".st-key-films").get_by_test_id("stButton").get_by_role("button")
    expect(films).to_have_count(6)
    expect_on_first_screen(page, page.get_by_role("button", name="Ask the model"), *films.all())
    assert len(page.evaluate(WORDS)) <= MOST_WORDS
    page.set_viewport_size(PHONE)
    first, second, third = (films.nth(n).bounding_box() for n in range(3))
    assert first["y"] == pytest.approx(second["y"], abs=2) and third["y"] > first["y"]  # two columns
    assert all(page.locator("img").evaluate_all("images => images.map((image) => Boolean(image.alt))"))


def test_stage_mode_by_key_and_by_button_on_every_page(page, app):
    for name in ("", "predict", "train", "dataset", "evaluate", "tour"):
        visit(page, app, name)
        navigation = page.get_by_test_id("stHeader")
        expect(page.get_by_role("button", name="Stage mode")).to_be_visible()
        expect(page.locator("[data-test-script-state=notRunning]")).to_be_visible()  # it is drawn anew until then
        page.keyboard.press("p")
        expect(page.locator("html")).to_have_class(re.compile("stage"))
        expect(navigation).to_be_hidden()
        page.get_by_role("button", name="Stage mode").click()
        expect(navigation).to_be_visible()


def test_keys_go_to_the_next_image_and_turn_the_heatmap(page, app):
    page.set_viewport_size(PROJECTOR)
    ask(page, app)
    heat = page.locator(".viewer").get_by_role("button", name="Heatmap")
    expect(heat).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("h")
    expect(heat).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("e")
    expect(page.locator(".viewer").get_by_role("button", name="Local contrast")).to_have_attribute(
        "aria-pressed", "true"
    )
    page.keyboard.press("2")
    page.keyboard.press("m")
    canvas = page.locator(".viewer figure canvas").first
    canvas.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".viewer output")).to_have_text(re.compile(r"^\d+ px$"))
    page.keyboard.press("n")
    expect(page.locator("strong").get_by_text("A healthy adult", exact=True).first).to_be_visible()
    page.evaluate("document.addEventListener('stagechange', () => { window.turns = (window.turns ?? 0) + 1; })")
    page.keyboard.press("p")
    expect(page.locator("html")).to_have_class(re.compile("stage"))
    assert page.evaluate("turns") == 1  # however often the page has been drawn since it was opened


def test_the_verdict_stays_visible_in_full_screen(page, app):
    ask(page, app)
    press(page.locator(".viewer"), "Full screen")
    expect(page.locator(".viewer .headline")).to_be_visible()
    expect(page.locator(".viewer .headline")).to_contain_text(page.locator(".answer h2").inner_text())
    expect(page.locator(".viewer .headline")).to_contain_text(wording.NOTICE)


def test_train_has_images_network_and_start_on_one_screen(page, app):
    page.set_viewport_size(PROJECTOR)
    visit(page, app, "train")
    cards = [page.locator(".st-key-train_drawn"), page.locator(".st-key-train_yours")]
    network, start = page.get_by_role("radiogroup").first, page.get_by_role("button", name="Start training")
    expect_on_first_screen(page, *cards, network, start)
    expect(page.get_by_text("Augmentation", exact=True)).to_be_hidden()
    assert len(page.evaluate(WORDS)) <= MOST_WORDS
    page.set_viewport_size(PHONE)
    expect_on_first_screen(page, cards[0])


def test_a_result_is_on_top_in_people_and_its_table_behind_a_click(page, app, monkeypatch):
    monkeypatch.setenv("COVID_CNN_HOME", str(app.home))
    run = create_run(TrainConfig.of("gone", "efficientnet_lite0", epochs=2), "with_a_result")
    run.append("exported", model="efficientnet_lite0", epoch=1)
    run.append("stopped", message="Stopped.")
    for size in (PROJECTOR, PHONE):
        page.set_viewport_size(size)
        page.goto(f"{app.address}/train?run={run.name}")
        settled(page, "train")
        sentence = page.get_by_role("heading", name=re.compile("^Missed none of 20 ill, no false alarm"))
        expect_on_first_screen(page, sentence, page.get_by_role("button", name="Try it"))
        expect_on_first_screen(page, page.get_by_role("button", name="Ask it about another hospital's images"))
        expect(page.get_by_test_id("stDataFrame").first).to_be_hidden()
        expect(page.get_by_role("button", name="Resume")).to_be_visible()
    shutil.rmtree(run.folder)


@pytest.mark.timeout(600)
def test_three_clicks_lead_to_a_model_of_ones_own_and_its_answer_about_another_hospital(page, app):
    synthetic.write_dataset(app.home / "data" / "mine", counts={"train": 6, "val": 3, "test": 4}, size=128)
    page.add_init_script(
        "addEventListener('click', (event) => event.isTrusted && (window.clicks = (window.clicks ?? 0) + 1), true)"
    )
    visit(page, app, "")
    page.get_by_role("link", name="Train").click()
    settled(page, "train")
    press(page, "Start training")
    expect(page.get_by_text(re.compile("Finished$"))).to_be_visible(timeout=TRAINING)
    assert page.evaluate("clicks") == 2, "a model of one's own"
    press(page, "Ask it about another hospital's images")  # which is drawn first
    expect(page.get_by_role("heading", level=1)).to_have_text("Evaluate", timeout=TRAINING)
    expect(page.get_by_role("heading", name=re.compile("at home .* right.*, away .* right"))).to_be_visible(
        timeout=TRAINING
    )
    assert page.evaluate("clicks") == 3, "its answer about another hospital"
    shutil.rmtree(app.home / "data" / "mine")
