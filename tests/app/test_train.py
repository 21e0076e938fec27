"""The Train page, on runs whose folders are written here: no process is started, no network is trained."""

import json
import shlex

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from covid_cnn.app.train import charts, comparison, run_view, settings
from covid_cnn.data import synthetic
from covid_cnn.images import augment
from covid_cnn.reports import wording
from covid_cnn.runs import config as runs_config
from covid_cnn.runs import pictures
from covid_cnn.runs import run as runs_run
from covid_cnn.runs.config import RECIPES, TrainConfig
from covid_cnn.runs.run import Run


def show_page():
    from covid_cnn.app.train import page as train_page

    train_page.draw_page()


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("COVID_CNN_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def dataset(home):
    return synthetic.write_dataset(home / "data" / "drawn", counts={"train": 4, "val": 2, "test": 2}, size=64)


@pytest.fixture
def started(monkeypatch):
    """The runs that the page starts or resumes, in place of their processes."""
    resumed = []

    def resume(run: Run) -> None:
        resumed.append(run)
        launch(run)

    monkeypatch.setattr(runs_run, "resume_run", resume)
    monkeypatch.setattr(run_view, "resume_run", resume)
    return resumed


def page() -> AppTest:
    app = AppTest.from_function(show_page, default_timeout=30).run()
    assert not app.exception
    return app


def make_run(name="a_run", epochs=4, **chosen) -> Run:
    return runs_run.create_run(TrainConfig.of("drawn", "efficientnet_lite0", epochs=epochs, **chosen), name)


def launch(run: Run) -> None:
    """Take the run up, as the process does that is started for it."""
    run.leave()
    run._take()
    run.append("launched")


def begin(run: Run, alive: bool) -> None:
    """Write that a process began the run: this one, which has its lock, or one that is gone."""
    run.append("started")
    if not alive:
        run.leave()


def tell_epoch(run: Run, epoch: int, epochs=4, steps=3, value=0.5) -> None:
    for step in range((epoch - 1) * steps + 1, epoch * steps + 1):
        run.append("step", epoch=epoch, step=step, steps=epochs * steps, loss=value, accuracy=value)
    scores = {"loss": value, "accuracy": value, "val_loss": value, "val_accuracy": value}
    run.append("epoch", epoch=epoch, step=epoch * steps, seconds=1.0, best=epoch, **scores)


def shown(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


def button(app: AppTest, label: str):
    return next((button for button in app.button if button.label == label), None)


def choose_network(app: AppTest, network: str) -> None:
    chosen = network if network in settings.OFFERED else settings.OTHER
    app.radio(key="train_network").set_value(chosen).run()
    if chosen == settings.OTHER:
        app.selectbox(key="train_other").set_value(network).run()


def test_without_a_dataset_start_draws_one_and_trains_on_it(home, started, monkeypatch):
    counts = {"train": 4, "val": 2, "test": 2}
    draw = synthetic.write_dataset
    monkeypatch.setattr(
        synthetic, "write_dataset", lambda folder, progress: draw(folder, 0, progress, counts=counts, size=64)
    )
    app = page()
    assert any("Draws the images first" in caption.value for caption in app.caption)
    button(app, "Start training").click().run()
    drawing = app.session_state["train_drawing"]
    drawing.wait(240)  # not by drawing the page again and again, which takes from it what a busy machine has
    app.run()
    assert started, drawing.problem or [error.value for error in app.error]
    assert started[0].config == TrainConfig.of("synthetic", "efficientnet_lite0")
    assert (home / "data" / "synthetic" / "train").is_dir()
    assert app.selectbox(key="train_run").value == started[0].name


def test_a_card_is_chosen_by_its_button(dataset, started):
    app = page()
    assert app.session_state["train_data"] == "drawn", "one's own images first"
    button(app, "Drawn").click().run()
    assert app.session_state["train_data"] == "synthetic"
    button(app, "Yours").click().run()
    button(app, "Start training").click().run()
    assert started[0].config.data == "drawn"


def test_the_fields_start_with_the_recipe_of_the_network(dataset):
    app = page()
    for network, recipe in RECIPES.items():
        choose_network(app, network)
        fields = {field.label: field.value for field in app.number_input}
        assert fields.get("Epochs") == recipe.epochs
        assert fields.get("Batch size") == recipe.batch_size
        assert fields.get("Learning rate") == recipe.learning_rate
        assert app.radio(key=f"train_augmentation_{network}_{recipe.choices[0]}").value == recipe.augmentation


def test_any_network_of_keras_is_chosen_by_its_name_and_comes_back(dataset, started):
    app = page()
    app.radio(key="train_network").set_value("other").run()
    app.selectbox(key="train_other").set_value("VGG16").run()
    button(app, "Start training").click().run()
    assert started[0].config == TrainConfig.of("drawn", "VGG16")
    button(app, "Train again with a change").click().run()
    assert (app.radio(key="train_network").value, app.selectbox(key="train_other").value) == ("other", "VGG16")


def test_every_choice_is_explained():
    assert settings.AUGMENTATION_LINES.keys() == augment.AUGMENTATIONS.keys()
    assert settings.LEARNS_LINES.keys() == runs_config.LEARNS.keys()
    assert set(settings.CHOICES["schedule"][1]) == set(runs_config.SCHEDULES)
    assert set(settings.CHOICES["balance"][1]) == set(runs_config.BALANCES)


def test_every_setting_has_a_field_where_it_means_something_and_nowhere_else(dataset):
    app = page()
    titles = {key: told[0] for key, told in (settings.NUMBERS | settings.CHOICES).items()}
    titles |= {"learns": "What learns", "augmentation": "Augmentation"}
    for network, learns in (("efficientnet_lite0", "last"), ("efficientnet_lite0", "all"), ("notebook_cnn", "scratch")):
        choose_network(app, network)
        if len(RECIPES[network].choices) > 1:
            app.radio(key=f"train_learns_{network}").set_value(learns).run()
        shown = {field.label for field in (*app.number_input, *app.radio)} - {"Network", "What learns"}
        assert shown == {titles[key] for key in RECIPES[network].settings(learns)} - {"What learns"}


def test_more_settings_reach_the_run_and_come_back_to_be_changed(dataset, started):
    app = page()
    app.radio(key="train_learns_efficientnet_lite0").set_value("all").run()
    chosen = {"base_rate": 0.5, "warm_up": 2, "mixup": 0.2, "label_smoothing": 0.1}
    for field, value in chosen.items():
        app.number_input(key=f"train_{field}_efficientnet_lite0_all").set_value(value)
    chosen |= {"balance": "sampling", "schedule": "constant"}
    for field in ("balance", "schedule"):
        app.radio(key=f"train_{field}_efficientnet_lite0_all").set_value(chosen[field])
    button(app, "Start training").click().run()
    config = TrainConfig.of("drawn", "efficientnet_lite0", learns="all", **chosen)
    assert started[0].config == config
    options = shlex.split(config.command)
    assert options[options.index("--learns") + 1] == "all" and options[options.index("--mixup") + 1] == "0.2"
    button(app, "Train again with a change").click().run()
    app.text_input(key="train_name").set_value("again").run()
    button(app, "Start training").click().run()
    assert not app.exception
    assert started[1].config == config


def test_start_trains_what_was_chosen_and_shows_it(dataset, started):
    app = page()
    app.radio(key="train_network").set_value("notebook_cnn").run()
    app.number_input(key="train_epochs_notebook_cnn_scratch").set_value(3)
    app.text_input(key="train_name").set_value("mine").run()
    button(app, "Start training").click().run()
    assert not app.exception
    assert [run.name for run in started] == ["mine"]
    assert started[0].config == TrainConfig.of("drawn", "notebook_cnn", epochs=3)
    assert app.selectbox(key="train_run").value == "mine"
    assert shown(app)["Epoch"] == "0 of 3"


def test_a_taken_or_impossible_name_is_a_sentence(dataset, started):
    begin(make_run("taken"), alive=False)
    app = page()
    for name in ("taken", "../up"):
        app.text_input(key="train_name").set_value(name).run()
        button(app, "Start training").click().run()
        assert not app.exception
        assert len(app.error) == 1
    assert not started


def test_a_dataset_that_cannot_be_trained_on_is_a_sentence(home):
    synthetic.write_dataset(home / "data" / "drawn", counts={"train": 1}, size=64)
    app = page()
    assert "too few" in app.error[0].value
    assert not button(app, "Start training")


def test_a_run_at_work_is_shown_to_whoever_comes():
    run = make_run()
    begin(run, alive=True)
    tell_epoch(run, 1, value=0.25)
    app = page()
    assert app.selectbox(key="train_run").value == run.name
    assert shown(app)["Epoch"] == "1 of 4"
    assert shown(app)["Its validation accuracy"] == "25.0 %"
    button(app, "Stop").click().run()
    assert run.stop_requested()
    assert button(app, "Stop").disabled


def test_the_address_names_the_run():
    for name in ("one", "two"):
        begin(make_run(name), alive=False)
    app = AppTest.from_function(show_page, default_timeout=30)
    app.query_params["run"] = "one"
    app.run()
    assert app.selectbox(key="train_run").value == "one"
    app.selectbox(key="train_run").set_value("two").run()
    assert app.query_params["run"] in ("two", ["two"])
    button(app, "New run").click().run()
    assert "run" not in app.query_params


def test_a_run_that_is_gone_is_no_longer_selected(home):
    app = AppTest.from_function(show_page, default_timeout=30)
    app.query_params["run"] = "gone"
    app.run()
    assert not app.exception and "run" not in app.query_params


def test_a_run_that_died_can_be_resumed(started):
    run = make_run()
    begin(run, alive=False)
    tell_epoch(run, 1)
    app = page()
    app.selectbox(key="train_run").set_value(run.name).run()
    assert "without a word" in app.error[0].value
    button(app, "Resume").click().run()
    assert [r.name for r in started] == [run.name]
    assert not button(app, "Resume")  # until the new process speaks, a second press would start a second one


def test_a_run_that_waits_is_shown_in_its_place():
    begin(make_run("first"), alive=True)
    run = make_run("second")
    run.append("queued")
    app = page()
    assert app.selectbox(key="train_run").value == "second"
    assert app.text[0].value == "It waits for first."
    button(app, "Stop").click().run()
    assert run.stop_requested()


def test_a_logarithm_of_the_loss_can_be_drawn():
    run = make_run()
    begin(run, alive=False)
    tell_epoch(run, 1, value=0.0)
    app = page()
    app.selectbox(key="train_run").set_value(run.name).run()
    app.toggle(key="train_log_scale").set_value(True).run()
    assert not app.exception
    assert charts.points(run.journal, 4, "loss")["value"].min() > 0


def test_why_a_run_failed_is_shown_as_text(started):
    run = make_run()
    begin(run, alive=False)
    run.append("failed", message="The dataset *a* is gone.")
    app = page()
    app.selectbox(key="train_run").set_value(run.name).run()
    assert app.error[0].value == r"The dataset \*a\* is gone\."
    assert button(app, "Resume")


def test_a_damaged_run_is_a_sentence(home):
    run = make_run()
    (run.folder / "config.json").write_text("{", encoding="utf-8")
    app = page()
    app.selectbox(key="train_run").set_value(run.name).run()
    assert not app.exception
    assert "cannot be read" in app.error[0].value


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (75, "1:15"), (3675, "1:01:15")])
def test_durations_read_as_on_a_clock(seconds, text):
    assert run_view._duration(seconds) == text


