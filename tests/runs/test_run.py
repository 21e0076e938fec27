"""Runs: what state they are in is derived from events and process, and they go on without whoever started them."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from covid_cnn.common import paths
from covid_cnn.common.errors import RunError
from covid_cnn.models.bundle import Bundle
from covid_cnn.runs import machine
from covid_cnn.runs import run as runs_run
from covid_cnn.runs.config import TrainConfig
from covid_cnn.runs.run import Run

pytestmark = pytest.mark.usefixtures("home")

CONFIG = TrainConfig.of("data", "efficientnet_lite0")


@pytest.fixture
def run() -> Run:
    return runs_run.create_run(CONFIG, "run")


@pytest.fixture
def gone() -> dict:
    """The fields of a started event of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    fields = {"pid": process.pid, "process_created": psutil.Process(process.pid).create_time()}
    process.communicate()
    return fields


# Settings


def test_a_recipe_gives_what_a_person_does_not_choose():
    config = TrainConfig.of("data", "notebook_cnn", epochs=3, batch_size=None)
    assert (config.epochs, config.batch_size, config.augmentation, config.seed) == (3, 32, "notebook", 0)


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"network": "resnet999"}, "There is no network called resnet999; choose one of"),
        (
            {"augmentation": "wild"},
            "no augmentation called wild; choose one of none, mirror, notebook, radiograph",
        ),
        ({"epochs": 0}, "must be at least 1"),
        ({"batch_size": 0}, "must be at least 1"),
        ({"learning_rate": 0.0}, "the learning rate above 0"),
        ({"learning_rate": 10.0}, "above 0 and below 10"),
        ({"learning_rate": float("nan")}, "the learning rate above 0"),
        ({"seed": -1}, "the seed from 0 to"),
        ({"learns": "last"}, "no way to learn called last; choose one of scratch"),
        ({"schedule": "steep"}, "no schedule called steep; choose one of constant, cosine"),
        ({"balance": "fair"}, "no balance called fair; choose one of none, weights, sampling"),
        ({"warm_up": 16}, "no longer than the training"),
        ({"base_rate": 0.0}, "the base's rate above 0"),
        ({"label_smoothing": 1.0}, "from 0 to below 1"),
        ({"mixup": -0.1}, "alpha of mixup"),
        ({"seed": 2**32}, "the seed from 0 to"),
    ],
)
def test_settings_that_make_no_sense_are_refused(chosen, sentence):
    with pytest.raises(RunError, match=sentence):
        TrainConfig.of("data", **({"network": "notebook_cnn"} | chosen))


def test_settings_of_an_older_version_take_the_recipe_for_what_they_do_not_tell(run):
    older = {"data": "data", "network": "notebook_cnn", "epochs": 5, "batch_size": 32, "learning_rate": 1e-3}
    (run.folder / "config.json").write_text(json.dumps(older | {"augmentation": "mirror", "seed": 3, "patience": 0}))
    config = runs_run.open_run("run").config
    assert (config.seed, config.balance, config.learns, config.mixup) == (3, "none", "scratch", 0)


def test_what_learns_has_a_recipe_of_its_own():
    last, whole = (TrainConfig.of("data", "efficientnet_lite0", learns=learns) for learns in ("last", "all"))
    assert last == CONFIG and last.recipe.frozen_base and not whole.recipe.frozen_base
    assert (whole.schedule, whole.warm_up, whole.base_rate) == ("cosine", 1, 0.1)
    assert "base_rate" in whole.active_settings and "base_rate" not in last.active_settings


def test_settings_survive_in_the_folder(run):
    assert runs_run.open_run("run").config == CONFIG


@pytest.mark.parametrize("text", ["", "{", "[]", '{"data": "x"}', '{"surplus": 1}'])
def test_damaged_settings_are_told(run, text):
    (run.folder / "config.json").write_text(text)
    with pytest.raises(RunError, match="The settings of run run cannot be read"):
        _ = run.config


# Names


def test_a_whole_class_starts_in_one_second_and_each_gets_a_run():
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: runs_run.create_run(CONFIG), range(24)))
    assert len({run.name for run in made}) == len({run.folder for run in made}) == 24
    assert all(run.config == CONFIG for run in made)


