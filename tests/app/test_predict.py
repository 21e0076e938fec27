"""The Predict page with the shipped models, without a browser."""

import base64
import hashlib
import html
import importlib.resources
import io
import json
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import cases
import msgspec
import numpy as np
import pydicom
import pytest
import streamlit as st
from pages import settled
from PIL import Image
from streamlit.testing.v1 import AppTest
from uploads import DEEP, dicom

from covid_cnn.app.predict import viewer as predict_viewer
from covid_cnn.app.shared import elements
from covid_cnn.common import paths
from covid_cnn.data import synthetic
from covid_cnn.data.samples import FILM_KEYS, SAMPLES
from covid_cnn.evaluation import calibration, leakage
from covid_cnn.images import ops, reader
from covid_cnn.images.radiograph import Radiograph, Values
from covid_cnn.models import bundle
from covid_cnn.models.bundle import Bundle
from covid_cnn.models.info import ModelInfo
from covid_cnn.reports import card, pdf, wording

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
    return "drawn.png", ops.to_png(synthetic.draw_radiograph(1, opacities=True, size=256)), "image/png"


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
        old = msgspec.to_builtins(bundle.read_info(folder))
        info = {
            "classes": CLASSES,
            "decision": {"positive": "COVID-19", "threshold": 0.3, "chosen": "by hand"},
            "prediction_sets": {"method": "", "level": 0.9, "thresholds": [0.2, 0.2, 0.2], "chosen": "9 images"},
            "in_distribution": old["in_distribution"] | {"limit": 1e9 if known else 0.0},
            "sha256": hashlib.sha256((folder / bundle.GRAPH_FILE).read_bytes()).hexdigest(),
            **info,
        }
        card.write_card(folder, msgspec.convert(old | info, ModelInfo))
        return folder

    return make


def cards(app: AppTest) -> list[str]:
    """The cards with an answer, as HTML."""
    bodies = [element.proto.body for element in app.get("html")]
    return [body for body in bodies if 'aria-label="Answer"' in body]


def verdicts(app: AppTest) -> list[str]:
    return [html.unescape(re.search("<h2>(.*?)</h2>", card)[1]) for card in cards(app)]


def bars(app: AppTest) -> list[dict[str, float]]:
    """What each table of bars shows: the probability of each class, and the thresholds that are marked in it."""
    bodies = [element.proto.body for element in app.get("html")]
    shown = []
    for table in re.findall("<table.*?</table>", "".join(bodies)):
        shown.append({})
        for row in re.findall("<tr.*?</tr>", table):
            name = html.unescape(re.search("<th[^>]*>(.*?)</th>", row)[1])
            shown[-1][name] = float(re.search('class="track" title="([0-9.]+)"', row)[1])
            if mark := re.search("decision threshold ([0-9.]+)", row):
                shown[-1][f"threshold of {name}"] = float(mark[1])
    return shown


def show(**state) -> AppTest:
    """The page, with ``state`` in its session."""

    def page():
        from covid_cnn.app.predict import page as predict_page

        predict_page.draw_page()

    app = AppTest.from_function(page, default_timeout=120)
    for key, value in state.items():
        app.session_state[key] = value
    return settled(app.run())


def upload(app: AppTest, *files: tuple[str, bytes, str]) -> AppTest:
    return settled(app.file_uploader[0].set_value(files).run())


def pictures(app: AppTest) -> list[str]:
    """The addresses of the pictures, which are made of their content; of one image, what the network sees."""
    return [address for image in app.image for address in image.value]


def viewers(app: AppTest) -> list[dict]:
    """What each viewer is handed."""
    return [json.loads(component.proto.json) for component in app.get("bidi_component")]


def unpacked(text: str, dtype: str) -> np.ndarray:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype)


def unpacked_rows(text: str, width: int, dtype: str = "u1") -> np.ndarray:
    """An image that came as what each row differs from the one above."""
    differences = unpacked(text, dtype).reshape(-1, width)
    return np.cumsum(differences, axis=0, dtype=dtype)


def pixel_steps(viewer: dict) -> np.ndarray:
    return unpacked_rows(viewer["pixels"], viewer["width"], {1: "u1", 2: "<u2"}[viewer["bytes"]])


def values(viewer: dict) -> np.ndarray:
    """What the viewer says of each pixel."""
    return unpacked(viewer["measured"], "<f8")[pixel_steps(viewer)]


