"""The Predict page with the shipped models, without a browser."""

import hashlib
import importlib.resources
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from covid_cnn import bundle, cards, evaluation, figures, imaging, paths, report, synthetic
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

    def counted(self, pixels, *crowd):
        asked.append(self.name)
        return predict_one(self, pixels, *crowd)

    monkeypatch.setattr(Bundle, "predict", counted)
    return asked


CLASSES = ("normal", "other pneumonia", "COVID-19")
OPENS = "efficientnet_lite0"  # without the default among them, the page opens with the first by name


@pytest.fixture
def three(home, monkeypatch) -> Callable[..., Path]:
    """A model of three classes as the only one. Its graph is a stand-in that gives every image these probabilities."""

    def make(probabilities: tuple[float, ...] = (0.1, 0.5, 0.4), known: bool = True, **info: object) -> Path:
        def graph(self: Bundle, threads: int | None = None) -> Callable[..., dict[str, np.ndarray]]:
            # Each class has its heat in a place of its own.
            answers = {
                "probabilities": np.array([probabilities], np.float32),
                "heatmaps": np.eye(3, dtype=np.float32)[None, None],
                "embedding": np.zeros((1, self._mean.size), np.float32),
            }
            return lambda image: answers

        monkeypatch.setattr(Bundle, "_load_graph", graph)
        shutil.rmtree(home / "models" / "notebook_cnn")
        folder = home / "models" / OPENS
        old = bundle.read_info(folder)
        info = {
            "classes": CLASSES,
            "decision": {"positive": "COVID-19", "threshold": 0.3, "chosen": "by hand"},
            "prediction_sets": {"method": "", "level": 0.9, "thresholds": [0.2, 0.2, 0.2], "chosen": "9 images"},
            "in_distribution": old["in_distribution"] | {"limit": 1e9 if known else 0.0},
            "sha256": hashlib.sha256((folder / bundle.GRAPH).read_bytes()).hexdigest(),
            **info,
        }
        cards.write(folder, old | info)
        return folder

    return make


def bars(app: AppTest) -> list[dict[str, float]]:
    """What each chart of probabilities shows: a bar for each class, and the thresholds that are marked in it."""
    shown = []
    for chart in app.get("vega_lite_chart"):
        tables = [pa.ipc.open_stream(dataset.data.data).read_all().to_pylist() for dataset in chart.proto.datasets]
        rows = [row for table in tables for row in table]
        shown.append(
            {row["class"]: row["probability"] for row in rows if "probability" in row}
            | {f"threshold of {row['class']}": row["threshold"] for row in rows if "threshold" in row}
        )
    return shown


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
    app = upload(show(predict_model="notebook_cnn"), drawn, TEXT)
    assert "notes.png is damaged or not an image" in told(app)
    assert len(pictures(app)) == 3 and len(app.metric) == 1
    table = app.dataframe[0].value
    assert list(table["Image"]) == ["drawn.png", "notes.png"]
    assert table["Label"][1] == "unreadable" and "not an image" in table["Note"][1]
    model = bundle.load("notebook_cnn")
    answer = model.predict(imaging.read(drawn[1]).pixels)
    assert answer.in_distribution and table["Label"][0] == answer.label
    assert np.allclose(table.loc[0, list(model.classes)].astype(float), answer.probabilities, atol=1e-6)

    app = upload(app, drawn)  # the page goes on
    assert not [error for error in app.error if "notes" in error.value]
    assert len(pictures(app)) == 3 and not app.dataframe


def test_two_uploads_of_one_name_are_both_answered(drawn):
    app = upload(show(), drawn, drawn)
    assert len(app.metric) == 1 and len(app.dataframe[0].value) == 2


def test_a_file_name_is_shown_as_text(drawn):
    name = "**b**_i_<img src=x>[a](b)$x$ :red[c] `d`.png"
    app = upload(show(), (name, drawn[1], "image/png"), (name, *TEXT[1:]))
    heading = next(text.value for text in app.markdown if text.value.startswith("##### "))
    assert re.sub(r"\\(.)", r"\1", heading) == f"##### {name}"
    assert f"{name} is damaged" in told(app)
    warning = next(box.value for box in app.warning if "could not be read" in box.value)
    for shown in (heading.removeprefix("##### "), warning.partition("\n- ")[2]):
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
    choices = bundle.load(OPENS).classes
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
    answer = bundle.load(OPENS).predict(chest.pixels)
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
    assert app.selectbox(key="predict_model").value == OPENS
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


# Three classes


def read_as(app: AppTest, reading: str) -> AppTest:
    return settled(app.button_group(key=f"predict_reading_{OPENS}").set_value(reading).run())