def test_curves_end_where_the_epochs_do_and_stay_small():
    run = make_run()
    for epoch in range(1, 5):
        tell_epoch(run, epoch, steps=1000, value=1 / epoch)
    points = charts.points(run.journal, 4, "loss")
    assert points["epoch"].max() == 4
    assert len(points) <= 2 * charts.MOST_POINTS + 8
    assert points[points["best"]]["epoch"].unique().tolist() == [4]


def test_the_chart_is_the_same_whatever_the_data():
    for logarithmic in (False, True):
        made = [charts._chart.__wrapped__("loss", 4, logarithmic, (0.1, 1.0)) for _ in range(2)]
        assert made[0] == made[1]
        assert "datasets" not in json.loads(made[0])


@pytest.mark.parametrize(
    ("metric", "values", "logarithmic", "ends"),
    [
        ("accuracy", [0.7, 0.9], False, (0, 1)),
        ("loss", [], False, (0, 1)),
        ("loss", [0.3, 0.55], False, (0, 0.6)),
        ("loss", [0.3, 1000], False, (0, 1000)),
        ("loss", [0.3, 7], True, (0.1, 10)),
        ("loss", [0.01, 0.1], True, (0.001, 0.1)),
        ("loss", [0, 0], True, (1e-7, 1e-6)),
    ],
)
def test_the_ends_of_an_axis_hold_all_values(metric, values, logarithmic, ends):
    assert charts.axis_ends(metric, pd.Series(values, dtype=float), logarithmic) == pytest.approx(ends)


