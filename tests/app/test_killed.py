"""The web server killed in the middle of its work: the next one tells the truth about it, and takes it up again."""

import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from benchmarks import web
from covid_cnn.data import dataset, importer, synthetic


@pytest.fixture
def page(browser):
    page = browser.new_page()
    yield page
    page.close()


def kill(app: web.App) -> None:
    app.process.send_signal(signal.SIGKILL)
    app.process.wait(30)


def kill_while_copying(app: web.App, data: Path) -> None:
    end = time.monotonic() + 60
    while not any(data.glob(".adding-*/*/*/*/*")) and time.monotonic() < end:
        time.sleep(0.001)
    kill(app)


def add_folder(page: Page, app: web.App, folder: Path) -> None:
    page.goto(f"{app.address}/dataset")
    page.get_by_role("button", name="Add a dataset").click()
    page.get_by_label("Or a folder or .zip on this computer").fill(str(folder))
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_role("button", name="Add these images").click()


@pytest.mark.browser
def test_an_import_that_was_cut_off_is_told_and_goes_on(page, home, tmp_path):
    source = synthetic.write_dataset(tmp_path / "source", counts={"train": 100, "val": 10, "test": 10}, size=384)
    with web.app(home) as app, ThreadPoolExecutor() as pool:  # for copying may have ended before a click returns
        killed = pool.submit(kill_while_copying, app, home / "data")
        add_folder(page, app, source)
        killed.result(90)
    assert importer.unfinished_imports() == ["source"]
    assert not (home / "data" / "source").exists()
    with web.app(home) as app:
        page.goto(f"{app.address}/dataset")
        expect(page.get_by_text("The import of source was cut off.")).to_be_visible(timeout=60_000)
        add_folder(page, app, source)
        expect(page.get_by_text("240 images").or_(page.get_by_text("240"))).not_to_have_count(0, timeout=60_000)
    assert len(dataset.open_dataset(home / "data" / "source").items) == 240
    assert not importer.unfinished_imports()


@pytest.mark.browser
def test_an_audit_that_was_cut_off_starts_again_by_itself(page, tmp_path):
    synthetic.write_dataset(tmp_path / "data" / "drawn", counts={"train": 60, "val": 20, "test": 20}, size=512)
    with web.app(tmp_path) as app:
        page.goto(f"{app.address}/dataset")
        expect(page.get_by_text(re.compile(r"Audit: \d+ %"))).to_be_visible(timeout=60_000)
        kill(app)
    with web.app(tmp_path) as app:
        page.goto(f"{app.address}/dataset")
        ended = page.get_by_text(re.compile(r"Audit: \d+ finding|found nothing amiss")).first
        expect(ended).to_be_visible(timeout=90_000)
