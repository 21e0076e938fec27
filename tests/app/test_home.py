"""The start page, and the way from it to the others, without a browser."""

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
from pages import press, settled
from streamlit.testing.v1 import AppTest

from covid_cnn.common import paths
from covid_cnn.data.samples import SAMPLES
from covid_cnn.models import bundle
from covid_cnn.reports import wording

FRONT_DOOR = Path(__file__).parents[2] / "streamlit_app.py"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("COVID_CNN_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def model(home, shipped_models) -> Path:
    return shutil.copytree(shipped_models[0], paths.models_dir() / shipped_models[0].name)


def start() -> AppTest:
    return settled(AppTest.from_file(FRONT_DOOR, default_timeout=120).run())


def with_other_data(folder: Path, metrics: dict) -> None:
    """Tell in ``model.json`` what the model did on other datasets."""
    info = bundle.read_info(folder)
    info["metrics"]["other"] = metrics
    (folder / bundle.INFO_FILE).write_text(json.dumps(info), encoding="utf-8")


def test_it_says_what_it_is_for_and_shows_every_sample():
    app = start()
    assert app.title[0].value == "Covid CNN"
    assert wording.NOTICE in app.warning[0].value
    assert len(app.image) == len(SAMPLES)
    assert [sample.story for sample in SAMPLES.values()] == [c.value for c in app.caption][: len(SAMPLES)]


@pytest.mark.parametrize("key", SAMPLES)
def test_one_click_on_a_sample_leads_to_its_prediction(model, key):
    app = settled(start().button(key=f"try {key}").click().run())
    assert app.title[0].value == "Predict"
    assert wording.NOTICE in app.warning[0].value
    assert len(app.metric) == 1 and len(app.get("bidi_component")) == 2  # stage mode, and the viewer
    assert SAMPLES[key].story in [caption.value for caption in app.caption]


def test_without_a_model_a_sample_leads_to_the_training():
    app = press(start(), "Ask the model")
    assert "There is no model yet" in app.info[0].value
    assert press(app, "Train a model").title[0].value == "Train"


def test_it_has_a_door_to_every_other_page():
    doors = [link.proto.label for link in start().get("page_link")]
    assert doors == ["Predict", "Train", "Dataset", "Evaluate", "Tour"]


def test_without_the_real_samples_the_drawn_ones_remain(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "data_store" else find(name))
    from covid_cnn.app.start import samples

    samples._thumbnail.clear()
    app = start()
    assert [button.key for button in app.button] == ["try clear", "try opacities", "try letter"]
    assert "pydicom" in app.caption[0].value


def test_the_gap_is_shown_once_a_model_was_tested_elsewhere(model):
    with_other_data(model, {})
    assert "The gap" not in [heading.value for heading in start().subheader]
    with_other_data(model, {"Another hospital": bundle.read_info(model)["metrics"]["test"] | {"dataset": "elsewhere"}})
    app = start()
    assert "The gap" in [heading.value for heading in app.subheader]
    assert len(app.get("vega_lite_chart")) == 1