def test_the_command_trains_the_same_again():
    config = TrainConfig.of("my data", "notebook_cnn", seed=7)
    command = config.command
    assert command.startswith("python -m covid_cnn train --data 'my data' --network notebook_cnn")
    assert "--seed 7" in command


def test_what_a_run_is_doing_is_told_by_its_own_sentences():
    run = make_run(epochs=1)
    begin(run, alive=True)
    run.log("Reading 4 images.")
    with (run.folder / "log.txt").open("a", encoding="utf-8") as log:
        log.write("I0000 00:00:1 some library's chatter\n")
    assert run_view._doing(run, "running", run.journal) == "Reading 4 images."
    run.append("step", epoch=1, step=1, steps=3, loss=0.5, accuracy=0.5)
    assert run_view._doing(run, "running", run.journal) == "Learning."
    tell_epoch(run, 1, epochs=1)
    run.log("Exporting the model.")
    assert run_view._doing(run, "running", run.journal) == "Exporting the model."
    assert run_view._doing(run, "starting", run.journal) == "Starting Python."


def test_what_comes_before_the_first_step_is_counted():
    run = make_run()
    begin(run, alive=True)
    run.append("progress", what="Reading images", done=60, total=148)
    bar = page().get("progress")[0].proto
    assert (bar.text, bar.value) == ("Reading images: 60 of 148", 40)
    run.append("step", epoch=1, step=1, steps=3, loss=0.5, accuracy=0.5)
    assert page().get("progress")[0].proto.text == "Step 1 of 3"


