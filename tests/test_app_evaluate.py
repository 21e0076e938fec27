"""The Evaluate page, without a browser: asking in the background, and what is told of the answers."""

import shutil
from pathlib import Path

import pytest
from pages import press, settled
from streamlit.testing.v1 import AppTest

from covid_cnn import assessment, datasets, evaluation_report, questions
from covid_cnn.app import working
from covid_cnn.bundle import Bundle
from covid_cnn.evaluation import rows
from covid_cnn.report import NOTICE


@pytest.fixture
def with_model(home, tiny_model) -> Path:
    """A home that holds the tiny model and the dataset that it was trained on."""
    shutil.copytree(tiny_model.bundle, home / "models" / "tiny")
    (home / "data").mkdir()
    (home / "data" / "drawn").symlink_to(tiny_model.dataset.root)
    return home


def show() -> AppTest:
    def page():
        from covid_cnn.app import evaluate

        evaluate.page()

    return settled(AppTest.from_function(page, default_timeout=60).run())


def finished(app: AppTest) -> AppTest:
    for job in working._jobs().values():
        job.wait(60)
    return settled(app.run())


def test_without_a_model_or_a_dataset_the_way_to_one_is_shown(home, tiny_model):
    assert [button.label for button in show().button] == ["Train a model"]
    shutil.copytree(tiny_model.bundle, home / "models" / "tiny")
    assert [button.label for button in show().button] == ["Add a dataset"]


def test_a_model_is_asked_and_its_figures_are_those_of_the_command_line(with_model):
    app = show()
    assert any(NOTICE in warning.value for warning in app.warning)
    assert app.selectbox(key="evaluate_place").value == "drawn, test"
    app = finished(press(app, "Ask the model"))
    model, items = Bundle(with_model / "models" / "tiny"), datasets.open("drawn").subset("test")
    asked = questions.verdicts(model, assessment.ask_all(model, items), questions.POSITIVE)
    shown = app.dataframe[0].value
    expected = rows(questions.report(asked))
    assert shown["Metric"].tolist() == [title for title, _ in expected]
    told = [f"{interval.value:.3f}" if interval else "undefined" for _, interval in expected]
    assert shown["Value"].tolist() == told


def test_answers_that_are_kept_are_shown_at_once(with_model):
    from covid_cnn.store import Store

    model = Bundle(with_model / "models" / "tiny")
    assessment.ask_all(model, datasets.open("drawn").subset("test"), Store())
    working._jobs().clear()
    app = finished(show())
    assert len(app.dataframe) == 1


def test_one_model_at_home_and_away(with_model):
    shutil.copytree(with_model / "models" / "tiny", with_model / "models" / "twin")
    app = show()
    working._jobs().clear()
    app.session_state["evaluate_tab"] = "Home and away"
    app = settled(app.run())
    assert app.multiselect(key="evaluate_models").value == ["tiny", "twin"]
    app = settled(app.multiselect(key="evaluate_places").set_value(["drawn, test", "drawn, validation"]).run())
    app = finished(press(app, "Ask all of these"))
    shares, differences = (frame.value for frame in app.dataframe)
    assert len(shares) == 4
    paired = differences[differences["What"] == "drawn, test: tiny - twin"]
    assert paired["Metric"].tolist() == ["Accuracy", "Sensitivity", "Specificity", "AUROC"]
    assert all(told.startswith("+0.000") and "p = 1.000" in told for told in paired["Difference"])


def test_the_report_stands_alone_and_escapes_names(with_model):
    model, items = Bundle(with_model / "models" / "tiny"), datasets.open("drawn").subset("test")
    asked = questions.verdicts(model, assessment.ask_all(model, items), questions.ILL)
    page = evaluation_report.page(model, "<b>drawn</b>", asked, questions.report(asked), "0").decode()
    assert NOTICE in page and "&lt;b&gt;drawn" in page and "<b>drawn" not in page
    assert page.count("data:image/svg+xml;base64,") == 4
    assert "http" not in page.split("<p class=notice>")[1]
