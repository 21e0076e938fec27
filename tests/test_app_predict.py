"""The Predict page with the shipped models, without a browser."""

import importlib.resources
import re
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from covid_cnn import bundle, figures, imaging, paths, report, synthetic
from covid_cnn.app import predict
from covid_cnn.bundle import Bundle
from covid_cnn.samples import SAMPLES

TEXT = ("notes.png", b"Not an image, whatever its name says.\n", "image/png")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch, shipped_models) -> Path:
    """A home folder with the shipped models in it."""
    monkeypatch.setenv("COVID_CNN_HOME", str(tmp_path))
    for folder in shipped_models:
        shutil.copytree(folder, paths.models_dir() / folder.name)
    return tmp_path


@pytest.fixture(scope="module")
def drawn() -> tuple[str, bytes, str]:
    return "drawn.png", imaging.to_png(synthetic.draw(1, opacities=True, size=256)), "image/png"


@pytest.fixture(scope="module")
def leg() -> bytes:
    """The DICOM file of a leg that the package pydicom-data carries."""
    return (importlib.resources.files("data_store") / "data" / "RG3_UNCR.dcm").read_bytes()


@pytest.fixture
def calls(monkeypatch) -> list[str]:
    """The names of the models that are asked, a name for each time."""
    asked = []
    predict_one = Bundle.predict

    def counted(self, pixels):
        asked.append(self.name)
        return predict_one(self, pixels)

    monkeypatch.setattr(Bundle, "predict", counted)
    return asked


def show(**state) -> AppTest:
    """The page, with ``state`` in its session."""

    def page():
        from covid_cnn.app import predict

        predict.page()

    app = AppTest.from_function(page, default_timeout=120)
    for key, value in state.items():
        app.session_state[key] = value
    return settled(app.run())


def settled(app: AppTest) -> AppTest:
    assert not app.exception, app.exception[0].message
    return app


def upload(app: AppTest, *files: tuple[str, bytes, str]) -> AppTest:
    return settled(app.file_uploader[0].set_value(files).run())


def pictures(app: AppTest) -> list[str]:
    """The addresses of the pictures, which are made of their content: X-ray, overlay and what the network sees."""
    return [address for image in app.image for address in image.value]


def captions(app: AppTest) -> str:
    """All captions, without the backslashes that keep Markdown from reading them."""
    texts = [caption.value for caption in app.caption] + [text for image in app.image for text in image.captions]
    return re.sub(r"\\(.)", r"\1", "\n".join(texts))


def told(app: AppTest) -> str:
    return re.sub(r"\\(.)", r"\1", "\n".join(box.value for box in (*app.error, *app.warning)))


def types(app: AppTest) -> list[str]:
    return [element.type for element in app.main]


# Images


def test_without_an_image_it_asks_for_one():
    app = show()
    assert "Upload an X-ray" in app.info[0].value
    assert not app.image and not app.metric


@pytest.mark.parametrize("key", SAMPLES)
@pytest.mark.parametrize("name", ["efficientnet_lite0", "notebook_cnn"])
def test_every_sample_is_answered_by_every_model(key, name):
    app = show(predict_sample=key, predict_model=name)
    model = bundle.load(name)
    answer = model.predict(SAMPLES[key].read().pixels)
    assert app.metric[0].value == (answer.label if answer.in_distribution else "Not sure")
    assert (report.sentence(answer) in captions(app)) == answer.in_distribution
    assert len(pictures(app)) == 3
    assert f"what speaks for {answer.label}" in captions(app)
    assert report.NOTICE in app.warning[0].value


def test_a_leg_is_met_with_a_warning_before_anything_else_and_no_label():
    app = show(predict_sample="leg")
    assert app.metric[0].value == "Not sure"
    assert "unlike those the model learned from" in app.error[0].value
    assert "not chest" in told(app)
    order = types(app)
    assert order.index("error") < order.index("image") < order.index("metric")


def test_a_drawn_image_is_called_drawn():
    assert predict.shared.SYNTHETIC in [text.value for text in show(predict_sample="clear").markdown]
    assert predict.shared.SYNTHETIC not in [text.value for text in show(predict_sample="chest").markdown]


def test_uploads_are_answered_beside_one_that_cannot_be_read(drawn):
    app = upload(show(), drawn, TEXT)
    assert "notes.png is damaged or not an image" in told(app)
    assert len(pictures(app)) == 3 and len(app.metric) == 1
    table = app.dataframe[0].value
    assert list(table["Image"]) == ["drawn.png", "notes.png"]
    assert table["Label"][1] == "unreadable" and "not an image" in table["Note"][1]
    model = bundle.load()
    answer = model.predict(imaging.read(drawn[1]).pixels)
    assert np.allclose(table.loc[0, list(model.classes)].astype(float), answer.probabilities, atol=1e-6)

    app = upload(app, drawn)  # the page goes on
    assert not [error for error in app.error if "notes" in error.value]
    assert len(pictures(app)) == 3 and not app.dataframe


def test_two_uploads_of_one_name_are_both_answered(drawn):
    app = upload(show(), drawn, drawn)
    assert len(app.metric) == 2 and len(app.dataframe[0].value) == 2