def greys(viewer: dict) -> np.ndarray:
    """What the viewer shows at first, 0..1, worked out as viewer.js does."""
    preset = viewer["presets"][viewer["preset"]]
    if preset["greys"]:
        shown = unpacked(preset["greys"], "u1")[pixel_steps(viewer)] / 255
    elif preset["function"] == "SIGMOID":
        shown = 0.5 + 0.5 * np.tanh(2 * (values(viewer) - preset["center"]) / preset["width"])
    else:
        half = 0.5 if preset["function"] == "LINEAR" else 0
        shown = (values(viewer) - preset["center"] + half) / (preset["width"] - 2 * half) + 0.5
    return 1 - shown.clip(0, 1) if viewer["inverted"] else shown.clip(0, 1)


def shown_class(viewer: dict) -> str:
    return viewer["maps"][viewer["first"]]["name"]


def captions(app: AppTest) -> str:
    """All captions, without the backslashes that keep Markdown from reading them."""
    texts = [caption.value for caption in app.caption] + [text for image in app.image for text in image.captions]
    return re.sub(r"\\(.)", r"\1", "\n".join(texts))


def texts(app: AppTest) -> str:
    return re.sub(r"\\(.)", r"\1", "\n".join(text.value for text in app.markdown))


def told(app: AppTest) -> str:
    return re.sub(r"\\(.)", r"\1", "\n".join(box.value for box in (*app.error, *app.warning)))


# Images


def test_without_an_image_it_asks_for_one():
    app = show()
    assert app.file_uploader and not cards(app) and not viewers(app)
    assert len(app.image) == len(FILM_KEYS) - 1


@pytest.mark.parametrize("key", SAMPLES)
@pytest.mark.parametrize("name", ["efficientnet_lite0", "notebook_cnn"])
def test_every_sample_is_answered_by_every_model(key, name):
    app = show(predict_sample=key, predict_model=name)
    model = bundle.load_bundle(name)
    answer = model.predict(SAMPLES[key].read().pixels)
    assert verdicts(app) == [wording.verdict(answer)]
    assert (wording.decision_sentence(answer) in texts(app)) == answer.in_distribution
    film = SAMPLES[key].provenance
    assert not film or all(part in captions(app) for part in (film.truth, film.source, film.licence, film.credit))
    (viewer,) = viewers(app)
    assert shown_class(viewer) == answer.label and [each["name"] for each in viewer["maps"]] == list(answer.classes)
    assert viewer["show"] == ("colours" if answer.in_distribution else "off")
    assert wording.NOTICE in app.warning[0].value


def test_a_leg_is_given_no_answer_and_no_bars():
    app = show(predict_sample="leg")
    assert verdicts(app) == ["No chest X-ray: no answer"]
    (card,) = cards(app)
    assert wording.UNKNOWN_KIND_WHY in card and "of 100 answers" not in card and "<table" not in card
    assert "not chest" in told(app)


def test_an_image_that_was_learned_from_says_so(drawn, monkeypatch):
    shown = cards(upload(show(predict_model="notebook_cnn"), drawn))[0]
    assert "of 100 were right" in shown and "training" not in shown
    monkeypatch.setattr(leakage, "is_training_image", lambda radiograph, learned: True)
    shown = cards(upload(show(predict_model="notebook_cnn"), drawn))[0]
    assert wording.LEARNED_FROM in shown and "of 100 answers" not in shown


def test_no_clinician_is_shown_a_command_line():
    app = show(predict_sample="healthy_adult", predict_what_if=True)
    shown = texts(app) + captions(app) + told(app) + " ".join(box.help or "" for box in app.button)
    assert "python -m" not in shown


def test_next_and_previous_open_the_neighbours():
    app = show(predict_sample="covid_severe")
    assert next(button for button in app.button if button.key == "Previous image").disabled
    app = settled(app.button(key="Next image").click().run())
    assert "**A healthy adult**" in texts(app)
    app = settled(app.button(key="Previous image").click().run())
    assert "**COVID-19, severe**" in texts(app)


def test_a_long_name_is_elided_from_the_left_and_the_modality_and_the_size_are_shown():
    name = "1.2.840.113619.2.5.1762583153.215519.978957063.78.dcm"
    app = upload(show(), (name, dicom(DEEP, Modality="CR"), "application/dicom"))
    heading = next(text for text in app.markdown if "978957063" in text.value)
    assert re.sub(r"\\(.)", r"\1", heading.value) == f"**{elements.elide_left(name)}**" and "…" in heading.value
    assert re.sub(r"\\(.)", r"\1", heading.help) == name
    height, width = DEEP.shape
    assert f"CR, {width} x {height} px" in captions(app)


