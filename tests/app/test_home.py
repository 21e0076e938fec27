"""The start page, and the way from it to the others, without a browser."""

import json
import re
import shutil
from pathlib import Path

import msgspec
import pytest
from pages import press, settled
from streamlit.testing.v1 import AppTest

from covid_cnn.app.start import page
from covid_cnn.common import paths
from covid_cnn.data.samples import FILM_KEYS, SAMPLES
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
    info = json.loads((folder / bundle.INFO_FILE).read_text())
    info["metrics"]["other"] = metrics
    (folder / bundle.INFO_FILE).write_text(json.dumps(info), encoding="utf-8")


def test_it_is_one_sentence_one_large_film_and_six_small_ones():
    app = start()
    assert app.title[0].value == "Covid CNN"
    assert wording.NOTICE in app.warning[0].value
    assert page.SENTENCE in app.markdown[0].value and len(re.findall(r"[.?!](?: |$)", page.SENTENCE)) == 1
    assert len(app.image) == len(FILM_KEYS) == 7
    assert [button.key for button in app.button] == [f"try {key}" for key in FILM_KEYS]
    assert app.button[0].label == "Ask the model"


@pytest.mark.parametrize("key", FILM_KEYS)
def test_one_click_on_a_sample_leads_to_its_prediction(model, key):
    app = settled(start().button(key=f"try {key}").click().run())
    assert app.title[0].value == "Predict"
    assert wording.NOTICE in app.warning[0].value
    assert len(app.get("bidi_component")) == 2  # stage mode, and the viewer
    shown = [caption.value for caption in app.caption]
    assert SAMPLES[key].story in shown
    assert any("Truth" in caption for caption in shown)


def test_without_a_model_a_sample_leads_to_the_training():
    app = press(start(), "Ask the model")
    assert "There is no model yet" in app.info[0].value
    assert press(app, "Train a model").title[0].value == "Train"


def test_the_gap_is_shown_once_a_model_was_tested_elsewhere(model):
    with_other_data(model, {})
    assert "The gap" not in [heading.value for heading in start().header]
    with_other_data(
        model,
        {"Another hospital": msgspec.to_builtins(bundle.read_info(model).metrics.test) | {"dataset": "elsewhere"}},
    )
    app = start()
    assert "The gap" in [heading.value for heading in app.header]
    assert len(app.get("vega_lite_chart")) == 1