def test_of_several_who_want_one_name_one_gets_it():
    def create(_: int) -> Run | None:
        try:
            return runs_run.create_run(CONFIG, "wanted")
        except RunError:
            return None

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(create, range(24)))
    assert len([run for run in made if run]) == 1


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../out", ".hidden", "-dash", "a b", "x" * 101, "a\n", "ä"])
def test_a_name_that_is_no_folder_name_is_refused(name):
    with pytest.raises(RunError, match="cannot name a run"):
        runs_run.create_run(CONFIG, name)
    assert not paths.runs_dir().exists()


def test_a_name_that_a_run_or_a_model_has_is_refused(run):
    (paths.models_dir() / "model").mkdir(parents=True)
    for name in ("run", "model"):
        with pytest.raises(RunError, match=f"already a run or a model called {name}"):
            runs_run.create_run(CONFIG, name)


def test_a_run_without_a_name_is_called_after_what_it_trains():
    run = runs_run.create_run(TrainConfig.of("/some where/my x-rays!", "notebook_cnn"))
    assert run.name.startswith("notebook_cnn-my-x-rays-")


def test_open_and_discover(run):
    os.utime(run.folder / "config.json", (1, 1))
    newer = runs_run.create_run(CONFIG, "newer")
    (paths.runs_dir() / "no_run").mkdir()
    assert [found.name for found in runs_run.discover_runs()] == ["newer", "run"]
    assert runs_run.open_run("newer").folder == newer.folder
    for name in ("nothing", "..", "no_run"):
        with pytest.raises(RunError, match="There is no run called"):
            runs_run.open_run(name)


# States


def test_a_new_run_is_starting_and_has_died_if_it_says_nothing(run):
    assert run.state() == "starting"
    long_ago = time.time() - runs_run.SECONDS_TO_START - 1
    os.utime(run.folder / "config.json", (long_ago, long_ago))
    assert run.state() == "died"


def test_a_run_at_work(run):
    run.begin()
    assert run.state() == "running"
    run.append("step", epoch=1, step=1, loss=0.5)
    assert run.state() == "running"
    run.request_stop()
    assert run.stop_requested()
    assert run.state() == "stopping"


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([], "died"),
        (["step", "epoch"], "died"),
        (["epoch", "test"], "died"),
        (["epoch", "test", "exported"], "finished"),
        (["epoch", "stopped", "exported"], "stopped"),
        (["stopped"], "stopped"),
        (["epoch", "failed"], "failed"),
        (["failed", "started", "epoch", "exported"], "finished"),
        (["stopped", "exported", "started", "epoch"], "died"),
        (["epoch", "exported", "started", "failed"], "failed"),
    ],
)
def test_the_state_of_a_run_whose_process_is_gone(run, gone, events, state):
    for kind in ["started", *events]:
        run.append(kind, **(gone if kind == "started" else {}))
    assert run.state() == state


def test_a_process_of_the_same_number_that_began_at_another_time_is_not_the_run(run):
    process = psutil.Process()
    run.append("started", pid=process.pid, process_created=process.create_time() - 60)
    assert run.state() == "died"


def test_a_failed_run_has_failed_though_its_process_still_ends(run):
    run.begin()
    run.append("failed", message="No.")
    assert run.state() == "failed"


def test_only_one_process_works_on_a_run(run):
    run.begin()
    with pytest.raises(RunError, match="already at work in another process"):
        run.begin()


def test_a_stop_that_comes_before_the_process_is_not_lost(run):
    run.request_stop()
    run.begin()
    assert run.stop_requested()
    assert run.state() == "stopping"


def test_a_stop_can_be_forgotten_to_go_on(run, gone):
    run.append("started", **gone)
    run.request_stop()
    run.append("stopped")
    run.forget_stop()
    run.begin()
    assert not run.stop_requested()
    assert run.state() == "running"


@pytest.fixture
def other() -> dict:
    """The fields of an event of a living process other than this one."""
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    yield {"pid": process.pid, "process_created": psutil.Process(process.pid).create_time()}
    process.communicate()


def test_a_process_that_is_launched_is_starting_and_its_death_is_seen_at_once(run, gone, other):
    run.append("launched", **other)
    assert run.state() == "starting"
    run.request_stop()
    assert run.state() == "stopping"
    run.append("launched", **gone)
    assert run.state() == "died"