def test_a_drawn_image_is_called_drawn():
    assert elements.SYNTHETIC in [text.value for text in show(predict_sample="clear").markdown]
    assert elements.SYNTHETIC not in [text.value for text in show(predict_sample="chest").markdown]


def test_uploads_are_answered_beside_one_that_cannot_be_read(drawn):
    app = upload(show(predict_model="notebook_cnn"), drawn, TEXT)
    assert "notes.png is damaged or not an image" in told(app)
    assert len(viewers(app)) == len(cards(app)) == 1
    table = app.dataframe[0].value
    assert list(table["Image"]) == ["drawn.png", "notes.png"]
    assert table["Answer"][1] == "unreadable" and "not an image" in table["Note"][1]
    model = bundle.load_bundle("notebook_cnn")
    answer = model.predict(reader.read(drawn[1]).pixels)
    assert answer.in_distribution and table["Answer"][0] == answer.label
    assert np.allclose(table.loc[0, list(model.classes)].astype(float), answer.probabilities, atol=1e-6)

    app = upload(app, drawn)  # the page goes on
    assert not [error for error in app.error if "notes" in error.value]
    assert len(viewers(app)) == 1 and not app.dataframe


def test_two_uploads_of_one_name_are_both_answered(drawn):
    app = upload(show(), drawn, drawn)
    assert len(cards(app)) == 1 and len(app.dataframe[0].value) == 2


def test_a_file_name_is_shown_as_text(drawn):
    name = "**b**_i_<img src=x>[a](b)$x$ :red[c] `d`.png"
    app = upload(show(), (name, drawn[1], "image/png"), (name, *TEXT[1:]))
    heading = next(text.value for text in app.markdown if text.value.startswith("**") and "src" in text.value)
    assert re.sub(r"\\(.)", r"\1", heading) == f"**{elements.elide_left(name)}**"
    assert f"{name} is damaged" in told(app)
    warning = next(box.value for box in app.warning if "could not be read" in box.value)
    for shown in (heading.removeprefix("**").removesuffix("**"), warning.partition("\n- ")[2]):
        assert not re.search(r"(?<!\\)[*_<\[$:`]", shown)


def test_an_upload_comes_before_a_sample(drawn):
    app = upload(show(predict_sample="chest"), drawn)
    assert "**drawn\\.png**" in [text.value for text in app.markdown]
    assert len(cards(app)) == 1


def test_an_image_of_the_dataset_page_can_be_cleared(home, drawn):
    path = home / "a.png"
    path.write_bytes(drawn[1])
    app = show(predict_path=str(path))
    assert "**a\\.png**" in [text.value for text in app.markdown]
    clear = next(button for button in app.button if button.label == "Clear the image from the dataset")
    assert not viewers(settled(clear.click().run()))


def test_an_image_of_the_dataset_page_that_is_gone_is_a_sentence(home):
    app = show(predict_path=str(home / "gone.png"))
    assert "gone.png" in told(app) and not viewers(app)


def test_no_image_is_written_to_the_disk(home, drawn, leg, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(home / "temporary"))
    (home / "temporary").mkdir()
    app = show()
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
    upload(app, drawn, ("leg.dcm", leg, "application/dicom"), TEXT)
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before


# Settings


def test_the_viewer_is_handed_the_image_and_its_heat(drawn):
    app = upload(show(), drawn)
    (viewer,) = viewers(app)
    radiograph = reader.read(drawn[1])
    assert np.allclose(greys(viewer), radiograph.pixels, atol=1e-6)
    assert (viewer["full_width"], viewer["full_height"], viewer["every"]) == (256, 256, 1)
    assert (viewer["unit"], viewer["presets"][0]["center"], viewer["presets"][0]["width"]) == ("of 255", 128, 256)
    answer = bundle.load_bundle(OPENS).predict(radiograph.pixels)
    for k, each in enumerate(viewer["maps"]):
        heat = unpacked(each["heat"], "u1").reshape(viewer["heat_height"], viewer["heat_width"]) / 255
        assert np.allclose(heat, ops.upsample(answer.heatmaps[..., k], heat.shape), atol=1 / 255)
    assert list(viewer["palettes"]) == list(ops.COLOUR_MAPS)
    assert viewer["notice"] == wording.NOTICE


