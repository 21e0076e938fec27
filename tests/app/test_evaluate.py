"""The Evaluate page, without a browser: asking in the background, and what is told of the answers."""

import json
import shutil
from pathlib import Path

import msgspec
import pytest
from pages import press, settled
from PIL import Image
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from covid_cnn import cli
from covid_cnn.app.shared import background
from covid_cnn.common.statistics import wilson
from covid_cnn.common.storage import Cache
from covid_cnn.data import dataset, synthetic
from covid_cnn.evaluation import binary, leakage, predictions
from covid_cnn.evaluation.cohorts import Shares
from covid_cnn.evaluation.metrics import metric_rows
from covid_cnn.models import bundle
from covid_cnn.models.bundle import Bundle
from covid_cnn.models.info import Report
from covid_cnn.reports import evaluation
from covid_cnn.reports.wording import NOTICE


@pytest.fixture
def with_model(home, tiny_model) -> Path:
    """A home that holds the tiny model and the dataset that it was trained on."""
    shutil.copytree(tiny_model.bundle, home / "models" / "tiny")
    (home / "data").mkdir()
    (home / "data" / "drawn").symlink_to(tiny_model.dataset.root)
    return home


def show() -> AppTest:
    def page():
        from covid_cnn.app.evaluate import page as evaluate_page

        evaluate_page.draw_page()

    return settled(AppTest.from_function(page, default_timeout=60).run())


def finished(app: AppTest) -> AppTest:
    for job in background._jobs().values():
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
    assert any("At home it missed" in text.value for text in app.markdown)
    shown = app.dataframe[0].value
    app.session_state["evaluate_section"] = ":material/download: Take away"
    command = settled(app.run()).code[0].value
    assert command.startswith("python -m covid_cnn evaluate --data drawn --split test --model tiny --question positive")
    page = with_model / "report.html"
    done = CliRunner().invoke(cli.app, [*command.split()[3:], "--json", "--html", str(page)])
    assert done.exit_code == 0, done.output
    expected = metric_rows(msgspec.json.decode(done.stdout, type=Report))
    assert shown["Metric"].tolist() == [title for title, _ in expected]
    assert shown["Value"].tolist() == [f"{told.value:.3f}" if told else "undefined" for _, told in expected]
    bounds = [told.bounds if told else "" for _, told in expected]
    assert shown["95 % interval"].tolist() == bounds
    assert all(bound in page.read_text() for bound in bounds)


def test_images_that_a_model_has_learned_from_are_left_out(with_model):
    data = with_model / "data" / "renamed"
    for n, split in enumerate(("train", "test")):
        for item in dataset.open_dataset("drawn").subset(split):
            (data / item.label).mkdir(parents=True, exist_ok=True)
            with Image.open(item.path) as image:
                image.resize((120, 120)).save(data / item.label / f"{n}_{item.path.stem}.jpg")
    app = show()
    app = settled(app.selectbox(key="evaluate_place").set_value("renamed").run())
    assert app.toggle[0].label == "Leave out the 16 of these 24 images that tiny has learned from"
    assert "8 of the 8 images" in app.markdown[0].value
    assert any("in whatever size, format and name" in caption.value for caption in app.caption)
    app = settled(app.toggle[0].set_value(False).run())
    assert "24 of the 24 images" in app.markdown[0].value
    app = settled(app.selectbox(key="evaluate_place").set_value("drawn, train").run())
    assert any("learned from all of these images" in warning.value for warning in app.warning)

    told = CliRunner().invoke(cli.app, ["evaluate", "--data", "renamed", "--model", "tiny", "--unseen", "--json"])
    assert told.exit_code == 0 and json.loads(told.stdout)["n"] == 8


def test_a_model_that_cannot_tell_what_it_has_learned_from_says_so_beside_its_figures(with_model):
    shutil.copytree(with_model / "data" / "drawn" / "test", with_model / "data" / "other")
    (with_model / "data" / "drawn").unlink()
    assert not any("cannot be told" in warning.value for warning in show().warning)
    folder = with_model / "models" / "tiny"
    (folder / leakage.FINGERPRINT_FILE).unlink()
    info = json.loads((folder / bundle.INFO_FILE).read_text())
    (folder / bundle.INFO_FILE).write_text(
        json.dumps({key: value for key, value in info.items() if key != "training_images"})
    )
    told = "Which of these images tiny has learned from cannot be told"
    assert any(told in warning.value for warning in show().warning)
    app = show()
    app.session_state["evaluate_tab"] = "Home and away"
    app = finished(press(settled(app.run()), "Ask all of these"))
    assert any(told in warning.value for warning in app.warning)
    rows = app.dataframe[0].value["Model and images"]
    assert rows.tolist() == ["tiny on other (may have learned from some)"], "nobody knows whether it is away"


def test_the_dataset_of_a_model_is_known_by_its_content(with_model):
    """As the page adds the notebook's dataset from Kaggle, under another name than the shipped models' cards tell."""
    shutil.copytree(with_model / "data" / "drawn", with_model / "data" / "called-otherwise")
    (with_model / "data" / "drawn").unlink()
    synthetic.write_dataset(with_model / "data" / "another", seed=1, counts={"train": 4, "test": 2}, size=64)
    app = show()
    app.session_state["evaluate_tab"] = "Home and away"
    app = settled(app.run())
    assert app.multiselect(key="evaluate_places").value == ["called-otherwise, test"]


def test_a_dataset_is_at_home_where_a_model_learned_from_other_images_of_it(with_model):
    part = shutil.copytree(with_model / "data" / "drawn", with_model / "data" / "part")
    (with_model / "data" / "drawn").unlink()
    next((part / "train").rglob("*.png")).unlink()  # so that it is not the dataset that the card names
    app = finished(press(show(), "Ask the model"))
    assert app.selectbox(key="evaluate_place").value == "part, test"
    assert any("At home it missed" in text.value for text in app.markdown)