def test_who_resumes_a_run_at_work_is_refused(run, other):
    run.append("started", **other)
    with pytest.raises(RunError, match="already at work"):
        runs_run.resume_run(run)
    assert [event["type"] for event in run.events()] == ["started"]


def test_what_ended_a_run_is_told_as_far_as_it_can_be(run, gone, monkeypatch):
    run.append("started", **gone)
    assert "from outside" in run.failure_reason()
    run.log(runs_run.STARTING_TENSORFLOW)
    with (run.folder / "log.txt").open("a") as log:
        log.write("Fatal Python error: Segmentation fault\n")
    assert "crashed" in run.failure_reason()
    run.log(runs_run.STARTING_TENSORFLOW)  # of a later process
    assert "from outside" in run.failure_reason()
    with monkeypatch.context() as patch:
        patch.setattr(psutil, "boot_time", lambda: time.time() + 1)
        assert "switched off" in run.failure_reason()
    monkeypatch.setattr(runs_run, "FULL_DISK", 2**62)
    assert run.failure_reason().startswith("The disk is full")


def test_a_finished_run_is_not_taken_up_again(run, gone):
    run.append("started", **gone)
    run.append("exported", model="run", epoch=1)
    for take_up in (run.begin, lambda: runs_run.resume_run(run)):
        with pytest.raises(RunError, match="Run run is finished"):
            take_up()
    assert run.state() == "finished"


def test_the_end_of_the_log_leaves_out_what_tensorflow_tells_itself(run):
    run.log("Starting TensorFlow.")
    with (run.folder / "log.txt").open("a") as log:
        log.write("2026-11-25 10:00:00.123456: I tensorflow/core/cpu_feature_guard.cc:227] This binary is optimized\n")
        log.write("WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n")
        log.write("I0000 00:00:1764000000.1 123 cpu_feature_guard.cc:227] oneDNN is on\n")
        log.write("E0000 00:00:1764000000.2 123 device.cc:10] no such device\n")
        log.write('Traceback (most recent call last):\n  File "a.py"\n')
    assert [line[:9] for line in run.log_tail().splitlines()][1:] == ["E0000 00:", "Traceback", '  File "a']


# The queue


def test_more_than_the_machine_can_carry_wait_and_who_came_first_goes_first(run, other, monkeypatch):
    monkeypatch.setattr(machine, "cores", lambda: 2 * runs_run.CORES_OF_A_RUN)
    monkeypatch.setattr(machine, "available_memory", lambda: 100 * runs_run.MEMORY_OF_A_RUN)
    working, before, after = (runs_run.create_run(CONFIG, name) for name in ("working", "before", "after"))
    working.append("started", **other)
    assert runs_run.runs_ahead(run) == []
    before.append("queued", **other)
    assert {one.name for one in runs_run.runs_ahead(run)} == {"working", "before"}
    run.append("queued", **other)
    after.append("queued", **other)
    assert {one.name for one in runs_run.runs_ahead(run)} == {"working", "before"}
    assert runs_run.runs_ahead(before) == []
    working.append("exported")
    assert runs_run.runs_ahead(run) == []
    assert {one.name for one in runs_run.runs_ahead()} == {"before", "run", "after"}  # for a new one
    monkeypatch.setattr(machine, "available_memory", lambda: 0)
    assert {one.name for one in runs_run.runs_ahead(run)} == {"before"}
    before.append("failed", message="")
    assert runs_run.runs_ahead(run) == []  # one run it always carries


def test_a_run_waits_for_its_turn(run, other, monkeypatch):
    monkeypatch.setattr(machine, "cores", lambda: 1)
    first = runs_run.create_run(CONFIG, "first")
    first.append("started", **other)

    looks = []
    look = runs_run.runs_ahead

    def ahead(run: Run) -> list[Run]:
        looks.append(run.state())
        if len(looks) == 3:
            first.append("exported")
        return look(run)

    monkeypatch.setattr(runs_run, "runs_ahead", ahead)
    run.begin()
    assert looks == ["starting", "waiting", "waiting"]
    assert run.log_tail().count("Waiting for first.") == 1
    assert [event["type"] for event in run.events()] == ["queued", "started"]
    assert run.state() == "running"