def test_a_model_that_is_gone_is_a_sentence():
    run = make_run(epochs=1)
    begin(run, alive=False)
    tell_epoch(run, 1, epochs=1)
    run.append("exported", model=run.name, epoch=1)
    app = page()
    app.selectbox(key="train_run").set_value(run.name).run()
    assert not app.exception
    assert "no model" in app.error[0].value
    assert not button(app, "Resume")


# All runs


def finished(name: str, **chosen) -> Run:
    run = make_run(name, **chosen)
    begin(run, alive=False)
    tell_epoch(run, 1)
    run.append("exported", model=name, epoch=1)
    return run


def test_the_table_lists_runs_with_settings_and_results(dataset):
    finished("one", seed=3).note = "before lunch"
    broken = make_run("broken")
    begin(broken, alive=False)
    (broken.folder / "config.json").write_text("{")
    app = page()
    table = app.dataframe[0].value
    assert table["Run"].tolist() == ["one"]
    assert table.iloc[0][["State", "Note", "Seed", "Validation loss"]].tolist() == ["Finished", "before lunch", 3, 0.5]
    assert any("broken" in warning.value for warning in app.warning)


def test_train_again_fills_the_fields_of_a_new_run(dataset):
    run = finished("one", seed=3, batch_size=7)
    app = page()
    app.selectbox(key="train_run").set_value(run.name).run()
    button(app, "Train again with a change").click().run()
    assert not app.exception
    fields = {field.label: field.value for field in app.number_input}
    assert (fields["Seed"], fields["Batch size"], fields["Epochs"]) == (3, 7, 4)
    assert app.selectbox(key="train_run").value is None