def test_answers_that_are_kept_are_shown_at_once(with_model):
    model = Bundle(with_model / "models" / "tiny")
    predictions.predict_dataset(model, dataset.open_dataset("drawn").subset("test"), Cache())
    background._jobs().clear()
    app = finished(show())
    assert len(app.dataframe) == 1


def test_one_model_at_home_and_away(with_model):
    shutil.copytree(with_model / "models" / "tiny", with_model / "models" / "twin")
    app = show()
    background._jobs().clear()
    app.session_state["evaluate_tab"] = "Home and away"
    app = settled(app.run())
    assert app.multiselect(key="evaluate_models").value == ["tiny", "twin"]
    app = settled(app.multiselect(key="evaluate_places").set_value(["drawn, test", "drawn, validation"]).run())
    app = finished(press(app, "Ask all of these"))
    shares, differences = (frame.value for frame in app.dataframe)
    assert len(shares) == 4
    assert all(name.startswith("At home: t") for name in shares["Model and images"])
    paired = differences[differences["What"] == "drawn, test: tiny - twin"]
    assert paired["Metric"].tolist() == ["Accuracy", "Sensitivity", "Specificity", "AUROC"]
    assert all(told.startswith("+0.000") and "p = 1.000" in told for told in paired["Difference"])
    assert [button.label for button in app.get("download_button")] == [
        "Report (HTML)",
        "These tables (CSV)",
        "Figure (PNG)",
        "Figure (SVG)",
    ]


def test_the_report_of_home_and_away_stands_alone():
    wide, none = wilson(3, 4), None
    lines = [
        Shares("<b>a</b> on $x$", 4, 4, {"ill": 4, "healthy": 0}, wide, none),
        Shares("b on y", 9, 8, {"ill": 5, "healthy": 3}, wilson(0, 5), wilson(4, 4)),
    ]
    tables = {"Models": [("Model", "Images"), *((line.name, line.images) for line in lines)]}
    page = evaluation.render_comparison({"a": "0f"}, lines, tables, ["A <note>."], "0").decode()
    assert NOTICE in page and "&lt;b&gt;a" in page and "<b>a" not in page and "A &lt;note&gt;." in page
    assert page.count("data:image/svg+xml;base64,") == 1 and "SHA-256 0f" in page
    assert "http" not in page.split('class="notice"')[1]


def test_the_report_stands_alone_and_escapes_names(with_model):
    model, items = Bundle(with_model / "models" / "tiny"), dataset.open_dataset("drawn").subset("test")
    asked = binary.binarize(model, predictions.predict_dataset(model, items), binary.DISEASED)
    page = evaluation.render_evaluation(model, "<b>drawn</b>", asked, binary.report_binary(asked), "0").decode()
    assert NOTICE in page and "&lt;b&gt;drawn" in page and "<b>drawn" not in page
    assert page.count("data:image/svg+xml;base64,") == 4
    assert "http" not in page.split('class="notice"')[1]


def test_the_report_shows_the_worst_errors_and_names_no_file(with_model, monkeypatch):
    model, items = Bundle(with_model / "models" / "tiny"), dataset.open_dataset("drawn").subset("test")
    answers = predictions.predict_dataset(model, items)
    surely_wrong = binary.binarize(model, answers, binary.DISEASED, threshold=0.0)  # all healthy are false alarms
    monkeypatch.setattr(evaluation, "ERRORS", 3)
    page = evaluation.render_evaluation(model, "drawn", surely_wrong, binary.report_binary(surely_wrong), "0").decode()
    wrong = len(surely_wrong.worst())
    assert wrong > 3 and f"The 3 worst of {wrong}" in page
    assert page.count("data:image/jpeg;base64,") == 2 * 3
    assert page.count("NORMAL, called ill") == 3 and "Licence: none needed" in page
    assert not any(item.path.name in page or item.patient in page for item in items)
    right = binary.binarize(model, answers, binary.DISEASED, threshold=0.0).of(surely_wrong.labels)
    assert (
        "Errors" not in evaluation.render_evaluation(model, "drawn", right, binary.report_binary(right), "0").decode()
    )


def test_the_figures_are_those_that_the_images_can_tell(with_model):
    model, items = Bundle(with_model / "models" / "tiny"), dataset.open_dataset("drawn").subset("test")
    answers = predictions.predict_dataset(model, items)
    asked = binary.binarize(model, answers, binary.DISEASED)
    assert evaluation.count_confusion(model, answers) is None, "two classes are one question"
    assert evaluation.figure_names(asked) == ["confusion", "roc", "precision_recall", "calibration"]
    healthy = asked.of(~asked.labels)
    assert evaluation.figure_names(healthy) == ["confusion", "calibration"]
    model.classes = ["NORMAL", "PNEUMONIA", "other"]
    told = evaluation.count_confusion(model, answers)
    assert told is not None and told.counts.shape == (3, 3) and told.counts.sum() == len(items)
    answers.labels[:3] = predictions.UNKNOWN_CLASS
    model.classes = ["NORMAL", "PNEUMONIA"]
    told = evaluation.count_confusion(model, answers)
    assert told is not None and told.counts.sum() == len(items), "no image vanishes"
    assert told.truths == ["NORMAL", "PNEUMONIA", f"{answers.items[0].label} (unknown to it)"]
    assert told.counts[-1].sum() == 3
    assert "classes" in evaluation.figure_names(asked, told)
    for name in evaluation.figure_names(asked, told):
        assert evaluation.draw_figure(name, asked, binary.report_binary(asked), told).axes
