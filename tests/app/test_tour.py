"""The guided tour, without a browser: every screen, drawn and real, forwards and back."""

import shutil

import numpy as np
import pytest
from pages import press, settled
from streamlit.testing.v1 import AppTest

from covid_cnn.app.shared import background
from covid_cnn.app.tour import drawn as tour_drawn
from covid_cnn.app.tour import ending, screens
from covid_cnn.app.tour import page as tour_page
from covid_cnn.data import dataset, planted, shortcuts
from covid_cnn.models import bundle
from covid_cnn.reports.wording import NOTICE

TITLES = list(tour_page.STEPS)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Few letters to try, and few shortcuts to measure."""
    monkeypatch.setattr(planted, "PLACES", planted.PLACES[:2])
    monkeypatch.setattr(planted, "SIZES", planted.SIZES[:2])
    monkeypatch.setattr(shortcuts, "CUES", tuple(cue for cue in shortcuts.CUES if cue.name == "corners"))
    background._jobs().clear()


@pytest.fixture
def drawn(monkeypatch):
    """The tour's hospitals with few patients, to be quick."""
    draw = planted.draw_hospital
    monkeypatch.setattr(
        planted, "draw_hospital", lambda seed, count, marked, progress: draw(seed, count // 2, marked, 96, progress)
    )
    monkeypatch.setattr(planted, "DRAWN_SIZE", 96)
    for cache in (tour_drawn._hospital, tour_drawn._classifier):
        cache.clear()
    yield
    for cache in (tour_drawn._hospital, tour_drawn._classifier):
        cache.clear()


def show(step: int = 0) -> AppTest:
    def page():
        from covid_cnn.app.tour import page as tour_page

        tour_page.draw_page()

    app = AppTest.from_function(page, default_timeout=120)
    app.session_state[tour_page.STEP] = step
    return done(settled(app.run()))


def done(app: AppTest) -> AppTest:
    """The page once all that goes on in the background has ended; what waits for a button is started."""
    while True:
        for job in background._jobs().values():
            job.wait(60)
        app = settled(app.run())
        if not any(button.label == "Ask the model" for button in app.button):
            return app
        app = press(app, "Ask the model")


def words(app: AppTest) -> str:
    parts = [*app.markdown, *app.caption, *app.error, *app.info, *app.success]
    told = [str(part.value) for part in parts] + [metric.delta for metric in app.metric]
    return " ".join(told).replace("\\", "").replace("**", "")


def test_without_a_dataset_the_tour_is_told_with_drawings(home, drawn):
    app = show()
    assert any(NOTICE in warning.value for warning in app.warning)
    told = []
    for title in TITLES:
        assert app.header[0].value == title
        told.append(words(app))
        if title != TITLES[-1]:
            app = done(press(app, "Next"))
    assert "100 % (10 of 10; 95 % interval" in told[1]
    assert "The four corners alone tell" in told[2]
    assert "0 % (0 of 5; 95 % interval 0 to" in told[4]
    assert "the answer turns" in told[5] and "threshold 0.500" in told[5]
    assert all("Shown on" in screen and "Synthetic" in screen for screen in told[:6])
    assert next(button for button in app.button if button.label == "Next").disabled
    assert ending.MORAL in told[-1] and "Try your X-ray" in [button.label for button in app.button]
    assert press(app, "Back").header[0].value == TITLES[-2]


def test_with_the_dataset_of_a_shipped_model_the_tour_is_told_with_it(home, tiny_model, monkeypatch):
    monkeypatch.setattr(tour_page, "PERFECT", "tiny")
    shutil.copytree(tiny_model.bundle, home / "models" / "tiny")
    (home / "data").mkdir()
    (home / "data" / "drawn").symlink_to(tiny_model.dataset.root)
    app = show()
    assert "Shown on drawn, 34 chest X-rays" in words(app)
    for title in TITLES[1:]:
        app = done(press(app, "Next"))
        assert app.header[0].value == title
        assert not app.error or title == "The audit"
        if title == "What if?":
            threshold = bundle.load_bundle("tiny").threshold
            assert f"threshold {threshold:.3f}" in words(app) and "Tried were R and L" in words(app)
            assert "of 8; 95 % interval" in words(app)


def test_the_dataset_of_a_model_is_known_under_another_name(home, tiny_model):
    shutil.copytree(tiny_model.dataset.root, home / "data" / "renamed")
    model = bundle.Bundle(tiny_model.bundle)
    place = tour_page._home(model, dataset.discover_datasets()[0])
    assert place is not None and (place.dataset.name, place.split) == ("renamed", "test")
    some = next((home / "data" / "renamed" / "train" / "NORMAL").iterdir())
    some.unlink()
    some.write_bytes(b"another")
    assert tour_page._home(model, dataset.discover_datasets()[0]) is None


def test_every_screen_takes_what_is_there(home, tiny_model, drawn, monkeypatch):
    monkeypatch.setattr(tour_page, "PERFECT", "tiny")
    shutil.copytree(tiny_model.bundle, home / "models" / "tiny")
    for item in tiny_model.dataset.items:
        copy = home / "data" / "clinic" / item.label / item.path.name.removeprefix("synthetic_")
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(item.path, copy)
    accuracy = bundle.load_bundle("tiny").info.metrics.test.accuracy
    told = {title: words(show(n)) for n, title in enumerate(TITLES)}
    for title in ("The images", "The audit", "The mean images", "Another hospital", "What if?"):
        assert "Shown on clinic" in told[title], title
    score = told["A perfect score"]
    assert "drawn is not here: told is what the model's card says" in score
    assert f"of {accuracy['n']}; 95 % interval" in score
    assert "of 4; 95 % interval" in told["Another hospital"] and "as its card tells" in told["Another hospital"]
    assert "The 26 images that tiny has learned from are left out." in told["Another hospital"]

    shutil.rmtree(home / "data" / "clinic" / "NORMAL")
    (home / "data" / "clinic" / "PNEUMONIA").rename(home / "data" / "clinic" / "COVID-19")
    shutil.copytree(home / "data" / "clinic" / "COVID-19", home / "data" / "clinic" / "SARS")
    app = show(TITLES.index("Another hospital"))
    assert "This screen is told with drawings" in words(app) and "Synthetic" in words(app)
    assert "Shown on clinic" in words(show(TITLES.index("The images")))


def test_where_no_letter_turns_an_answer_that_is_said():
    image = np.zeros((8, 8), np.float32)
    flips = [(0, image, "R", 0.1, 0.2), (0, image + 1, "L", 0.1, 0.4), (1, image, "R", 0.9, 0.8)]
    tried = screens.tried_cases(flips, [image, image], 0.5)
    assert (tried.images, tried.turned, tried.text, tried.score_after) == (2, 0, "L", 0.4)
    tried = screens.tried_cases([*flips, (1, image, "R", 0.9, 0.45)], [image, image], 0.42)
    assert tried.turned == 0, "0.45 is still above"
    tried = screens.tried_cases([*flips, (1, image, "R", 0.51, 0.49)], [image, image], 0.5)
    assert (tried.turned, tried.score_before) == (1, 0.51), "a turned answer counts more than a large move"


@pytest.mark.real_data
def test_the_other_hospital_is_that_of_the_nih(home, real_data, shipped_models, default_model):
    for model in (*shipped_models, default_model):
        (home / "models").mkdir(parents=True, exist_ok=True)
        (home / "models" / model.name).symlink_to(model)
    notebook, away = home / "data" / "xray_dataset_covid19", home / "data" / "nih"
    notebook.parent.mkdir()
    notebook.symlink_to(real_data / notebook.name)
    few = {label: [] for label in ("No_findings", "Pneumonia")}
    for item in dataset.open_dataset(real_data / "nih-chestxray8-subset").items:
        few[item.label].append(item.path)
    for label, files in few.items():
        (away / label).mkdir(parents=True)
        for file in files[:8]:
            shutil.copyfile(file, away / label / file.name)

    told = show(TITLES.index("Another hospital"))
    assert "(20 of 20; 95 % interval 83.9 to 100 %) in xray_dataset_covid19, test; " in words(told)
    assert "of 8; 95 % interval" in words(told)

    told = show(TITLES.index("What the default model does instead"))
    assert f"{bundle.DEFAULT_MODEL} learned from several hospitals" in words(told)
    assert "Shown on nih, 2 it never saw" in words(told) and "of 2; 95 % interval" in words(told)
    assert f"images that {bundle.DEFAULT_MODEL} has learned from are left out." in words(told)
    assert "unlike those it knows" in words(told)
    assert not told.error
