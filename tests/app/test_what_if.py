"""The questions to an answer, on the page, with a shipped model and without a browser."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from pages import settled
from streamlit.testing.v1 import AppTest

from covid_cnn.app.predict import what_if
from covid_cnn.common import paths
from covid_cnn.data import synthetic
from covid_cnn.models import bundle, faithfulness, perturb
from covid_cnn.models.bundle import Bundle, Prediction
from covid_cnn.models.perturb import CHANGES, Step
from covid_cnn.reports import wording

MODEL = "efficientnet_lite0"
KEY = "what if image"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch, shipped_models) -> Path:
    monkeypatch.setenv("COVID_CNN_HOME", str(tmp_path))
    shutil.copytree(next(folder for folder in shipped_models if folder.name == MODEL), paths.models_dir() / MODEL)
    return tmp_path


@pytest.fixture
def calls(monkeypatch) -> list[tuple[int, ...]]:
    """The shapes of the images that a model is asked about, once the page has its first answer."""
    asked = []
    predict_one = Bundle.predict

    def counted(self, pixels, *crowd, **wanted):
        asked.append(pixels.shape)
        return predict_one(self, pixels, *crowd, **wanted)

    monkeypatch.setattr(Bundle, "predict", counted)
    return asked


def show(question: str, blank: bool = False) -> AppTest:
    """The panel alone, of a drawn image or a blank one, with a question chosen."""

    def script(blank: bool):
        import numpy as np
        import streamlit as st

        from covid_cnn.app.predict import what_if
        from covid_cnn.app.shared import elements
        from covid_cnn.data import synthetic
        from covid_cnn.images.radiograph import Radiograph

        pixels = np.zeros((128, 128), np.float32) if blank else synthetic.draw_radiograph(31, opacities=True, size=256)
        model = elements.load_bundle("efficientnet_lite0")
        if "answer" not in st.session_state:
            st.session_state["answer"] = model.predict(pixels)
        what_if.draw_panel("image", Radiograph(pixels, "drawn", "drawn"), st.session_state["answer"], model)

    app = AppTest.from_function(script, default_timeout=120, args=(blank,))
    app.session_state["question image"] = question
    return settled(app.run())


def change(app: AppTest, name: str) -> AppTest:
    return settled(app.button_group(key=f"{KEY} add").set_value(name).run())


def text(app: AppTest) -> str:
    return "\n".join(element.value for element in (*app.markdown, *app.caption)).replace("\\", "")


def expected(*steps: Step) -> list[float]:
    """The probabilities of the class named at first, of the image as it is and after each step."""
    pixels, model = synthetic.draw_radiograph(31, opacities=True, size=256), bundle.load_bundle(MODEL)
    first = model.predict(pixels)
    rest = [model.predict(changed) for changed in perturb.apply_steps(pixels, steps)]
    return [answer.by_class()[first.label] for answer in (first, *rest)]


def test_nothing_is_worked_out_before_a_question_is_chosen(calls):
    app = show("")
    assert len(calls) == 1 and not app.image and not app.slider


def test_each_step_is_answered_on_top_of_those_before(calls):
    app = change(change(show(what_if.WHAT_IF), "mirror"), "crop")
    assert calls == [(256, 256), (256, 256), (204, 204)]  # once each, with none asked again
    values = expected(Step("mirror", {}), Step("crop", {"share": 0.1}))
    assert [f"{value:.3f}" in text(app) for value in values] == [True] * 3
    assert len(app.image) == 3 + 1  # the strip, and the last one larger


def test_a_slider_changes_the_last_step_and_an_undo_takes_it_away(calls):
    app = change(change(show(what_if.WHAT_IF), "brighten"), "stamp")
    app = settled(app.slider(key=f"{KEY} 2 stamp size").set_value(0.3).run())
    steps = [Step("brighten", {"amount": 0.5}), Step("stamp", {"left": 0.05, "top": 0.05, "size": 0.3})]
    assert f" {expected(*steps)[-1]:.3f}" in text(app)
    app = settled(app.button(key=f"{KEY} undo").click().run())
    assert [slider.label for slider in app.slider] == ["Brighter"]
    assert f" {expected(steps[0])[-1]:.3f}" in text(app)
    app = settled(app.button(key=f"{KEY} reset").click().run())
    assert not app.image and not app.slider


def test_what_was_set_before_a_later_step_is_still_set_after_its_undo():
    app = change(show(what_if.WHAT_IF), "blur")
    app = settled(app.slider[0].set_value(3.0).run())
    app = change(app, "mirror")
    app = settled(app.button(key=f"{KEY} undo").click().run())
    assert app.slider[0].value == 3.0
    assert f" {expected(Step('blur', {'sigma': 3.0}))[-1]:.3f}" in text(app)


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_can_be_made(name):
    app = change(show(what_if.WHAT_IF), name)
    assert CHANGES[name].title in text(app) and not app.error
    assert len(app.slider) == len(CHANGES[name].settings)


def test_an_image_without_lungs_is_a_sentence_and_can_be_undone():
    app = change(show(what_if.WHAT_IF, blank=True), "hide_lungs")
    assert "No two lungs were found" in app.error[0].value
    assert not settled(app.button(key=f"{KEY} undo").click().run()).error


def test_the_memory_of_a_session_has_an_end(monkeypatch):
    monkeypatch.setattr(what_if, "KEPT", 2)
    app = change(show(what_if.WHAT_IF), "stamp")
    for size in (0.2, 0.3):
        app = settled(app.slider(key=f"{KEY} 1 stamp size").set_value(size).run())
    assert len(app.session_state[what_if.MEMORY]) == 2


def answered(*classes: str, known: bool = True) -> Prediction:
    """An answer that leaves these classes open."""
    every = ("normal", "other pneumonia", "COVID-19")
    nothing = np.zeros(0, np.float32)
    return Prediction(
        classes=every,
        probabilities=np.array([0.5 if name in classes else 0.1 for name in every]),
        heatmaps=nothing,
        embedding=nothing,
        label=classes[0],
        positive="COVID-19",
        threshold=0.3,
        distance=1.0,
        distance_limit=2.0,
        in_distribution=known,
        prepared=nothing,
        prediction_set=classes,
        set_level=0.9,
    )


def test_each_step_that_changed_the_answer_is_named():
    """The one that changed it and the one that changed it back: the first and the last alone would tell of neither."""
    mirror, letter, hide = Step("mirror", {}), Step("stamp", CHANGES["stamp"].defaults()), Step("hide_lungs", {})
    answers = [answered("normal"), answered("normal"), answered("COVID-19"), answered("normal")]
    first, second = (one.replace("\\", "") for one in what_if.describe_changes([mirror, letter, hide], answers))
    assert first == "**An R in the corner changed the answer**, from normal (50 %) to **COVID-19 (50 %)**"
    assert second.startswith("**Hiding the lungs changed the answer**, from COVID-19")
    (unknown,) = what_if.describe_changes([hide], [answered("normal"), answered("normal", known=False)])
    assert wording.UNKNOWN_KIND in unknown.replace("\\", "")
    assert what_if.describe_changes([mirror], answers[:2]) == ["No change so far changed the answer."]


def test_a_second_opinion_is_asked_for_once(calls, monkeypatch):
    monkeypatch.setattr(faithfulness, "CELLS", 4)
    app = show(what_if.OPINION)
    assert len(calls) == 1 and not app.image
    app = settled(app.button(key="opinion image").click().run())
    asked = len(calls)
    assert len(app.image) == 2 and not app.get("vega_lite_chart")
    assert (f"**{what_if.AGREE}**" in text(app)) != (f"**{what_if.DISAGREE}**" in text(app))
    assert all(picture.value[0].startswith("data:") for picture in app.image)  # so no rerun takes it away
    settled(app.run())
    assert len(calls) == asked