TABLE = pydicom.Dataset()
TABLE.LUTDescriptor = [4096, 0, 16]
TABLE.add_new("LUTData", "US", [min(65535, 20 * entry) for entry in range(4096)])


@pytest.mark.parametrize(
    ("dtype", "tags", "unit"),
    [
        (np.uint16, {"WindowCenter": [2048, 900], "WindowWidth": [4096, 300]}, "stored value"),
        (np.uint16, {"WindowCenter": 900, "WindowWidth": 300, "VOILUTFunction": "LINEAR_EXACT"}, "stored value"),
        (np.uint16, {"WindowCenter": 900, "WindowWidth": 300, "VOILUTFunction": "SIGMOID"}, "stored value"),
        (np.uint16, {"PhotometricInterpretation": "MONOCHROME1"}, "stored value"),
        (np.uint16, {"PixelPaddingValue": 100}, "stored value"),
        (np.uint16, {"VOILUTSequence": [TABLE]}, "stored value"),
        (np.uint16, {"ModalityLUTSequence": [TABLE]}, "rescaled value"),
        (np.uint16, {"RescaleSlope": 0.25, "RescaleIntercept": 7, "RescaleType": "US"}, "rescaled value"),
        (np.int16, {"RescaleSlope": 1, "RescaleIntercept": -1024, "Modality": "CT"}, "HU"),
        (np.int16, {"RescaleSlope": -2, "RescaleIntercept": 5, "RescaleType": "HU"}, "HU"),
        (np.uint8, {"WindowCenter": 100, "WindowWidth": 50}, "stored value"),
    ],
)
def test_the_viewer_has_all_values_of_a_dicom_file_and_shows_them_as_the_model_sees_them(dtype, tags, unit):
    stored = DEEP.astype(dtype)
    radiograph = reader.read(dicom(stored, **tags))
    viewer = predict_viewer.packed(radiograph)
    assert viewer["unit"] == unit and unit in predict_viewer.map_facts(radiograph)
    expected = stored * float(tags.get("RescaleSlope", 1)) + tags.get("RescaleIntercept", 0)
    if "ModalityLUTSequence" in tags:
        expected = np.minimum(65535, 20.0 * stored)
    np.testing.assert_array_equal(values(viewer), expected)
    np.testing.assert_allclose(greys(viewer), radiograph.pixels, atol=1 / 255)
    assert [preset["name"] for preset in viewer["presets"]][: len(radiograph.windows)] == list(radiograph.windows)
    assert len(viewer["presets"]) > 1  # keys 1 to 9 have something to choose


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_the_viewer_has_all_values_of_a_deep_tiff(dtype):
    file = io.BytesIO()
    Image.fromarray(DEEP.astype(dtype)).save(file, format="TIFF")
    radiograph = reader.read(file.getvalue())
    viewer = predict_viewer.packed(radiograph)
    np.testing.assert_allclose(values(viewer), DEEP, atol=0.05 if dtype is np.float32 else 0)
    np.testing.assert_allclose(greys(viewer), radiograph.pixels, atol=1e-4)


@pytest.mark.parametrize(
    "case", [case for case in cases.every_case() if case.right is not None], ids=lambda case: case.name
)
def test_the_viewer_shows_what_is_often_misread_as_the_model_sees_it(case):
    radiograph = reader.read(case.data, case.name)
    if max(radiograph.pixels.shape) <= predict_viewer.LONGEST:
        np.testing.assert_allclose(greys(predict_viewer.packed(radiograph)), radiograph.pixels, atol=0.006)


def test_integers_of_many_bits_are_rounded_and_a_blank_image_stays_black():
    wide = Radiograph(np.zeros((2, 2), np.float32), "", "", values=Values(np.array([[0, 10**9], [5 * 10**8, 7]])))
    np.testing.assert_allclose(values(predict_viewer.packed(wide)), wide.values.stored, atol=10**9 / 65535)
    black = np.zeros((70, 90), np.float32)
    for values_behind in (None, Values(np.full((70, 90), 8, np.uint16))):
        assert not greys(predict_viewer.packed(Radiograph(black, "", "", values=values_behind))).any()


def test_of_a_large_image_every_second_pixel_is_shown_as_it_is():
    stored = np.random.default_rng(0).integers(0, 4096, (2100, 30)).astype(np.uint16)
    viewer = predict_viewer.packed(reader.read(dicom(stored)))
    assert (viewer["every"], viewer["full_height"]) == (2, 2100)
    np.testing.assert_array_equal(values(viewer), stored[1::2, 1::2])


