"""Images of any shape that the reader takes, on every page that takes an image: an answer or a sentence, no error."""

import io
import shutil
import time
import zipfile
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pages import press, settled
from streamlit.testing.v1 import AppTest

from covid_cnn.app.predict import what_if
from covid_cnn.app.shared.elements import escape_markdown
from covid_cnn.common import paths
from covid_cnn.data import audit, dataset
from covid_cnn.images import limits, ops, reader
from covid_cnn.models.bundle import load_bundle
from covid_cnn.reports.pdf import render_report

EXTREMES = [(33_000, 8), (8, 70_000), (2_000_000, 9), (8, 8)]


@st.composite
def shapes(draw: st.DrawFn) -> tuple[int, int]:
    """Height and width that the reader takes, of all proportions alike."""
    short = int(2 ** draw(st.floats(np.log2(limits.MIN_SIDE), 10)))
    long = int(2 ** draw(st.floats(np.log2(short), np.log2(limits.MAX_PIXELS // short))))
    return (short, long) if draw(st.booleans()) else (long, short)


def picture(shape: tuple[int, int]) -> bytes:
    return ops.to_png(np.linspace(0, 1, shape[0] * shape[1], dtype=np.float32).reshape(shape))


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory, shipped_models):
    """One home for all shapes: a page keeps what it was given in its session alone."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COVID_CNN_HOME", str(home))
        shutil.copytree(shipped_models[0], paths.models_dir() / shipped_models[0].name)
        yield home


def page(name: str, **state: object) -> AppTest:
    def draw(name: str) -> None:
        from importlib import import_module

        import_module(f"covid_cnn.app.{name}.page").draw_page()

    app = AppTest.from_function(draw, args=(name,), default_timeout=240)
    for key, value in state.items():
        app.session_state[key] = value
    return settled(app.run())


def predict(shape: tuple[int, int]) -> None:
    """All that the page can do with one image."""
    app = page("predict")
    app = settled(app.file_uploader[0].set_value([("strange.png", picture(shape), "image/png")]).run())
    assert len(app.get("download_button")) == 2, "there is an answer"
    app = press(app, "What if?")
    question, changes = (
        next(group.key for group in app.button_group if part in (group.key or "")) for part in ("question", " add")
    )
    for change in ("rotate", "stamp", "blur", "crop"):
        app = settled(app.button_group(key=changes).set_value(change).run())
    assert not app.error
    app = settled(app.button_group(key=question).set_value(what_if.OPINION).run())
    if shape == EXTREMES[0]:  # which takes a while, and sees what the network sees
        assert not press(app, "Ask for it").error
    radiograph, model = reader.read(picture(shape)), load_bundle(next(paths.models_dir().iterdir()).name)
    prediction = model.predict(radiograph.pixels)
    report = render_report(radiograph, prediction, model.info, prediction.label, "1", datetime.now(UTC))
    assert report.startswith(b"%PDF")


@pytest.mark.parametrize("shape", EXTREMES)
def test_predict_answers_an_extreme_shape(shape):
    predict(shape)


@settings(max_examples=3, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(shape=shapes())
def test_predict_answers_any_shape(shape):
    predict(shape)


def test_many_images_of_all_shapes_are_answered_at_once():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for shape in EXTREMES:
            archive.writestr("{}x{}.png".format(*shape), picture(shape))
    app = page("predict")
    app = settled(app.file_uploader[0].set_value([("strange.zip", buffer.getvalue(), "application/zip")]).run())
    end = time.monotonic() + 120
    while not app.dataframe and time.monotonic() < end:
        time.sleep(0.2)
        app = settled(app.run())
    assert len(app.dataframe[0].value) == len(EXTREMES)


@pytest.fixture(scope="module")
def strange(home) -> str:
    """A dataset of them."""
    for number, shape in enumerate(EXTREMES * 3):
        file = paths.data_dir() / "strange" / ("NORMAL", "PNEUMONIA")[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture(shape))
    return "strange"


@pytest.mark.parametrize("name", ["dataset", "train", "evaluate", "tour"])
def test_a_dataset_of_all_shapes_is_shown_on_every_page(strange, name):
    app = page(name)
    for _ in range(8):  # of what works in the background
        time.sleep(0.5)
        app = settled(app.run())
    # The audit rightly calls it serious that the shape of these images tells their class.
    findings = audit.audit_dataset(dataset.open_dataset(paths.data_dir() / strange)).findings if app.error else ()
    assert {box.value for box in app.error} <= {escape_markdown(finding.sentence) for finding in findings}