def test_a_request_to_stop_interrupts_and_afterwards_no_more(run):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in the background of a shell
    with runs_run.interruptible(run):
        pass
    run.request_stop()
    time.sleep(0.5)
    with pytest.raises(KeyboardInterrupt), runs_run.interruptible(run):
        for _ in range(300):  # steps, between which an interrupt comes
            time.sleep(0.1)
    time.sleep(0.5)
    assert signal.signal(signal.SIGINT, before) is signal.SIG_IGN


# Events


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
def test_an_event_that_finds_the_disk_full_is_an_error(run):
    (run.folder / "events.jsonl").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        run.append("step", step=1)


def test_events_are_one_json_object_a_line(run):
    run.append("step", epoch=1, step=2, loss=0.5)
    run.append("failed", message="Line\nbreaks and ümlauts")
    lines = (run.folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == run.events()
    first, second = run.events()
    assert first.pop("time") == pytest.approx(time.time(), abs=5)
    assert first == {"type": "step", "epoch": 1, "step": 2, "loss": 0.5}
    assert second["message"] == "Line\nbreaks and ümlauts"


def test_a_line_cut_off_by_a_crash_is_left_out_and_takes_no_other_with_it(run, gone):
    run.append("started", **gone)
    run.append("epoch", epoch=1)
    with (run.folder / "events.jsonl").open("a") as file:
        file.write('{"time": 17, "type": "ste')
    assert [event["type"] for event in run.events()] == ["started", "epoch"]
    assert run.state() == "died"
    run.begin()
    assert [event["type"] for event in run.events()] == ["started", "epoch", "started"]
    assert run.state() == "running"


def test_the_listener_hears_events_and_log(run):
    heard = []
    run.listener = heard.append
    run.log("Reading.")
    run.append("step", step=1)
    assert [event["type"] for event in heard] == ["log", "step"]


def test_last_words_are_the_end_of_the_log(run):
    assert run.log_tail() == ""
    for n in range(20):
        run.log(f"Line {n}.")
    words = run.log_tail(3).splitlines()
    assert [line.split(" ", 1)[1] for line in words] == ["Line 17.", "Line 18.", "Line 19."]


# The process


def test_a_run_trains_on_after_the_program_that_started_it(synthetic_data):
    script = f"""
from covid_cnn.runs import run, config
run.start_run(config.TrainConfig.of({str(synthetic_data)!r}, "efficientnet_lite0", epochs=1), "child")
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(paths.__file__).parents[2])
    run = runs_run.open_run("child")
    try:
        seen = _wait(run)
    finally:
        started = [event for event in run.events() if event["type"] == "started"]
        if started and run.state() in ("running", "stopping"):
            psutil.Process(started[0]["pid"]).kill()
    assert seen[-1] == "finished", run.log_tail()
    assert "running" in seen
    assert run.events()[-1]["type"] == "exported"
    assert Bundle(paths.models_dir() / "child").classes == ("NORMAL", "PNEUMONIA")


def _wait(run: Run) -> list[str]:
    """The states that the run goes through, until it is at rest."""
    seen = [run.state()]
    while seen[-1] in ("starting", "waiting", "running") and len(seen) < 2000:
        time.sleep(0.1)
        seen.append(run.state())
    return seen


# Rename, note, delete


def test_a_run_at_rest_can_be_renamed_annotated_and_deleted(run, gone):
    run.append("started", **gone)
    run.note = "Ümlauts, too."
    run = runs_run.rename_run(run, "other")
    assert [found.name for found in runs_run.discover_runs()] == ["other"]
    assert (run.note, run.state(), run.config) == ("Ümlauts, too.", "died", CONFIG)
    runs_run.create_run(CONFIG, "taken")
    for name in ("taken", "../out", ""):
        with pytest.raises(RunError):
            runs_run.rename_run(run, name)
    runs_run.delete_run(run)
    assert [found.name for found in runs_run.discover_runs()] == ["taken"]
    assert not list(paths.runs_dir().glob("*other*"))


def test_a_run_at_work_keeps_its_name_and_folder(run):
    run.begin()
    with pytest.raises(RunError, match="stop it before it is renamed"):
        runs_run.rename_run(run, "other")
    with pytest.raises(RunError, match="stop it before it is deleted"):
        runs_run.delete_run(run)
    assert run.state() == "running"