def test_three_classes_are_shown_with_the_rule_and_what_else_it_could_be(three):
    three()
    app = show(predict_sample="chest")
    assert app.metric[0].value == "COVID-19"
    assert bars(app) == [
        pytest.approx({"normal": 0.1, "other pneumonia": 0.5, "COVID-19": 0.4, "threshold of COVID-19": 0.3})
    ]
    told = captions(app)
    assert "reaches the decision threshold of 0.300, though other pneumonia is more probable, with 0.500." in told
    assert "**Could be other pneumonia or COVID\\-19.**" in [text.value for text in app.markdown]
    assert "at least 90 have their true class in such a set" in told
    assert not app.error and not app.expander


def test_the_same_answer_can_be_read_as_one_class_or_not(three, calls):
    three((0.45, 0.3, 0.25))
    app = show(predict_sample="chest")
    assert app.metric[0].value == "normal"
    app = read_as(app, "COVID-19 or not")
    assert app.metric[0].value == "not COVID-19"
    assert bars(app) == [pytest.approx({"not COVID-19": 0.75, "COVID-19": 0.25, "threshold of COVID-19": 0.3})]
    assert "0.250, stays below the decision threshold of 0.300." in captions(app)
    assert "**Could be COVID\\-19 or not.**" in [text.value for text in app.markdown]
    assert "what speaks for normal" in captions(app)  # heatmaps are of classes in both readings
    assert read_as(app, "All classes").metric[0].value == "normal"
    assert len(calls) == 1


def test_the_heatmap_of_each_of_three_classes_can_be_chosen(three):
    three()
    app = show(predict_sample="chest")
    overlays = set()
    for name in CLASSES:
        settled(app.button_group(key=f"predict_class_{OPENS}").set_value(name).run())
        assert f"what speaks for {name}" in captions(app)
        overlays.add(pictures(app)[1])
    assert len(overlays) == 3


def test_an_image_of_no_known_kind_gets_a_warning_first_and_no_label(three, drawn):
    three((0.0, 0.1, 0.9), known=False)
    app = show(predict_sample="leg")
    (warning,) = app.error
    assert "unlike those the model learned from" in warning.value and "not chest" in warning.value
    assert [box.value for box in app.warning] == [f"**{report.NOTICE}**"]
    order = types(app)
    assert order.index("error") < order.index("image") < order.index("metric")
    assert app.metric[0].value == "Not sure"
    (behind,) = app.expander
    assert behind.label == "What the model would answer anyway"
    assert bars(behind) == bars(app) == [pytest.approx({"normal": 0, "other pneumonia": 0.1, "COVID-19": 0.9})]
    assert len(behind.image) == 1
    shown = " ".join(text.value for text in (*app.markdown, *app.metric))
    assert "COVID" not in shown and "Could be" not in shown

    app = upload(app, drawn, TEXT)
    table = app.dataframe[0].value
    assert table["Label"].tolist() == ["not sure", "unreadable"]
    assert table[list(CLASSES)].isna().all(axis=None) and "Could be" not in table


def test_the_overview_follows_the_reading(three, drawn):
    three()
    app = upload(show(), drawn, drawn)
    table = app.dataframe[0].value
    assert table["Label"].tolist() == ["COVID-19"] * 2
    assert table["Could be"].tolist() == ["other pneumonia or COVID-19"] * 2
    table = read_as(app, "COVID-19 or not").dataframe[0].value
    assert table["Could be"].tolist() == ["COVID-19 or not"] * 2
    assert table["not COVID-19"].astype(float).tolist() == pytest.approx([0.6] * 2) and "normal" not in table


def test_two_classes_have_one_reading_and_no_set():
    app = show(predict_sample="chest")
    keys = {group.key for group in app.button_group}
    assert f"predict_class_{OPENS}" in keys and f"predict_reading_{OPENS}" not in keys
    assert not [text for text in app.markdown if "Could be" in text.value]


def test_the_evidence_stands_beside_the_model(three):
    columns = ["Source", "AUROC", "95 % interval", "ECE", "95 % interval"]
    table = {"columns": columns, "rows": [["_Euro|rad_", 0.65, "0.6 to 0.7", 0.1, "0 to 0.2"]]}
    three(evidence=[{"title": "Left out", "headline": "It fails elsewhere.", "table": table}, {"title": "Not chests"}])
    app = show()
    assert captions(app).startswith("It fails elsewhere.")
    (behind,) = app.expander
    assert [tab.label for tab in behind.tabs] == ["Left out", "Not chests"]
    assert behind.markdown[1].value == cards.table(columns, [[predict.shared.plain(str(c)) for c in table["rows"][0]]])
    assert r"| \_Euro\|rad\_ | 0\.65 |" in behind.markdown[1].value


def test_the_card_shows_its_diagram(three):
    labels, patients = np.arange(30) % 3, [str(i) for i in range(30)]
    folder = three(calibration=evaluation.calibration(labels, np.eye(3)[labels], 0.5, patients))
    assert (folder / cards.DIAGRAM).is_file()
    app = show()
    app = settled(next(button for button in app.button if button.label == "Model card").click().run())
    assert len(pictures(app)) == 1
    assert not [text for text in app.markdown if cards.DIAGRAM in text.value]
