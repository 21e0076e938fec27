"""A network of one's own is added in a browser, and is a model from then on; a demo's visitors are not offered it."""

import sys

import keras
import pytest
from browsing import App
from keras import layers
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest

from covid_cnn.app.shared import demo
from covid_cnn.common.jobs import StoppedError
from covid_cnn.evaluation import own_network

READING = 240_000  # milliseconds: TensorFlow starts in a process of its own, on a machine that is busy besides


@pytest.mark.browser
def test_a_network_of_ones_own_becomes_a_model(app: App, page: Page, tmp_path):
    keras.utils.set_random_seed(1)
    image = keras.Input((32, 32, 3))
    x = layers.Flatten()(layers.MaxPooling2D()(layers.Conv2D(8, 3, activation="relu")(image)))
    keras.Model(image, layers.Dense(1, activation="sigmoid")(x)).save(tmp_path / "my_own.keras")
    page.goto(f"{app.address}/predict")
    page.get_by_text("COVID-19, severe").first.click()
    page.get_by_role("button", name="Another model").click()
    page.get_by_role("button", name="Bring your own network").click()
    page.get_by_test_id("stDialog").locator("input[type=file]").set_input_files(tmp_path / "my_own.keras")
    page.get_by_role("button", name="Read it").click()
    names = page.get_by_role("textbox", name="Its 2 classes")
    expect(names).to_be_visible(timeout=READING)
    expect(page.get_by_text("It takes one colour image of 32 x 32 pixels")).to_be_visible()
    names.fill("NORMAL, PNEUMONIA")
    names.press("Enter")
    table = page.get_by_label("Answers under each scale")
    expect(table.locator("tbody tr")).to_have_count(7)  # three films of COVID-19, two of each other kind
    page.get_by_role("button", name="Add it").click()
    expect(page.get_by_text("my_own says")).to_be_visible(timeout=READING)
    assert (app.home / "models" / "my_own" / "model.tflite").is_file()


def test_it_hears_that_it_is_to_stop_while_nothing_is_told(tmp_path, monkeypatch):
    silent = tmp_path / "python"
    silent.write_text("#!/bin/sh\nexec sleep 60\n")
    silent.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(silent))
    (tmp_path / "any.keras").write_bytes(b"PK")
    heard = []

    def stop(part: float, message: str) -> None:
        heard.append(message)
        if len(heard) == 2:
            raise StoppedError("Stopped.")

    with pytest.raises(StoppedError):
        own_network.read_network(tmp_path / "any.keras", progress=stop)
    assert all("TensorFlow starts" in message for message in heard)


def test_visitors_of_a_demo_are_not_offered_it(home, monkeypatch):
    def script() -> None:
        from covid_cnn.app.shared import own_network

        own_network.offer_own_network("model", [])

    def buttons() -> list[str]:
        return [one.label for one in AppTest.from_function(script, default_timeout=60).run().button]

    assert buttons() == ["Bring your own network"]
    monkeypatch.setenv(demo.DEMO, "1")
    monkeypatch.setattr(demo, "is_visitor", lambda: True)
    assert not buttons()
