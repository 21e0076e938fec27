"""The whole app in a real browser, as a person would use it: one server, one home folder, one story after another."""

import json
import math
import os
import re
import shutil
import time
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from browsing import PAGES, PATIENCE, ROOT, TRAINING, expect_pictures, press, settled, visit
from playwright.sync_api import Locator, Page, expect
from uploads import dicom

from covid_cnn.data import dataset, synthetic
from covid_cnn.data.samples import FILM_KEYS
from covid_cnn.evaluation import binary, predictions
from covid_cnn.images import ops
from covid_cnn.models import bundle
from covid_cnn.reports import wording

pytestmark = pytest.mark.browser

# The middle of a canvas, where an X-ray has all it has.
PIXELS = "canvas.getContext('2d').getImageData(canvas.width / 4, canvas.height / 4, 128, 128).data"


def choose_sample(page: Page, title: str) -> None:
    """Choose a sample and wait for the whole answer, by when nothing of the image before is left."""
    door = page.get_by_test_id("stPopover").filter(has_text="Open")
    if door.count():
        press(door, "Open")
    page.get_by_test_id("stButtonGroup").get_by_text(title, exact=True).click()
    if door.count():
        page.keyboard.press("Escape")
    expect_named(page, title)
    settled(page, "predict")


def expect_named(page: Page, name: str) -> None:
    """Wait until the page shows an image of this name."""
    expect(page.locator("strong").get_by_text(name, exact=True).first).to_be_visible()


def open_settings(page: Page) -> Locator:
    """Open the viewer's settings."""
    press(page.locator(".viewer"), "Settings")
    return page.locator(".viewer")


def expect_drawn(page: Page, pane: int = 0) -> None:
    """Wait until the viewer shows an image: greys of many kinds."""
    canvas = page.locator(".viewer figure canvas").nth(pane)
    expect(canvas).to_be_visible()
    page.wait_for_function("canvas => new Set(" + PIXELS + ").size > 20", arg=canvas.element_handle())


def picture(page: Page, pane: int = 0) -> list[int]:
    """The pixels of the viewer's pane, RGBA, once it has drawn what was last asked of it."""
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page.locator(".viewer figure canvas").nth(pane).evaluate("canvas => Array.from(" + PIXELS + ")")


def coloured(pixels: list[int]) -> float:
    """The share of pixels that are no grey."""
    colours = list(zip(pixels[::4], pixels[1::4], pixels[2::4], strict=True))
    return sum(max(colour) > min(colour) + 8 for colour in colours) / len(colours)


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.suffix not in (".log", ".pyc")}


def test_one_click_on_a_sample_leads_to_a_prediction(page, app):
    visit(page, app, "")
    expect(page.get_by_text(wording.NOTICE)).to_be_visible()
    expect_pictures(page.get_by_test_id("stImage").locator("img"), len(FILM_KEYS))
    press(page, "Ask the model")
    settled(page, "predict")
    expect(page.locator(".answer h2")).to_be_in_viewport()
    expect(page.get_by_test_id("stAlertContainer").get_by_text(wording.NOTICE)).to_be_visible()
    expect_drawn(page)


def test_a_click_on_a_films_picture_asks_about_it_and_the_next_click_keeps_it(page, app):
    visit(page, app, "predict")
    middle = page.locator(".st-key-films img").first.bounding_box()
    assert middle
    page.mouse.click(middle["x"] + middle["width"] / 2, middle["y"] + middle["height"] / 2)
    expect_named(page, "A healthy adult")
    press(page, "What if?")
    expect(page.get_by_text("Test the heatmap")).to_be_visible()
    expect_named(page, "A healthy adult")