def test_a_file_name_never_reaches_the_viewer(drawn):
    app = upload(show(), ("Secret_Name.png", *drawn[1:]))
    assert "Secret" not in app.get("bidi_component")[0].proto.json


def test_frames_and_windows_can_be_chosen_where_there_are_several(calls, drawn):
    first = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64) % 200
    file = io.BytesIO()
    Image.fromarray(first).save(file, format="TIFF", save_all=True, append_images=[Image.fromarray(255 - first)] * 2)
    app = upload(show(), ("pages.tif", file.getvalue(), "image/tiff"))
    (frame,) = app.number_input
    assert (frame.min, frame.max, frame.value) == (1, 3, 1) and "only the first is read" in told(app)
    one = viewers(app)[0]["pixels"]
    app = settled(frame.set_value(2).run())
    assert "only page 2 is read" in told(app) and viewers(app)[0]["pixels"] != one
    assert len(calls) == 2

    app = show(predict_sample="chest")
    assert not app.number_input
    window = next(box for box in app.selectbox if "Window" in box.label)
    before, seen = viewers(app)[0], pictures(app)
    names = [option.removeprefix("The model sees: ") for option in window.options]
    app = settled(window.set_value(names[1]).run())
    after = viewers(app)[0]
    assert (before["preset"], after["preset"]) == (0, 1) and pictures(app) != seen
    assert [preset["name"] for preset in after["presets"]] == names
    assert after["pixels"] == before["pixels"]  # the same values, shown in another way
    assert not [box for box in upload(show(), drawn).selectbox if "Window" in box.label]


def test_models_are_compared_with_one_click(calls, home):
    shutil.copytree(home / "models" / "notebook_cnn", home / "models" / "mine")
    app = show(predict_sample="leg")
    assert calls == [OPENS]
    (others,) = (group for group in app.button_group if group.label == "Ask as well")
    assert others.options == ["mine", r"notebook\_cnn"]
    app = settled(others.set_value(["notebook_cnn"]).run())
    assert calls == [OPENS, "notebook_cnn"]
    leg = SAMPLES["leg"].read().pixels
    answers = [bundle.load_bundle(name).predict(leg) for name in (OPENS, "notebook_cnn")]
    told = [wording.verdict(answer) for answer in answers]
    assert verdicts(app) == [told[0], *told]
    assert len(bars(app)) == 3 and len(pictures(app)) == 3
    (viewer,) = viewers(app)
    assert {each["model"] for each in viewer["maps"]} == {OPENS, "notebook_cnn"}
    beside = viewer["maps"][viewer["second"]]
    assert (beside["model"], beside["name"]) == ("notebook_cnn", answers[1].label)
    app.session_state["predict_sample"] = "inverted"
    assert len(verdicts(settled(app.run()))) == 3  # and so for the next one
    app = settled(app.selectbox(key="predict_model").set_value("notebook_cnn").run())
    assert len(verdicts(app)) == 1  # nor is one asked beside itself


def test_every_number_has_its_definition_behind_it(three):
    three()
    app = show(predict_sample="chest")
    formulas = [latex.value.strip("$\n ") for latex in app.get("latex")] or [text.value for text in app.markdown]
    for key in ("probability", "threshold", "prediction_set", "in_distribution", "grad_cam"):
        term = wording.read_terms()[key]
        assert term.plain in [caption.value for caption in app.caption]
        assert term.paper in [caption.value for caption in app.caption]
        assert any(term.formula in formula for formula in formulas)


def test_a_network_of_ones_own_is_not_called_calibrated_nor_occlusion_grad_cam(three):
    three(temperature=1, plain={"gain": [1], "offset": [0], "last": "", "output": 0, "why": "It has a loop."})
    captions, terms = [caption.value for caption in show(predict_sample="chest").caption], wording.read_terms()
    for key, told in {"uncalibrated": True, "probability": False, "occlusion": True, "grad_cam": False}.items():
        assert (terms[key].plain in captions) is told


def test_the_chosen_model_answers(calls):
    app = show(predict_sample="chest")
    settled(app.selectbox(key="predict_model").set_value("notebook_cnn").run())
    assert calls == ["efficientnet_lite0", "notebook_cnn"]
    height, width = bundle.load_bundle("notebook_cnn").input_size
    assert f"{width} x {height} px, grey" in captions(app)


