"""The app in a real browser: one server and one home folder for each file of tests."""

import shutil
from collections.abc import Iterator

import matplotlib
import pytest
from browsing import PATIENCE, App, served
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright


@pytest.fixture(scope="module")
def app(tmp_path_factory, shipped_models, default_model) -> Iterator[App]:
    home = tmp_path_factory.mktemp("home")
    (home / "temporary").mkdir()
    for folder in [default_model, *shipped_models]:
        shutil.copytree(folder, home / "models" / folder.name)
    environment = {"COVID_CNN_HOME": str(home), "TMPDIR": str(home / "temporary"), "HOME": str(home)}
    environment["MPLCONFIGDIR"] = matplotlib.get_cachedir()  # its list of fonts, which takes seconds to make
    with served("streamlit_app.py", home, environment) as app:
        yield app


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, app) -> Iterator[Page]:
    """A tab in which nothing may go wrong unseen, and which may ask no one but the app for anything.

    The same is true of every other tab of its context.
    """
    context = browser.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True)
    context.set_default_timeout(PATIENCE)
    complaints: list[str] = []
    context.on("request", lambda request: complaints.append(request.url) if _is_foreign(request.url, app) else None)
    context.on("console", lambda message: complaints.append(_told(message)) if _is_error(message) else None)
    context.on("weberror", lambda error: complaints.append(str(error.error)))
    page = context.new_page()
    yield page
    expect(page.get_by_test_id("stException")).to_have_count(0)
    context.close()
    assert not complaints


def _is_foreign(address: str, app: App) -> bool:
    return not address.startswith((app.address, "data:", "blob:"))


def _is_error(message: ConsoleMessage) -> bool:
    # Opened at a page other than the first, Streamlit looks for its server below that page's address in vain at first.
    return message.type == "error" and "/_stcore/" not in message.location["url"]


def _told(message: ConsoleMessage) -> str:
    return f"{message.text} ({message.location['url']})"