def test_a_file_name_is_shown_as_text(drawn):
    name = "**b**_i_<img src=x>[a](b)$x$ :red[c] `d`.png"
    app = upload(show(), (name, drawn[1], "image/png"), (name, *TEXT[1:]))
    heading = next(text.value for text in app.markdown if text.value.startswith("##### "))
    assert re.sub(r"\\(.)", r"\1", heading) == f"##### {name}"
    error = app.error[-1].value
    assert name in re.sub(r"\\(.)", r"\1", error)
    for shown in (heading.removeprefix("##### "), error):
        assert not re.search(r"(?<!\\)[*_<\[$:`]", shown)


def test_an_upload_comes_before_a_sample(drawn):
    app = upload(show(predict_sample="chest"), drawn)
    assert "##### drawn\\.png" in [text.value for text in app.markdown]
    assert len(app.metric) == 1


def test_an_image_of_the_dataset_page_can_be_cleared(home, drawn):
    path = home / "a.png"
    path.write_bytes(drawn[1])
    app = show(predict_path=str(path))
    assert "##### a\\.png" in [text.value for text in app.markdown]
    clear = next(button for button in app.button if button.label == "Clear the image from the dataset")
    assert not settled(clear.click().run()).image


def test_an_image_of_the_dataset_page_that_is_gone_is_a_sentence(home):
    app = show(predict_path=str(home / "gone.png"))
    assert "gone.png" in told(app) and not app.image


def test_no_image_is_written_to_the_disk(home, drawn, leg, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(home / "temporary"))
    (home / "temporary").mkdir()
    app = show()
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
    upload(app, drawn, ("leg.dcm", leg, "application/dicom"), TEXT)
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before


# Settings


def test_another_class_opacity_or_colour_map_changes_the_overlay_alone(calls):
    app = show(predict_sample="chest")
    seen = [pictures(app)]
    choices = bundle.load().classes
    for name in choices:
        settled(app.button_group(key="predict_class_efficientnet_lite0").set_value(name).run())
        assert f"what speaks for {name}" in captions(app)
    seen.append(pictures(app))
    settled(app.slider[0].set_value(0.9).run())
    seen.append(pictures(app))
    settled(app.selectbox(key="predict_colours").set_value("Jet").run())
    seen.append(pictures(app))
    xrays, overlays, inputs = zip(*seen, strict=True)
    assert len(set(xrays)) == len(set(inputs)) == 1
    assert len(set(overlays)) >= 3  # the last class may be the one that was shown at first
    assert calls == ["efficientnet_lite0"]  # once, and not for each setting


def test_the_chosen_model_answers(calls):
    app = show(predict_sample="chest")
    settled(app.selectbox(key="predict_model").set_value("notebook_cnn").run())
    assert calls == ["efficientnet_lite0", "notebook_cnn"]
    height, width = bundle.load("notebook_cnn").input_size
    assert f"{width} x {height} px, grey" in captions(app)


def test_the_model_card_opens():
    app = show()
    app = settled(next(button for button in app.button if button.label == "Model card").click().run())
    assert any("must not be used to diagnose" in text.value for text in app.markdown)


def test_what_is_downloaded_is_what_is_shown(monkeypatch):
    made = {}
    monkeypatch.setattr(st, "download_button", lambda label, data, *args, **more: made.update({label: data}))
    show(predict_sample="chest", predict_opacity=0.9)
    png, pdf = made["Overlay (PNG)"](), made["Report (PDF)"]()
    chest = SAMPLES["chest"].read()
    answer = bundle.load().predict(chest.pixels)
    heatmap = answer.heatmaps[..., answer.classes.index(answer.label)]
    overlay = figures.overlay(figures.fit_within(chest.pixels), heatmap, 0.9, figures.DEFAULT_COLOUR_MAP)
    assert png == imaging.to_png(overlay)
    assert pdf.startswith(b"%PDF-") and len(pdf) > 10_000


# Models


def test_without_a_model_it_shows_the_way_to_one(home):
    shutil.rmtree(home / "models")
    app = show(predict_sample="chest")
    assert "Train one" in app.info[0].value
    assert [button.label for button in app.button] == ["Train a model"]


def test_a_model_that_is_gone_gives_way_to_the_default(home):
    app = show(predict_sample="chest", predict_model="deleted")
    assert app.selectbox(key="predict_model").value == bundle.DEFAULT
    assert app.metric


def test_a_damaged_model_is_a_sentence_and_the_others_work(home):
    (home / "models" / "notebook_cnn" / bundle.INFO).write_text("{")
    app = show(predict_sample="chest")
    assert "model notebook_cnn is damaged" in told(app)
    assert app.selectbox(key="predict_model").options == ["efficientnet_lite0"]
    assert app.metric


def test_a_damaged_graph_is_a_sentence_and_the_others_work(home):
    graph = home / "models" / "efficientnet_lite0" / bundle.GRAPH
    graph.write_bytes(graph.read_bytes()[:-1])
    app = show(predict_sample="chest")
    assert "graph of model efficientnet_lite0" in told(app) and not app.metric
    app = settled(app.selectbox(key="predict_model").set_value("notebook_cnn").run())
    assert not [error for error in app.error if "graph" in error.value] and app.metric