def test_the_model_card_opens():
    app = show(predict_sample="healthy_adult")
    app = settled(next(button for button in app.button if button.label == "Model card").click().run())
    assert any("must not be used to diagnose" in text.value for text in app.markdown)


def test_the_report_comes_in_two_forms_and_shows_the_chosen_class(monkeypatch):
    made, shown = {}, []
    render = pdf.render_report
    monkeypatch.setattr(st, "download_button", lambda label, data, *args, **more: made.update({label: data}))
    monkeypatch.setattr(pdf, "render_report", lambda *given: shown.append(given[3]) or render(*given))
    monkeypatch.setattr(predict_viewer, "show_viewer", lambda *args, **more: predict_viewer.Shown(OPENS, "NORMAL"))
    show(predict_sample="chest")
    assert made["Report (PDF)"]().startswith(b"%PDF-")
    assert json.loads(made["Report (JSON)"]())["notice"] == wording.NOTICE
    # A heatmap of another model, shown beside it, is not this model's.
    monkeypatch.setattr(
        predict_viewer, "show_viewer", lambda *args, **more: predict_viewer.Shown("notebook_cnn", "NORMAL")
    )
    show(predict_sample="chest")
    made["Report (PDF)"]()
    assert shown == ["NORMAL", bundle.load_bundle(OPENS).predict(SAMPLES["chest"].read().pixels).label]


def test_the_other_pictures_follow_how_heat_is_drawn_in_the_viewer(monkeypatch):
    drawn = []
    overlay = ops.overlay
    monkeypatch.setattr(ops, "overlay", lambda *given: drawn.append(given[2:]) or overlay(*given))
    monkeypatch.setattr(
        predict_viewer, "show_viewer", lambda *args, **more: predict_viewer.Shown(OPENS, "NORMAL", 0.9, "Viridis")
    )
    app = show(predict_sample="opacities", predict_compare=["notebook_cnn"])
    app = settled(app.button(key="what if").click().run())
    settled(next(group for group in app.button_group if "add" in (group.key or "")).set_value("mirror").run())
    assert len(drawn) > 4 and set(drawn) == {(0.9, "Viridis")}


# Models


def test_without_a_model_it_shows_the_way_to_one(home):
    shutil.rmtree(home / "models")
    app = show(predict_sample="chest")
    assert "Train one" in app.info[0].value
    assert [button.label for button in app.button] == ["Train a model"]


def test_a_model_that_is_gone_gives_way_to_the_default(home):
    app = show(predict_sample="chest", predict_model="deleted")
    assert app.selectbox(key="predict_model").value == OPENS
    assert cards(app)


def test_a_damaged_model_is_a_sentence_and_the_others_work(home):
    (home / "models" / "notebook_cnn" / bundle.INFO_FILE).write_text("{")
    app = show(predict_sample="chest")
    assert "model notebook_cnn is damaged" in told(app)
    assert app.selectbox(key="predict_model").options == ["efficientnet_lite0"]
    assert cards(app)


def test_a_damaged_graph_is_a_sentence_and_the_others_work(home):
    graph = home / "models" / "efficientnet_lite0" / bundle.GRAPH_FILE
    graph.write_bytes(graph.read_bytes()[:-1])
    app = show(predict_sample="chest")
    assert "graph of model efficientnet_lite0" in told(app) and not cards(app)
    app = settled(app.selectbox(key="predict_model").set_value("notebook_cnn").run())
    assert not [error for error in app.error if "graph" in error.value] and cards(app)


# Three classes


def test_three_classes_are_shown_with_the_rule_and_what_else_it_could_be(three):
    three()
    app = show(predict_sample="chest")
    assert verdicts(app) == ["Not sure: other pneumonia or COVID-19 (50 %, 40 %)"]
    assert 'class="named"><th scope="row">COVID-19' in cards(app)[0]
    assert 'class="other"><th scope="row">normal' in cards(app)[0]
    assert bars(app) == [
        pytest.approx({"normal": 0.1, "other pneumonia": 0.5, "COVID-19": 0.4, "threshold of COVID-19": 0.3})
    ]
    told = texts(app)
    assert "reaches the decision threshold of 0.300, though other pneumonia is more probable, with 0.500." in told
    assert "**Could be other pneumonia or COVID-19.**" in told
    assert "at least 90 have their true class in such a set" in told
    assert not app.error and [door.label for door in app.expander] == ["How good is it?", "The numbers"]