def test_the_pictures_of_a_run_are_shown_with_the_notice():
    run = finished("one")
    run.append("read", classes=["NORMAL", "PNEUMONIA"], train=4, val=2)
    pictures.save_images(run.folder, "watched", np.zeros((2, 32, 32)), ["NORMAL", "PNEUMONIA"])
    for epoch in (1, 2):
        pictures.save_attention(
            run.folder, epoch, pictures.AttentionPicture(np.full((2, 2), 0.5), np.ones((2, 4, 4, 2)))
        )
    app = page()
    app.selectbox(key="train_run").set_value(run.name).run()
    assert not app.exception
    assert any(wording.NOTICE in warning.value for warning in app.warning)
    app.select_slider(key="train_look_one").set_value(1).run()
    assert any("after epoch 1" in caption.value for caption in app.caption)


def with_chosen(*names: str) -> AppTest:
    """The page on which runs are chosen in the table."""
    app = AppTest.from_function(show_page, default_timeout=30)
    app.session_state["train_chosen"] = names
    app.session_state["train_run"] = None
    app.run()
    assert not app.exception
    return app


def dialog_to_edit() -> None:
    import streamlit as st

    from covid_cnn.app.train import table
    from covid_cnn.runs import run as runs_run

    st.session_state.setdefault("train_run", "one")
    if "train_next" not in st.session_state and "one" in [run.name for run in runs_run.discover_runs()]:
        table.edit(runs_run.open_run("one"))


def dialog_to_delete() -> None:
    from covid_cnn.app.train import table
    from covid_cnn.runs import run as runs_run

    if found := runs_run.discover_runs():
        table.delete(found)


def test_what_is_chosen_stays_chosen_when_another_run_appears(dataset):
    for name in ("one", "two"):
        finished(name)
    app = with_chosen("one")
    finished("newcomer")
    app.run()
    assert app.session_state["train_chosen"] == ["one"]
    button(app, "Rename or note").click().run()
    assert app.text_input[-1].value == "one"


def test_a_run_is_renamed_and_annotated_and_stays_open():
    finished("one"), finished("two")
    app = AppTest.from_function(dialog_to_edit, default_timeout=30).run()
    app.text_input[0].set_value("two")
    button(app, "Save").click().run()
    assert "already a run" in app.error[0].value
    app.text_input[0].set_value("three")
    app.text_area[0].set_value("after *lunch*")
    button(app, "Save").click().run()
    assert not app.exception
    assert {run.name for run in runs_run.discover_runs()} == {"two", "three"}
    assert app.session_state["train_next"] == "three"
    app = page()
    app.selectbox(key="train_run").set_value("three").run()
    assert any(r"after \*lunch\*" in caption.value for caption in app.caption)


def test_runs_are_deleted_after_a_second_question_and_those_at_work_are_not():
    run = make_run("one")
    begin(run, alive=True)
    app = AppTest.from_function(dialog_to_delete, default_timeout=30).run()
    assert button(app, "Delete for good").disabled
    app.checkbox[0].check().run()
    button(app, "Delete for good").click().run()
    assert "at work" in app.error[0].value
    run.leave()
    button(app, "Delete for good").click().run()
    assert not app.exception and not runs_run.discover_runs()


def test_settings_that_differ_are_marked_also_where_only_one_run_has_them(dataset):
    runs_made = [finished("one", seed=3), finished("two", seed=4)]
    whole = runs_run.create_run(TrainConfig.of("drawn", "efficientnet_lite0", learns="all", seed=3), "whole")
    table = comparison.settings(runs_made)
    assert table.index[table["Differs"] == "yes"].tolist() == ["Seed"]
    table = comparison.settings([runs_made[0], whole])
    assert table.loc[settings.NUMBERS["base_rate"][0]].tolist() == ["yes", comparison.NONE, "0.1"]
    assert table.loc["Epochs"].tolist() == ["yes", "4", "10"]
    assert table.loc["Seed", "Differs"] == ""
    app = with_chosen("one", "two")
    assert any("Side by side" in header.value for header in app.header)


