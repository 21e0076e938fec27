"""The web server killed in the middle of its work: the next one tells the truth about it, and takes it up again."""

import shutil
import signal
import time
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from benchmarks import web
from covid_cnn.data import dataset, importer, synthetic


@pytest.fixture
def page():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(60_000)
        yield page
        browser.close()


def kill(app: web.App) -> None:
    app.process.send_signal(signal.SIGKILL)
    app.process.wait(30)


def open_dataset_page(page: Page, app: web.App, *steps: str) -> None:
    page.goto(f"{app.address}/dataset")
    for step in steps:
        page.get_by_role("button", name=step).or_(page.get_by_role("tab", name=step)).first.click()


def add_folder(page: Page, app: web.App, folder: Path) -> None:
    page.goto(f"{app.address}/dataset")
    page.get_by_label("Or a folder or .zip on this computer").fill(str(folder))
    page.get_by_role("button", name="Add", exact=True).click()


@pytest.mark.browser
def test_an_import_that_was_cut_off_is_told_and_goes_on(page, tmp_path):
    home = tmp_path / "home"
    source = synthetic.write_dataset(tmp_path / "source", counts={"train": 200, "val": 20, "test": 20}, size=512)
    with web.app(home) as app:
        add_folder(page, app, source)
        end = time.monotonic() + 60
        while not importer.unfinished_imports(home / "data") and time.monotonic() < end:
            time.sleep(0.005)
        kill(app)
    assert importer.unfinished_imports(home / "data") == ["source"]
    assert not (home / "data" / "source").exists()
    with web.app(home) as app:
        page.goto(f"{app.address}/dataset")
        expect(page.get_by_text("The import of source was cut off.")).to_be_visible(timeout=60_000)
        add_folder(page, app, source)
        expect(page.get_by_text("480 images").or_(page.get_by_text("480"))).not_to_have_count(0, timeout=60_000)
    assert len(dataset.open_dataset(home / "data" / "source").items) == 480
    assert not importer.unfinished_imports(home / "data")


@pytest.mark.browser
def test_an_audit_that_was_cut_off_is_no_more_said_to_run_and_starts_again(page, tmp_path):
    synthetic.write_dataset(tmp_path / "data" / "drawn", counts={"train": 60, "val": 20, "test": 20}, size=512)
    with web.app(tmp_path) as app:
        open_dataset_page(page, app, "Audit", "Start the audit")
        expect(page.get_by_role("button", name="Stop").first).to_be_visible(timeout=60_000)
        kill(app)
    with web.app(tmp_path) as app:
        open_dataset_page(page, app, "Audit")
        expect(page.get_by_role("button", name="Stop")).to_have_count(0)
        page.get_by_role("button", name="Start the audit").click()
        expect(page.get_by_role("button", name="Report").or_(page.get_by_text("finding")).first).to_be_visible(
            timeout=90_000
        )
