"""The guided tour, without a browser: every screen, drawn and real, forwards and back."""

import shutil

import pytest
from pages import press, settled
from streamlit.testing.v1 import AppTest

from covid_cnn import planted
from covid_cnn.app import tour, tour_drawn, working
from covid_cnn.report import NOTICE


@pytest.fixture
def drawn(monkeypatch):
    """The tour's hospitals, small and few, to be quick."""
    draw = planted.hospital
    monkeypatch.setattr(
        planted,
        "hospital",
        lambda seed, count, marked, progress: draw(seed, min(count, 20) // 2 * 2, marked, 96, progress),
    )
    monkeypatch.setattr(planted, "SIZE", 96)
    tour_drawn._hospitals.clear()
    yield
    tour_drawn._hospitals.clear()


def show() -> AppTest:
    def page():
        from covid_cnn.app import tour

        tour.page()

    return settled(AppTest.from_function(page, default_timeout=120).run())


def words(app: AppTest) -> str:
    parts = [*app.markdown, *app.caption, *app.error, *app.info, *app.success]
    return " ".join(str(part.value) for part in parts)


def test_without_a_dataset_the_tour_is_told_with_drawings(home, drawn):
    app = show()
    assert any(NOTICE in warning.value for warning in app.warning)
    told = []
    for title in tour.STEPS:
        assert app.header[0].value == title
        told.append(words(app) + " ".join(metric.value for metric in app.metric))
        if title != list(tour.STEPS)[-1]:
            app = press(app, "Next")
    assert "100%" in told[1]
    assert "upper left corner: AUROC" in told[2]
    assert "the answer turns" in told[5]
    assert next(button for button in app.button if button.label == "Next").disabled
    assert press(app, "Back").header[0].value == list(tour.STEPS)[-2]


def test_with_the_dataset_of_a_shipped_model_the_tour_is_told_with_it(home, tiny_model, monkeypatch):
    monkeypatch.setattr(tour, "PERFECT", "tiny")
    working._jobs().clear()
    shutil.copytree(tiny_model.bundle, home / "models" / "tiny")
    (home / "data").mkdir()
    (home / "data" / "drawn").symlink_to(tiny_model.dataset.root)
    app = show()
    assert "34 chest X-rays" in words(app)
    for title in list(tour.STEPS)[1:]:
        app = press(app, "Next")
        assert app.header[0].value == title
        while any(button.label == "Ask the model" for button in app.button):
            app = press(app, "Ask the model")
            for job in working._jobs().values():
                job.wait(60)
            app = settled(app.run())
    assert not app.error