def test_a_first_image_that_is_damaged_or_gone_leaves_the_page(dataset, monkeypatch):
    finished("one")
    first = min((dataset / "train" / "NORMAL").iterdir())
    first.write_bytes(b"no image")
    app = page()
    assert any("leaves such images out" in warning.value for warning in app.warning)
    assert app.dataframe[0].value["Run"].tolist() == ["one"]


def test_a_dataset_elsewhere_is_not_silently_replaced(dataset, tmp_path):
    run = runs_run.create_run(TrainConfig.of(str(tmp_path / "else_where"), "efficientnet_lite0"), "foreign")
    begin(run, alive=False)
    run.append("exported", model="foreign", epoch=1)
    app = page()
    app.selectbox(key="train_run").set_value("foreign").run()
    button(app, "Train again with a change").click().run()
    assert any("not under data" in warning.value for warning in app.warning)


def test_where_weights_cannot_be_fetched_another_network_is_one_click_away(dataset, started):
    run = runs_run.create_run(TrainConfig.of("drawn", "DenseNet121", seed=5), "dense")
    begin(run, alive=False)
    run.append("failed", message="The ImageNet weights of DenseNet121 cannot be fetched.")
    app = page()
    app.selectbox(key="train_run").set_value("dense").run()
    button(app, "Take EfficientNet-Lite0 instead").click().run()
    assert not app.exception
    button(app, "Start training").click().run()
    assert started[0].config == TrainConfig.of("drawn", "efficientnet_lite0", seed=5)


def test_a_new_run_is_told_that_it_will_wait(dataset):
    begin(make_run("first"), alive=True)
    app = page()
    button(app, "New run").click().run()
    assert any("waits for its turn" in caption.value and "first" in caption.value for caption in app.caption)


def test_the_learning_rate_is_drawn_where_it_changes():
    run = make_run()
    begin(run, alive=True)
    for step in range(1, 13):
        run.append("step", epoch=1, step=step, steps=12, loss=1.0, accuracy=0.5, learning_rate=0.1 / step)
    rates = charts.learning_rates(run.journal, 4)
    assert rates["value"].tolist() == pytest.approx([0.1 / step for step in range(1, 13)])
    assert rates["epoch"].iloc[-1] == 4
    assert len(page().get("vega_lite_chart")) == 3


def test_every_run_is_shown_or_told_whatever_its_files_hold(dataset):
    """Events, notes and logs that no run writes, and settings beyond what the fields offer."""
    begin(make_run("sound"), alive=False)
    damaged = {"events.jsonl": b'[[[\n{"type": ["a"]}\n\xff\n', "note.txt": b"\xff\xfe", "log.txt": b"\0\xff" * 99}
    for name, content in damaged.items():
        run = make_run(name.replace(".", "_"))
        begin(run, alive=False)
        with (run.folder / name).open("ab") as file:
            file.write(content)
    begin(make_run("long", epochs=10**6, batch_size=5000, patience=5000), alive=False)
    begin(make_run("future"), alive=False)
    (runs_run.paths.runs_dir() / "future" / "config.json").write_text('{"data": "x", "network": "y", "z": {"a": [1]}}')
    app = page()
    assert set(app.dataframe[0].value["Run"]) == {"sound", "events_jsonl", "note_txt", "log_txt", "long"}
    assert any("of run future cannot be read" in warning.value for warning in app.warning)
    for name in ("events_jsonl", "note_txt", "log_txt", "long"):
        app.selectbox(key="train_run").set_value(name).run()
        assert not app.exception
        if name == "events_jsonl":
            assert any("left out: 3" in caption.value for caption in app.caption)
    button(app, "Train again with a change").click().run()
    assert not app.exception