@pytest.mark.real_data
def test_an_uploaded_x_ray_is_answered_beside_a_file_that_is_none(page, app, real_data, tmp_path):
    xray = min((real_data / "xray_dataset_covid19" / "test" / "PNEUMONIA").iterdir())
    fake = tmp_path / "notes.png"
    fake.write_text("Not an image, whatever its name says.")
    before = files(app.home)
    visit(page, app, "predict")
    page.locator("input[type=file]").set_input_files([xray, fake])
    expect(page.get_by_text("notes.png is damaged or not an image")).to_be_visible()
    expect(page.locator(".answer h2")).to_have_text(re.compile(r"%\)$|no answer$"))
    expect_drawn(page)
    assert files(app.home) == before


def test_a_file_name_is_shown_as_text(page, app, tmp_path):
    name = "**b** _i_ <i>x [a](b) $x$ :red[c].png"
    (tmp_path / name).write_bytes(ops.to_png(synthetic.draw_radiograph(1, opacities=True, size=256)))
    visit(page, app, "predict")
    page.locator("input[type=file]").set_input_files(tmp_path / name)
    expect_named(page, name if len(name) <= 36 else "…" + name[-35:])


def test_what_a_model_would_answer_to_a_leg_is_behind_a_door(page, app):
    visit(page, app, "predict")
    choose_sample(page, "A leg")
    expect(page.locator(".answer h2")).to_have_text(wording.UNKNOWN_KIND)
    expect_drawn(page)
    expect(page.locator(".answer .bars")).not_to_be_visible()
    page.get_by_text("The numbers", exact=True).click()
    page.get_by_text("What the model would answer anyway").click()
    expect(page.locator(".answer .bars")).to_be_visible()


def test_the_report_can_be_downloaded_and_nothing_of_the_upload_stays(page, app, tmp_path):
    upload = tmp_path / "SECRET_of_a_patient.png"
    upload.write_bytes(ops.to_png(synthetic.draw_radiograph(22, opacities=True, size=300)))
    before, began = files(app.home), time.time()
    visit(page, app, "predict")
    page.locator("input[type=file]").set_input_files(upload)
    expect_named(page, upload.name)
    press(page, "Report")
    for label, start in (("Report (PDF)", b"%PDF-"), ("Report (JSON)", b"{")):
        with page.expect_download() as download:
            press(page, label)
        download.value.save_as(tmp_path / "downloaded")
        report_of_it = (tmp_path / "downloaded").read_bytes()
        assert report_of_it.startswith(start) and b"SECRET" not in report_of_it
    assert files(app.home) == before
    pieces = b"SECRET_of_a_patient", upload.read_bytes()[200:264]
    looked_at = [app.home / "server.log", *written_since(began, app.home), *written_since(began, ROOT)]
    assert not [path for path in looked_at if any(piece in path.read_bytes() for piece in pieces)]
    assert not [file.path for file in app.process.open_files() if file.path.startswith(str(app.home / "temporary"))]
    (app.home / "temporary" / "control").write_bytes(upload.read_bytes())  # so the watch does see what is written
    assert [path.name for path in written_since(began, app.home) if pieces[1] in path.read_bytes()] == ["control"]
    (app.home / "temporary" / "control").unlink()


