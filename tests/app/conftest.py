"""The app in a real browser: one server and one home folder for each file of tests."""

import functools
import shutil
from collections.abc import Iterator

import matplotlib
import pytest
from browsing import PATIENCE, App, served
from playwright.sync_api import BrowserContext, ConsoleMessage, Page, expect, sync_playwright
from streamlit.components.v2 import manifest_scanner
from streamlit.runtime.scriptrunner import script_runner


@pytest.fixture(scope="session", autouse=True)
def _pages_are_drawn_quickly() -> Iterator[None]:
    """Without what AppTest does at each drawing and the app does not: four fifths of the time, after trainings.

    It looks for components in all installed packages, and where Keras is loaded lets it collect all garbage.
    """
    with pytest.MonkeyPatch.context() as patch:
        once = functools.cache(manifest_scanner.scan_component_manifests)
        patch.setattr(manifest_scanner, "scan_component_manifests", once)
        patch.setattr(script_runner, "_clean_problem_modules", lambda: None)
        yield


@pytest.fixture(scope="module")
def app(tmp_path_factory, shipped_models, default_model) -> Iterator[App]:
    home = tmp_path_factory.mktemp("home")
    (home / "temporary").mkdir()
    for folder in [default_model, *shipped_models]:
        shutil.copytree(folder, home / "models" / folder.name)
    environment = {"TMPDIR": str(home / "temporary"), "HOME": str(home)}
    environment["MPLCONFIGDIR"] = matplotlib.get_cachedir()  # its list of fonts, which takes seconds to make
    with served("streamlit_app.py", home, **environment) as app:
        yield app


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[BrowserContext]:
    """A browser that keeps the app's scripts compiled, as a visitor's does: a page opens in two thirds of the time."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("there is no chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("browser"),
            executable_path=chromium,
            args=["--no-sandbox"],
            viewport={"width": 1440, "height": 900},
        )
        browser.set_default_timeout(PATIENCE)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, app) -> Iterator[Page]:
    """A tab in which nothing may go wrong unseen, and which may ask no one but the app for anything.

    The same is true of every other tab that its test opens. What the browser keeps for the app goes with the test.
    """
    complaints: list[str] = []
    listeners = {
        "request": lambda request: complaints.append(request.url) if _is_foreign(request.url, app) else None,
        "console": lambda message: complaints.append(_told(message)) if _is_error(message) else None,
        "weberror": lambda error: complaints.append(str(error.error)),
    }
    for event, listener in listeners.items():
        browser.on(event, listener)
    page = browser.new_page()
    yield page
    expect(page.get_by_test_id("stException")).to_have_count(0)
    if page.url.startswith(app.address):
        page.evaluate("localStorage.clear()")
    browser.clear_cookies()
    for tab in browser.pages[1:]:  # without the first there is no browser
        tab.close()
    for event, listener in listeners.items():
        browser.remove_listener(event, listener)
    assert not complaints


def _is_foreign(address: str, app: App) -> bool:
    return not address.startswith((app.address, "data:", "blob:"))


def _is_error(message: ConsoleMessage) -> bool:
    # Opened at a page other than the first, Streamlit looks for its server below that page's address in vain at first.
    return message.type == "error" and "/_stcore/" not in message.location["url"]


def _told(message: ConsoleMessage) -> str:
    return f"{message.text} ({message.location['url']})"
