"""The questions to an answer, on the page, with a shipped model and without a browser."""

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from pages import settled
from streamlit.testing.v1 import AppTest

from covid_cnn.app.predict import what_if
from covid_cnn.common import paths
from covid_cnn.data import synthetic
from covid_cnn.models import bundle, faithfulness, perturb
from covid_cnn.models.bundle import Bundle
from covid_cnn.models.faithfulness import FaithfulnessResult, PerturbationCurve, Trial
from covid_cnn.models.perturb import CHANGES, Step

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

    def counted(self, pixels, crowd=False):
        asked.append(pixels.shape)
        return predict_one(self, pixels, crowd)

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


def charts(app: AppTest) -> list[dict]:
    return [json.loads(chart.proto.spec) for chart in app.get("vega_lite_chart")]


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
    assert f"moved from **{values[0]:.3f}** to **{values[-1]:.3f}**" in text(app)
    assert [f"{value:.3f}" in text(app) for value in values] == [True] * 3
    assert len(app.image) == 3 + 2  # the strip, and the last one larger
    (chart,) = charts(app)
    assert chart["title"]["text"].startswith("probability of")
    axes = [layer["encoding"]["x"]["axis"] for layer in chart["layer"] if "x" in layer["encoding"]]
    assert axes and not any(axis["labelOverlap"] for axis in axes)  # every step is named


def test_a_slider_changes_the_last_step_and_an_undo_takes_it_away(calls):
    app = change(change(show(what_if.WHAT_IF), "brighten"), "stamp")
    app = settled(app.slider(key=f"{KEY} 2 stamp size").set_value(0.3).run())
    steps = [Step("brighten", {"amount": 0.5}), Step("stamp", {"left": 0.05, "top": 0.05, "size": 0.3})]
    assert f"to **{expected(*steps)[-1]:.3f}**" in text(app)
    app = settled(app.button(key=f"{KEY} undo").click().run())
    assert [slider.label for slider in app.slider] == ["Brighter"]
    assert f"to **{expected(steps[0])[-1]:.3f}**" in text(app)
    app = settled(app.button(key=f"{KEY} reset").click().run())
    assert not app.image and not app.slider


def test_what_was_set_before_a_later_step_is_still_set_after_its_undo():
    app = change(show(what_if.WHAT_IF), "blur")
    app = settled(app.slider[0].set_value(3.0).run())
    app = change(app, "mirror")
    app = settled(app.button(key=f"{KEY} undo").click().run())
    assert app.slider[0].value == 3.0
    assert f"to **{expected(Step('blur', {'sigma': 3.0}))[-1]:.3f}**" in text(app)


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


def test_a_second_opinion_is_asked_for_once(calls, monkeypatch):
    monkeypatch.setattr(faithfulness, "CELLS", 4)
    monkeypatch.setattr(faithfulness, "compare_maps", partial(faithfulness.compare_maps, steps=2, seeds=1))
    app = show(what_if.OPINION)
    assert len(calls) == 1 and not app.image
    app = settled(app.button(key="opinion image").click().run())
    asked = len(calls)
    assert len(app.image) == 2 and len(app.get("vega_lite_chart")) == 2
    assert list(app.dataframe[0].value["Order"])[-1] == what_if.CHANCE
    assert "random order" in text(app)
    assert all(picture.value[0].startswith("data:") for picture in app.image)  # so no rerun takes it away
    assert all(chart["title"]["text"].startswith("probability of") for chart in charts(app))
    legends = [[chart["encoding"][channel]["legend"] for channel in ("color", "strokeDash")] for chart in charts(app)]
    assert all(one == other for one, other in legends)  # or Vega warns of a conflict, and shows none of the dashes
    settled(app.run())
    assert len(calls) == asked


@pytest.mark.parametrize(
    ("deletion", "insertion", "meaning"),
    [
        (0.1, 0.9, "marks what the answer rests on"),
        (0.1, 0.5, "marks only a part"),
        (0.6, 0.9, "the rest of the image is enough"),
        (0.6, 0.5, "the heatmap is no explanation"),
    ],
)
def test_the_sentence_says_what_the_curves_say(deletion, insertion, meaning):
    def trial(deletion: float, insertion: float) -> Trial:
        return Trial(*(PerturbationCurve(np.array([0, 1]), np.array([area, area])) for area in (deletion, insertion)))

    chance = [trial(0.4, 0.6), trial(0.3, 0.7)]
    sentence = what_if.agreement_sentence(
        FaithfulnessResult({what_if.HEATMAP: trial(deletion, insertion)}, chance), "COVID_19"
    )
    assert meaning in sentence and "COVID\\_19" in sentence and sentence[0].isupper()
