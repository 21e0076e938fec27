"""A bundle and a dataset of strangers: no text of theirs makes a visitor's browser call anyone, or offers a link."""

import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from benchmarks import web
from covid_cnn.models import bundle

PAGES = ("", "predict?sample=chest", "train", "dataset", "evaluate", "tour")


@pytest.fixture
def listener():
    """Another computer, which hears every call."""
    heard = []

    class Hear(BaseHTTPRequestHandler):
        def do_GET(self):  # the name that http.server wants
            heard.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Hear)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", heard
    server.shutdown()
    server.server_close()


def spoil(value, trap: str, spared: list[str]):
    """The same with the trap in every free text but the names that are spared."""
    if isinstance(value, dict):
        return {key: spoil(one, trap, spared) for key, one in value.items()}
    if isinstance(value, list):
        return [spoil(one, trap, spared) for one in value]
    return f"{value} {trap}" if isinstance(value, str) and " " in value and value not in spared else value


@pytest.mark.browser
def test_no_text_of_strangers_makes_a_browser_call(browser, tmp_path, default_model, synthetic_data, listener):
    address, heard = listener
    trap = f"![x]({address}/picture.png) [x]({address}/link) <img src='{address}/html.png'>"
    folder = shutil.copytree(default_model, tmp_path / "models" / bundle.DEFAULT_MODEL)
    info = json.loads((folder / bundle.INFO_FILE).read_text())
    info = spoil(info, trap, info["classes"])
    names = {name: f"{name} {trap}" for name in info["classes"]}
    text = json.dumps(info | {"name": f"strange {trap}"})
    for name, strange in names.items():
        text = text.replace(json.dumps(name), json.dumps(strange))
    (folder / bundle.INFO_FILE).write_text(text)
    assert bundle.read_info(folder).classes == list(names.values())
    (tmp_path / "data").mkdir()
    shutil.copytree(synthetic_data, tmp_path / "data" / f"strange ![x]({address.removeprefix('http:')[2:]})")
    with web.app(tmp_path) as app:
        page = browser.new_page()
        blocked: list[str] = []
        page.on("console", lambda said: blocked.append(said.text) if "Content Security Policy" in said.text else None)
        for name in PAGES:
            page.goto(f"{app.address}/{name}")
            page.wait_for_selector("[data-testid=stMain]")
            page.wait_for_function("document.querySelector('[data-testid=stStatusWidget]') === null", timeout=60_000)
            page.wait_for_timeout(1500)
            found = page.locator(f"img[src^='{address}'], a[href^='{address}']")
            where = found.evaluate_all("all => all.map(one => one.closest('[data-testid]').parentElement.innerText)")
            assert not where, f"{name}: {set(where)}"
        page.close()
    assert not heard
    assert not blocked, blocked[:3]