def test_an_image_of_no_known_kind_gets_no_label_anywhere(three, drawn):
    three((0.0, 0.1, 0.9), known=False)
    app = show(predict_sample="leg")
    assert verdicts(app) == [wording.UNKNOWN_KIND] and "COVID" not in cards(app)[0]
    assert not app.error and "not chest" in told(app)
    behind = next(door for door in app.expander if door.label == "What the model would answer anyway")
    assert bars(behind) == bars(app) == [pytest.approx({"normal": 0, "other pneumonia": 0.1, "COVID-19": 0.9})]
    assert viewers(app)[0]["show"] == "off"
    shown = " ".join(text.value for text in app.markdown)
    assert "COVID" not in shown and "Could be" not in shown

    app = upload(app, drawn, TEXT)
    table = app.dataframe[0].value
    assert table["Answer"].tolist() == ["no answer", "unreadable"]
    assert table[list(CLASSES)].isna().all(axis=None)


def test_the_overview_tells_the_set(three, drawn):
    three()
    table = upload(show(), drawn, drawn).dataframe[0].value
    assert table["Answer"].tolist() == ["other pneumonia or COVID-19"] * 2
    assert table["normal"].astype(float).tolist() == pytest.approx([0.1] * 2)


def test_the_row_itself_opens_its_image_and_next_follows(three, drawn):
    three()
    app = upload(show(), drawn, ("other.png", *drawn[1:]))
    assert "**drawn.png**" in texts(app)
    app = settled(app.button(key="Next image").click().run())
    assert "**other.png**" in texts(app) and app.button(key="Next image").disabled
    app.session_state["predict_table"] = {"selection": {"rows": [], "columns": [], "cells": [(0, "Image")]}}
    assert "**drawn.png**" in texts(settled(app.run()))


def test_two_classes_have_no_set():
    app = show(predict_sample="chest")
    assert not [text for text in app.markdown if "Could be" in text.value]


def test_the_viewer_is_handed_the_enhanced_picture_only_when_it_is_asked_for(drawn):
    app = upload(show(), drawn)
    assert "enhanced" not in viewers(app)[0]
    pixels = reader.read(drawn[1]).pixels
    picture = unpacked_rows(predict_viewer.enhanced(reader.read(drawn[1])), pixels.shape[1])
    tile = np.s_[64:96, 64:96]
    assert picture[tile].std() > 255 * pixels[tile].std()  # more contrast from place to place


def test_the_ruler_knows_the_spacing_of_a_dicom_file():
    packed = predict_viewer.packed(reader.read(dicom(DEEP, ImagerPixelSpacing=[0.2, 0.1])))
    assert (packed["spacing"], packed["at_detector"]) == ((0.2, 0.1), True)
    assert predict_viewer.packed(reader.read(dicom(DEEP)))["spacing"] is None


def test_the_evidence_stands_beside_the_model(three):
    columns = ["Source", "AUROC", "95 % interval", "ECE", "95 % interval"]
    table = {"columns": columns, "rows": [["_Euro|rad_", 0.65, "0.6 to 0.7", 0.1, "0 to 0.2"]]}
    three(evidence=[{"title": "Left out", "headline": "It fails elsewhere.", "table": table}, {"title": "Not chests"}])
    behind = show(predict_sample="healthy_adult")
    assert "It fails elsewhere." in captions(behind)
    assert [tab.label for tab in behind.tabs] == ["Left out", "Not chests"]
    shown = [text.value for text in behind.markdown]
    head, row = ([elements.escape_markdown(str(cell)) for cell in cells] for cells in (columns, table["rows"][0]))
    assert card.markdown_table(head, [row]) in shown
    assert any(r"| \_Euro\|rad\_ | 0\.65 |" in text for text in shown)


def test_the_card_shows_its_diagram(three):
    labels, patients = np.arange(30) % 3, [str(i) for i in range(30)]
    folder = three(calibration=calibration.assess_calibration(labels, np.eye(3)[labels], 0.5, patients))
    assert (folder / card.DIAGRAM).is_file()
    app = show(predict_sample="healthy_adult")
    before = len(pictures(app))
    app = settled(next(button for button in app.button if button.label == "Model card").click().run())
    assert len(pictures(app)) == before + 1
    assert not [text for text in app.markdown if card.DIAGRAM in text.value]
