"""A demo: what visitors may do, and what only whoever runs it."""

import shutil
from types import SimpleNamespace

import pytest
from pages import press, settled
from streamlit.testing.v1 import AppTest

from covid_cnn.app.server import serving
from covid_cnn.app.shared import demo
from covid_cnn.common import paths
from covid_cnn.common.errors import CovidCnnError
from covid_cnn.runs import run as runs
from covid_cnn.runs.config import TrainConfig
from covid_cnn.runs.run import Run, create_run

FORBIDDEN = ("Delete", "Rename or note", "Download", "Add", "Discard", "Resume")


@pytest.fixture(autouse=True)
def shown_to_strangers(home, monkeypatch, synthetic_data, shipped_models):
    """A demo with a dataset, a model and a finished run."""
    monkeypatch.setenv(demo.DEMO, "1")
    monkeypatch.setenv(demo.TOKEN, "sesame")
    monkeypatch.setattr(demo, "_SECONDS_A_WRONG_KEY", 0)
    demo._owners().clear()
    paths.data_dir().mkdir(parents=True)
    (paths.data_dir() / "drawn").symlink_to(synthetic_data)
    shutil.copytree(shipped_models[0], paths.models_dir() / shipped_models[0].name)
    create_run(TrainConfig.of("drawn", "efficientnet_lite0"), "theirs")
    monkeypatch.setattr(Run, "state", lambda run: "stopped")


def page(name: str, **state) -> AppTest:
    """A page by itself, with the strip above it."""

    def draw(name):
        from importlib import import_module

        from covid_cnn.app.shared import demo

        demo.draw_strip()
        import_module(f"covid_cnn.app.{name}.page").draw_page()

    app = AppTest.from_function(draw, args=(name,), default_timeout=120)
    for key, value in state.items():
        app.session_state[key] = value
    return settled(app.run())


def labels(app: AppTest) -> set[str]:
    return {button.label for button in app.button} | {field.label for field in app.text_input}


@pytest.mark.parametrize("name", ["start", "predict", "train", "dataset", "evaluate", "tour"])
def test_no_page_offers_a_visitor_what_only_whoever_runs_it_may_do(name):
    app = page(name)
    assert not labels(app) & {*FORBIDDEN, "Name (optional)", "Or a folder or .zip on this computer"}
    assert any("whoever runs this demo" in caption.value for caption in app.caption)


def test_a_visitor_opens_the_run_of_another_and_changes_nothing():
    assert not labels(page("train", train_run="theirs")) & {*FORBIDDEN, "Stop"}


def test_with_the_key_all_doors_open():
    app = page("train", train_run="theirs")
    next(field for field in app.text_input if field.label.startswith("The key")).input("sesam")
    app = press(app, "Unlock")
    assert app.error[0].value == "That is not the key."
    next(field for field in app.text_input if field.label.startswith("The key")).input("sesame")
    app = press(app, "Unlock")
    assert {"Delete", "Rename or note"} <= labels(app)


def test_without_demo_mode_there_is_no_strip_and_no_bound(monkeypatch):
    monkeypatch.setenv(demo.DEMO, "0")
    assert {"Delete", "Rename or note"} <= labels(page("train", train_run="theirs"))
    demo.check_run(TrainConfig.of("drawn", "ResNet50", epochs=300), 10**6)


def test_an_empty_demo_draws_the_synthetic_set_and_takes_no_other():
    (paths.data_dir() / "drawn").unlink()
    opened = page("dataset")
    next(button for button in opened.button if button.label == "Add a dataset").click().run()
    assert "Draw synthetic radiographs" in labels(opened)
    assert not labels(opened) & {*FORBIDDEN}


class TestTraining:
    """What a visitor may train."""

    @pytest.fixture(autouse=True)
    def nothing_at_work(self, monkeypatch):
        monkeypatch.setattr(demo, "visitor", lambda: "me")
        monkeypatch.setattr(demo, "discover_runs", list)

    def refused(self, config: TrainConfig, images: int = 100) -> str:
        with pytest.raises(CovidCnnError) as error:
            demo.check_run(config, images)
        return str(error.value)

    def test_a_small_run(self):
        demo.check_run(TrainConfig.of("drawn", "efficientnet_lite0", epochs=demo.LIMITS.epochs), demo.LIMITS.images)

    def test_too_many_epochs_or_images(self):
        small = TrainConfig.of("drawn", "efficientnet_lite0", epochs=2)
        assert "at most" in self.refused(TrainConfig.of("drawn", "notebook_cnn", epochs=demo.LIMITS.epochs + 1))
        assert "at most" in self.refused(small, demo.LIMITS.images + 1)

    def test_a_network_that_would_be_fetched(self):
        assert "come from the internet" in self.refused(TrainConfig.of("drawn", "ResNet50", epochs=2))

    def test_one_run_each_and_so_many_of_all(self, monkeypatch):
        config = TrainConfig.of("drawn", "efficientnet_lite0", epochs=2)
        mine = create_run(config, "mine")
        demo.own(mine)
        monkeypatch.setattr(type(mine), "state", lambda run: "waiting")
        monkeypatch.setattr(demo, "discover_runs", lambda: [mine])
        assert "yours is mine" in self.refused(config)
        monkeypatch.setattr(demo, "discover_runs", lambda: [SimpleNamespace(name="x", state=lambda: "running")] * 6)
        assert "as many as this demo takes" in self.refused(config)

    def test_a_full_disk(self, monkeypatch):
        monkeypatch.setattr(demo, "LIMITS", demo.LIMITS._replace(disk=1))
        assert "used up" in self.refused(TrainConfig.of("drawn", "efficientnet_lite0", epochs=2))

    def test_only_the_own_run_is_stopped(self):
        mine = create_run(TrainConfig.of("drawn", "efficientnet_lite0"), "mine")
        demo.own(mine)
        assert demo.may_stop(mine) and not demo.may_stop(runs.open_run("theirs"))


def test_a_network_needs_no_warning_in_a_demo():
    assert serving.network_warning("0.0.0.0") is None


def test_every_deed_is_refused_in_one_sentence():
    for deed in demo.Deed:
        with pytest.raises(CovidCnnError, match=r"^In this demo only whoever runs it can [^.]+\.$"):
            demo.require(deed)
