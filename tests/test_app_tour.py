"""The guided tour, without a browser: every screen, drawn and real, forwards and back."""

import shutil

import pytest
from pages import press, settled
from streamlit.testing.v1 import AppTest

from covid_cnn import bundle, datasets, planted
from covid_cnn.app import tour, tour_drawn, working
from covid_cnn.report import NOTICE

TITLES = list(tour.STEPS)


@pytest.fixture
def drawn(monkeypatch):
    """The tour's hospitals with few patients, to be quick."""
    draw = planted.hospital
    monkeypatch.setattr(
        planted, "hospital", lambda seed, count, marked, progress: draw(seed, count // 2, marked, 96, progress)
    )
    monkeypatch.setattr(planted, "SIZE", 96)
    for cache in (tour_drawn._hospital, tour_drawn._classifier):
        cache.clear()
    yield
    for cache in (tour_drawn._hospital, tour_drawn._classifier):
        cache.clear()


def show(step: int = 0) -> AppTest:
    def page():
        from covid_cnn.app import tour

        tour.page()

    app = AppTest.from_function(page, default_timeout=120)
    app.session_state[tour.STEP] = step
    return done(settled(app.run()))


def done(app: AppTest) -> AppTest:
    """The page once all that goes on in the background has ended; what waits for a button is started."""
    while True:
        for job in working._jobs().values():
            job.wait(60)
        app = settled(app.run())
        if not any(button.label == "Ask the model" for button in app.button):
            return app
        app = press(app, "Ask the model")


def words(app: AppTest) -> str:
    parts = [*app.markdown, *app.caption, *app.error, *app.info, *app.success]
    return " ".join(str(part.value) for part in parts).replace("\\", "")


def test_without_a_dataset_the_tour_is_told_with_drawings(home, drawn):
    app = show()
    assert any(NOTICE in warning.value for warning in app.warning)
    told = []
    for title in TITLES:
        assert app.header[0].value == title
        told.append(words(app) + " ".join(metric.value for metric in app.metric))
        if title != TITLES[-1]:
            app = press(app, "Next")
    assert "100%" in told[1]
    assert "upper left corner: AUROC 1.000" in told[2]
    assert "healthy; of 5 (at the other hospital), **0%**" in told[4]
    assert "the answer turns" in told[5]
    assert next(button for button in app.button if button.label == "Next").disabled
    assert press(app, "Back").header[0].value == TITLES[-2]


def test_with_the_dataset_of_a_shipped_model_the_tour_is_told_with_it(home, tiny_model, monkeypatch):
    monkeypatch.setattr(tour, "PERFECT", "tiny")
    working._jobs().clear()
    shutil.copytree(tiny_model.bundle, home / "models" / "tiny")
    (home / "data").mkdir()
    (home / "data" / "drawn").symlink_to(tiny_model.dataset.root)
    app = show()
    assert "34 chest X-rays" in words(app)
    for title in TITLES[1:]:
        app = done(press(app, "Next"))
        assert app.header[0].value == title
        assert not app.error or title == "The audit"


@pytest.mark.real_data
def test_the_other_hospital_is_that_of_the_nih(home, real_data, shipped_models, default_model):
    working._jobs().clear()
    for model in (*shipped_models, default_model):
        (home / "models").mkdir(parents=True, exist_ok=True)
        (home / "models" / model.name).symlink_to(model)
    notebook, away = home / "data" / "xray_dataset_covid19", home / "data" / "nih"
    notebook.parent.mkdir()
    notebook.symlink_to(real_data / notebook.name)
    few = {label: [] for label in ("No_findings", "Pneumonia")}
    for item in datasets.open(real_data / "nih-chestxray8-subset").items:
        few[item.label].append(item.path)
    for label, files in few.items():
        (away / label).mkdir(parents=True)
        for file in files[:8]:
            shutil.copyfile(file, away / label / file.name)

    told = show(TITLES.index("Another hospital"))
    assert "Of 20 healthy people (xray_dataset_covid19, test) it calls **100%** healthy; of 8 (nih)" in words(told)

    told = show(TITLES.index("What the default model does instead"))
    assert f"**{bundle.DEFAULT}** learned from several hospitals" in words(told)
    assert "On 16 images of nih" in words(told) and "It may have learned from a part" in words(told)
    assert "unlike those it knows" in words(told)
    assert not told.error