def written_since(began: float, folder: Path) -> list[Path]:
    """The files below a folder that were written since, but for the hidden ones and the interpreter's own."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__" and not name.startswith(".")]
        found += [path for name in names if (path := Path(place, name)).stat().st_mtime >= began - 1]
    return found


def test_the_viewer_answers_at_once(page, app):
    visit(page, app, "predict")
    choose_sample(page, "A DICOM chest")
    expect_drawn(page)
    viewer = open_settings(page)
    assert coloured(picture(page)) > 0
    viewer.get_by_label("Shown as").select_option("nothing, only the X-ray")
    grey = picture(page)
    assert coloured(grey) == 0
    viewer.get_by_label("Invert").check()
    inverted = picture(page)
    # The browser rounds down, once or twice, where it shrinks a picture.
    assert all(abs(a + b - 255) <= 2 for a, b in zip(grey[::4], inverted[::4], strict=True))
    viewer.get_by_label("Invert").uncheck()
    viewer.get_by_label("Window width").fill("9000")
    assert sum(value in (0, 255) for value in picture(page)[::4]) > sum(value in (0, 255) for value in grey[::4])
    viewer.get_by_role("button", name="Reset").click()
    canvas = viewer.locator("figure canvas").first
    canvas.hover(position={"x": 100, "y": 100})
    expect(viewer.locator("output")).to_have_text(re.compile(r"^x \d+, y \d+: \d+ stored value, heat [01]\.\d\d"))
    canvas.focus()
    page.keyboard.press("+")
    expect(viewer.get_by_label("Zoom")).not_to_have_value("1")
    page.keyboard.press("0")
    expect(viewer.get_by_label("Zoom")).to_have_value("1")
    with page.expect_download() as download:
        viewer.get_by_role("button", name="Save as PNG").click()
    assert download.value.suggested_filename == "overlay.png"


def test_how_heat_is_shown_goes_along_to_the_next_image_and_its_window_does_not(page, app):
    visit(page, app, "predict")
    viewer = page.locator(".viewer")
    choose_sample(page, "A DICOM chest")
    expect_drawn(page)
    open_settings(page)
    viewer.get_by_label("Opacity").fill("0.8")
    viewer.get_by_label("Shown as").select_option("contour of the hottest tenth")
    viewer.get_by_label("Window width").fill("9000")
    viewer.get_by_label("Heatmap of").select_option(index=1)
    expect(viewer.get_by_label("Window width")).to_have_value("9000")
    expect(viewer.get_by_label("Window preset")).to_have_value("-1")
    choose_sample(page, "A leg")
    open_settings(page)
    expect(viewer.get_by_label("Window width")).to_have_value("1024")
    expect(viewer.get_by_label("Shown as")).to_have_value("off")  # the model does not know it
    viewer.get_by_role("button", name="Heatmap").click()
    expect(viewer.get_by_label("Shown as")).to_have_value("colours")
    choose_sample(page, "A DICOM chest")
    open_settings(page)
    expect(viewer.get_by_label("Shown as")).to_have_value("contour")
    expect(viewer.get_by_label("Opacity")).to_have_value("0.8")
    expect(viewer.get_by_label("Window width")).to_have_value("30000")


def test_the_mouse_sets_the_window_moves_the_image_and_swipes_the_heatmap(page, app, tmp_path):
    stored = (4095 * synthetic.draw_radiograph(22, opacities=True, size=300)).astype(np.uint16)
    tags = {"WindowCenter": [2048, 900], "WindowWidth": [4096, 500], "RescaleIntercept": -1000, "RescaleType": "HU"}
    (tmp_path / "deep.dcm").write_bytes(dicom(stored, **tags))
    page.set_viewport_size({"width": 1440, "height": 2000})
    visit(page, app, "predict")
    page.locator("input[type=file]").set_input_files(tmp_path / "deep.dcm")
    viewer = page.locator(".viewer")
    canvas = viewer.locator("figure canvas").first
    expect_drawn(page)
    settled(page, "predict")
    open_settings(page)
    width, level, zoom = (viewer.get_by_label(name) for name in ("Window width", "Level", "Zoom"))
    box = canvas.bounding_box()

    def drag(start: tuple[float, float], end: tuple[float, float], button: Literal["left", "right"] = "left") -> None:
        page.mouse.move(box["x"] + start[0] * box["width"], box["y"] + start[1] * box["height"])
        page.mouse.down(button=button)
        page.mouse.move(box["x"] + end[0] * box["width"], box["y"] + end[1] * box["height"])
        page.mouse.up(button=button)

    # One pixel's value, in its unit, at its place in the file.
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.3 * box["height"])
    said = re.match(r"x (\d+), y (\d+): (-?\d+) HU, heat", viewer.locator("output").inner_text())
    assert said and int(said[3]) == int(stored[int(said[2]), int(said[1])]) - 1000
    assert abs(int(said[1]) - 120) <= 1 and abs(int(said[2]) - 90) <= 1

    viewer.get_by_label("Window preset").select_option("centre 900, width 500")
    expect(width).to_have_value("500")
    expect(level).to_have_value("900")
    drag((0.2, 0.2), (0.3, 0.3))  # with the left button, at its own size
    assert float(width.input_value()) > 500 and float(level.input_value()) > 900
    page.keyboard.press("0")
    viewer.get_by_label("Shown as").select_option("colours")
    drag((0.999, 0.5), (0.5, 0.5))  # by the line, at the right edge
    assert abs(float(viewer.get_by_label("Swipe the heatmap").input_value()) - 0.5) < 0.02
    expect(width).to_have_value("4096")
    zoom.fill("3")
    before = picture(page)
    drag((0.2, 0.2), (0.3, 0.3))  # enlarged, it moves the image
    expect(width).to_have_value("4096")
    assert picture(page) != before
    drag((0.3, 0.3), (0.2, 0.2), "right")
    assert float(width.input_value()) < 4096 and float(level.input_value()) < 2048
    canvas.press("Shift+ArrowUp")
    page.mouse.click(box["x"] + 50, box["y"] + 50, button="right")
    assert canvas.evaluate("canvas => !canvas.dispatchEvent(new Event('contextmenu', {cancelable: true}))")


def test_two_models_are_seen_side_by_side(page, app):
    visit(page, app, "predict")
    choose_sample(page, "A leg")
    expect_drawn(page)
    press(page, "Another model")
    page.get_by_role("toolbar", name="Ask as well").get_by_role("button", name="notebook_cnn").click()
    expect(page.locator(".answer h2")).to_have_count(3)
    page.keyboard.press("Escape")
    expect_drawn(page, pane=1)
    viewer = open_settings(page)
    viewer.get_by_label("Shown as").select_option("colours")
    expect(viewer.locator("figcaption").nth(1)).to_contain_text("notebook_cnn")
    assert picture(page, 0) != picture(page, 1)
    viewer.get_by_label("Swipe the heatmap").fill("0")
    assert coloured(picture(page, 1)) == 0


def test_a_dataset_is_drawn_and_looked_through(page, app):
    visit(page, app, "dataset")
    press(page, "Add a dataset")
    press(page, "Draw synthetic radiographs")
    expect(page.get_by_text("Page 1 of 9: images 1 to 24 of 200")).to_be_visible(timeout=2 * PATIENCE)
    expect_pictures(page.get_by_test_id("stImage").locator("img"), 24)
    press(page.get_by_test_id("stPagination"), "2")
    expect(page.get_by_text("Page 2 of 9: images 25 to 48 of 200")).to_be_visible()
    press(page, "Filter and sort")
    page.get_by_role("textbox", name="Name").fill("no such name")
    page.keyboard.press("Enter")
    expect(page.get_by_text("No image fits these filters.")).to_be_visible()
    page.get_by_role("textbox", name="Name").fill("")
    page.keyboard.press("Enter")
    page.get_by_role("combobox", name="Class").click()
    page.get_by_role("option", name="PNEUMONIA").click()
    expect(page.get_by_text("images 1 to 24 of 100")).to_be_visible()
    page.keyboard.press("Escape")
    press(page, "Filter and sort")
    press(page, "View")
    dialog = page.get_by_role("dialog")
    expect_pictures(dialog.get_by_test_id("stImage").locator("img"), 1)
    press(dialog, "Send to Predict")
    settled(page, "predict")
    expect(page.get_by_text("Synthetic: drawn, not taken of a person").first).to_be_visible()
    expect_drawn(page)


@pytest.mark.timeout(600)
def test_a_network_is_trained_stopped_resumed_compared_and_asked(page, app):
    synthetic.write_dataset(app.home / "data" / "little", counts={"train": 12, "val": 6, "test": 6}, size=128)
    visit(page, app, "train")
    page.get_by_role("combobox", name="Dataset").fill("little")
    page.get_by_role("option", name="little").click()
    settled(page, "train")
    page.get_by_text("Settings", exact=True).click()
    fill(page, Epochs="48", **{"Batch size": "1"}, Name="of_the_browser")
    press(page, "Start training")
    progress = page.get_by_text(re.compile(r"^Step \d+ of \d+$")).first  # a redraw shows the one before beside it
    expect(progress).to_be_visible(timeout=TRAINING)
    expect(page.get_by_test_id("stVegaLiteChart").first).to_be_visible()
    seen = progress.inner_text()
    expect(progress).not_to_have_text(seen)
    page.reload()
    expect(progress).to_be_visible()
    assert step(progress) >= int(seen.split()[1])
    expect(page.get_by_test_id("stVegaLiteChart").first).to_be_visible()
    stop = page.get_by_role("button", name="Stop").bounding_box()
    press(page, "Stop")
    expect(page.get_by_text("The run was stopped. Its best epoch so far is a model.")).to_be_visible()
    resume = page.get_by_role("button", name="Resume").bounding_box()
    assert resume["x"] + resume["width"] == pytest.approx(stop["x"] + stop["width"], abs=2)
    assert resume["y"] == pytest.approx(stop["y"], abs=2), "where Stop was"
    press(page, "Resume")
    expect(page.get_by_text(re.compile("Finished$"))).to_be_visible(timeout=TRAINING)
    expect(progress).to_be_hidden()  # no step is left
    expect(page.get_by_test_id("stMetric").filter(has_text="Epoch").first).to_contain_text("48 of 48")

    # A run like it, with another setting, without the minute that it would take.
    again = shutil.copytree(app.home / "runs" / "of_the_browser", app.home / "runs" / "again")
    config = json.loads((again / "config.json").read_text())
    (again / "config.json").write_text(json.dumps(config | {"seed": 1}))
    press(page, "New run")
    settled(page, "train")
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()
    table = page.get_by_test_id("stDataFrame").first
    for row in (1, 2):  # drawn on a canvas: a click on the box at the left of a row chooses it
        table.click(position={"x": 15, "y": 35 * row + 17})
        settled(page, "train")
    expect(page.get_by_role("heading", name="Side by side")).to_be_visible()
    expect(page.get_by_test_id("stVegaLiteChart").locator("canvas, svg").last).to_be_visible()
    press(page, "Delete")
    expect(page.get_by_role("dialog")).to_contain_text("again")
    expect(page.get_by_role("dialog")).to_contain_text("of_the_browser")
    page.keyboard.press("Escape")

    page.goto(f"{app.address}/train?run=of_the_browser")
    settled(page, "train")
    press(page, "Try it")
    settled(page, "predict")
    expect(page.get_by_role("combobox", name="Model")).to_have_value("of_the_browser")
    choose_sample(page, "Drawn, opacities")
    expect(page.locator(".answer .asked")).to_have_text("of_the_browser says")


def fill(page: Page, **fields: str) -> None:
    for label, text in fields.items():
        page.get_by_role("spinbutton", name=label).or_(page.get_by_role("textbox", name=label)).fill(text)
        page.keyboard.press("Enter")
        settled(page, "train")


def step(progress: Locator) -> int:
    """The number in ``Step 7 of 90``."""
    return int(progress.inner_text().split()[1])


def test_a_dragged_threshold_answers_in_the_browser_as_python_does(page, app):
    data = synthetic.write_dataset(app.home / "data" / "few", counts={"test": 6}, size=128)
    visit(page, app, "evaluate")
    for label, choice in (("Model", "notebook_cnn"), ("Images", "few")):
        page.get_by_role("combobox", name=label).fill(choice)
        page.get_by_role("option", name=choice).click()
        settled(page, "evaluate")
    press(page, "Ask the model")
    slider = page.get_by_role("slider", name="Threshold")
    expect(slider).to_be_visible()
    slider.focus()
    page.keyboard.press("ArrowRight")
    threshold = float(slider.input_value())
    model = bundle.Bundle(app.home / "models" / "notebook_cnn")
    answers = predictions.predict_dataset(model, dataset.open_dataset(data).subset("test"))
    asked = binary.binarize(model, answers, binary.POSITIVE, threshold)
    counts, told = binary.count_outcomes(asked), binary.at_prevalence(asked, 0.01)
    for name, count in counts.items():
        expect(page.locator(f"#{name.replace('_', '-')}")).to_have_text(str(count))
    for name in ("ppv", "npv"):
        value = getattr(told, name)
        low, high = (f"{100 * edge:.1f} %" for edge in (value.low, value.high)) if value else ("nobody", "")
        expect(page.locator(f"#{name}")).to_contain_text(low)
        expect(page.locator(f"#{name}")).to_contain_text(high)
    # The story, the legend and the table tell the same of 1,000 people, of whom 10 are ill.
    hits, misses, alarms = (counts[name] for name in ("hits", "misses", "false_alarms"))
    found, wrong = 10 * hits / (hits + misses), 990 * alarms / (alarms + counts["rejections"])
    people = math.ceil(found - 0.5), math.floor(wrong + 0.5)  # of equal remainders the missed and the alarms gain
    story = page.locator("#story")
    expect(story).to_contain_text(f"Of 1,000 people 10 have {model.positive}: {people[0]} found")
    expect(page.locator("#found")).to_have_text(str(people[0]))
    expect(page.locator("#alarms")).to_have_text(str(people[1]))
    if sum(people):
        value = f"{100 * found / (found + wrong):.1f} %"
        expect(story).to_contain_text(f"predictive value is {value}.")
        expect(page.locator("#ppv")).to_contain_text(value)
    prevalence = page.get_by_role("slider", name="Prevalence")
    prevalence.focus()
    page.keyboard.press("End")
    expect(story).to_contain_text(f"Of 1,000 people 999 have {model.positive}")
    shutil.rmtree(data)


@pytest.mark.parametrize("name", PAGES, ids=PAGES.values())
def test_a_page_fits_a_phone(page, app, name):
    page.set_viewport_size({"width": 390, "height": 844})
    visit(page, app, name)
    if name == "predict":
        choose_sample(page, "A leg")
        expect(page.locator(".answer h2")).to_be_in_viewport()
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth")


def test_the_web_process_never_loads_tensorflow(page, app):
    visit(page, app, "")
    press(page, "Ask the model")
    settled(page, "predict")
    libraries = [library.path for library in app.process.memory_maps()]
    assert any("ai_edge_litert" in path for path in libraries)
    assert not [path for path in libraries if "tensorflow" in path]


def test_a_change_of_dataset_never_shows_the_images_of_the_one_before(page, app):
    for name, count, size in (("first_one", 12, 64), ("other_one", 12, 900)):
        synthetic.write_dataset(app.home / "data" / name, counts={"train": count}, size=size, seed=len(name))
        for image in (app.home / "data" / name).rglob("*.png"):
            image.rename(image.with_stem(f"{image.stem}_{name}"))
    visit(page, app, "dataset")
    expect_pictures(page.get_by_test_id("stImage").locator("img"), 24)
    # Between two frames of the screen: the images whose names are not of the dataset that the page names.
    page.evaluate("""() => {
      window.strangers = [];
      const look = () => {
        const name = document.querySelector(".st-key-dataset_named")?.textContent ?? "";
        for (const image of document.querySelectorAll("[data-testid=stImage] img"))
          if (name.includes("other_one") && !image.alt.includes("other_one")) strangers.push(image.alt);
        requestAnimationFrame(look);
      };
      look();
    }""")
    page.get_by_role("combobox", name="Dataset").fill("other_one")
    page.get_by_role("option", name="other_one").click()
    settled(page, "dataset")
    expect_pictures(page.get_by_test_id("stImage").locator("img"), 24)
    assert "other_one" in page.get_by_test_id("stImage").locator("img").first.get_attribute("alt")
    assert page.evaluate("strangers") == []
    for name in ("first_one", "other_one"):
        shutil.rmtree(app.home / "data" / name)
