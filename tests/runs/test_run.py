"""Runs: what state they are in is derived from events and process, and they go on without whoever started them."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import events_of

from covid_cnn.common import paths
from covid_cnn.common.errors import RunError
from covid_cnn.models.bundle import Bundle
from covid_cnn.runs import run as runs_run
from covid_cnn.runs.config import TrainConfig
from covid_cnn.runs.run import Run

pytestmark = pytest.mark.usefixtures("home")

CONFIG = TrainConfig.of("data", "efficientnet_lite0")


@pytest.fixture
def run() -> Run:
    """A new run, whose lock this process has."""
    run = runs_run.create_run(CONFIG, "run")
    yield run
    run.leave()


@pytest.fixture
def at_rest(run) -> Run:
    """A run that a process has begun and that no process is at work on."""
    run.append("started")
    run.leave()
    return run


@contextmanager
def held(run: Run) -> Iterator[None]:
    """Within, another process is at work on the run."""
    run.leave()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run.folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout.readline()
        yield
        holder.kill()


HOLD = """
import sys
from pathlib import Path
from covid_cnn.common.locks import ProcessLock
print(ProcessLock(Path(sys.argv[1]) / "lock").take(), flush=True)
sys.stdin.read()
"""


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


SOUND = '{"data": "x", "network": "notebook_cnn"'


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "truncated"),
        ("{", "truncated"),
        ("[]", "Expected `object`"),
        ("[" * 10**5, "Expected `object`"),
        ('{"data": "x"}', "missing required field `network`"),
        (SOUND + ', "network": ["a"]}', r"Expected `str`, got `array` - at `\$.network`"),
        (SOUND + ', "epochs": {"a": [1]}}', r"Expected `int`, got `object` - at `\$.epochs`"),
        (SOUND + ', "epochs": "5"}', r"at `\$.epochs`"),
        (SOUND + ', "epochs": null}', r"at `\$.epochs`"),
        (SOUND + ', "learning_rate": NaN}', "malformed"),
        (SOUND + ', "epochs": 0}', "must be at least 1"),
        (SOUND + ', "of_a_later_version": 1}', "unknown field `of_a_later_version`"),
        (SOUND + ', "schedule": "of_a_later_version"}', "no schedule called of_a_later_version"),
        (SOUND + " " * 10**6, "truncated"),
    ],
)
def test_settings_that_cannot_be_read_are_told_and_never_to_be_deleted(run, text, reason):
    (run.folder / "config.json").write_text(text)
    with pytest.raises(RunError, match=f"The settings of run run cannot be read .*{reason}.*restore its") as error:
        _ = run.config
    assert "delete" not in str(error.value)


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


def test_a_new_run_is_starting_and_has_died_if_its_maker_ends_without_a_word(run):
    assert run.state() == "starting"
    run.leave()
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
        (["stopped", "exported", "started", "failed"], "failed"),
        # Where two processes were at work, what one has made outranks what became of the other.
        (["started", "failed", "exported"], "finished"),
        (["started", "exported", "failed"], "finished"),
        (["epoch", "exported", "started", "failed"], "finished"),
    ],
)
def test_the_state_of_a_run_whose_process_is_gone(run, events, state):
    run.leave()
    for kind in ["started", *events]:
        run.append(kind)
    assert run.state() == state


@pytest.mark.parametrize("step", [-5, 5])
def test_a_clock_that_is_set_lets_no_second_trainer_in(run, monkeypatch, step):
    """As NTP does, or a laptop that wakes up: the time of the start moves, and with it that of each process's start."""
    with held(run):
        run.append("started")
        now, began = time.time, psutil.boot_time()
        monkeypatch.setattr(time, "time", lambda: now() + step)
        monkeypatch.setattr(psutil, "boot_time", lambda: began + step)
        if hasattr(psutil, "_pslinux"):
            monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: began + step)
        assert run.state() == "running"
        for take_up in (runs_run.resume_run, Run.begin):
            with pytest.raises(RunError, match="already at work"):
                take_up(runs_run.open_run("run"))
        with pytest.raises(RunError, match="stop it before it is deleted"):
            runs_run.delete_run(run)
    assert run.state() == "died"


def test_of_four_who_resume_a_run_at_once_one_does(at_rest, monkeypatch):
    """Whoever is second is refused, though the process of the first has not said a word yet."""
    started, popen = [], subprocess.Popen

    def start(*_: object, **handed: Any) -> None:
        started.append(popen([sys.executable, "-c", "import time; time.sleep(60)"], pass_fds=handed["pass_fds"]))

    def resume(_: int) -> str:
        try:
            runs_run.resume_run(runs_run.open_run("run"))
        except RunError as error:
            return str(error)
        return ""

    monkeypatch.setattr(subprocess, "Popen", start)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(resume, range(4)))
    assert len(started) == 1
    assert sorted(bool(answer) for answer in answers) == [False, True, True, True]
    assert all("already at work" in answer for answer in answers if answer)
    assert at_rest.state() == "starting"
    started[0].kill()
    started[0].wait()
    assert at_rest.state() == "died"


def test_a_failed_run_has_failed_though_its_process_still_ends(run):
    run.begin()
    run.append("failed", message="No.")
    assert run.state() == "failed"


def test_only_one_process_works_on_a_run(run):
    run.begin()
    for other in (run, runs_run.open_run("run")):
        with pytest.raises(RunError, match="already at work in another process"):
            other.begin()
    assert [event["type"] for event in events_of(run)] == ["started"]


def test_a_stop_that_comes_before_the_process_is_not_lost(run):
    run.request_stop()
    run.begin()
    assert run.stop_requested()
    assert run.state() == "stopping"


def test_a_stop_is_forgotten_by_who_goes_on_with_the_run(at_rest):
    at_rest.request_stop()
    at_rest.append("stopped")
    at_rest.begin()
    assert not at_rest.stop_requested()
    assert at_rest.state() == "running"
    at_rest.leave()


def test_a_process_that_is_launched_is_starting_and_its_death_is_seen_at_once(run):
    run.append("launched")
    with held(run):
        assert run.state() == "starting"
        run.request_stop()
        assert run.state() == "stopping"
    assert run.state() == "died"


def test_where_a_lock_cannot_be_handed_over_a_launched_run_is_starting_for_a_while(at_rest, monkeypatch):
    monkeypatch.setattr(runs_run, "CAN_HAND_OVER", False)
    at_rest.append("launched")
    at_rest.request_stop()
    assert at_rest.state() == "stopping"
    at_rest.begin()
    assert at_rest.stop_requested()
    at_rest.leave()
    at_rest.append("launched")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + runs_run.SECONDS_TO_START + 1)
    assert at_rest.state() == "died"


def test_who_resumes_a_run_at_work_is_refused(run):
    with held(run):
        run.append("started")
        with pytest.raises(RunError, match="already at work"):
            runs_run.resume_run(run)
    assert [event["type"] for event in events_of(run)] == ["started"]


def test_what_ended_a_run_is_told_as_far_as_it_can_be(at_rest, monkeypatch):
    run = at_rest
    assert "from outside" in run.failure_reason()
    run.log(runs_run.STARTING_TENSORFLOW)
    with (run.folder / "log.txt").open("a") as log:
        log.write("Fatal Python error: Segmentation fault\n")
    assert "crashed" in run.failure_reason()
    run.log(runs_run.STARTING_TENSORFLOW)  # of a later process
    assert "from outside" in run.failure_reason()
    monkeypatch.setattr(runs_run, "FULL_DISK", 2**62)
    assert run.failure_reason().startswith("The disk is full")


def test_a_finished_run_is_not_taken_up_again(at_rest):
    at_rest.append("exported", model="run", epoch=1)
    for take_up in (at_rest.begin, lambda: runs_run.resume_run(at_rest)):
        with pytest.raises(RunError, match="Run run is finished"):
            take_up()
    assert at_rest.state() == "finished"


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


@pytest.mark.parametrize(("told", "most"), [(None, 1), ("1", 1), ("2", 2), ("3", 3)])
def test_so_many_runs_learn_at_once_and_who_came_first_goes_first(run, monkeypatch, told, most):
    if told:
        monkeypatch.setenv(runs_run.AT_ONCE, told)
    working, before, after = others = [runs_run.create_run(CONFIG, name) for name in ("working", "before", "after")]
    working.append("started")
    assert bool(runs_run.runs_ahead(run)) == (most < 2)
    before.append("queued")
    ahead = {one.name for one in runs_run.runs_ahead(run)}
    assert ahead == ({"working", "before"} if most < 3 else set())
    run.append("queued")
    after.append("queued")
    assert {one.name for one in runs_run.runs_ahead(run)} == ahead
    assert {one.name for one in runs_run.runs_ahead(before)} == ({"working"} if most < 2 else set())
    working.append("exported")
    assert {one.name for one in runs_run.runs_ahead(run)} == ({"before"} if most < 2 else set())
    assert {one.name for one in runs_run.runs_ahead()} == {"before", "run", "after"}  # for a new one
    before.leave()  # and so has died
    assert runs_run.runs_ahead(run) == []
    for other in others:
        other.leave()


@pytest.mark.parametrize("told", ["", "0", "-1", "two", "1.5"])
def test_a_number_of_runs_that_is_none_is_told(run, monkeypatch, told):
    monkeypatch.setenv(runs_run.AT_ONCE, told)
    with pytest.raises(RunError, match="COVID_CNN_RUNS_AT_ONCE must be a whole number of at least 1"):
        runs_run.resume_run(run)
    assert run.state() == "died"


def test_a_run_waits_for_its_turn(run, monkeypatch):
    first = runs_run.create_run(CONFIG, "first")
    first.append("started")

    looks = []
    look = runs_run.runs_ahead

    def ahead(run: Run) -> list[Run]:
        looks.append(run.state())
        if len(looks) == 3:
            first.leave()
        return look(run)

    monkeypatch.setattr(runs_run, "runs_ahead", ahead)
    run.begin()
    assert looks == ["starting", "waiting", "waiting"]
    assert run.log_tail().count("Waiting for first.") == 1
    assert [event["type"] for event in events_of(run)] == ["queued", "started"]
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


def test_every_run_is_listed_whatever_another_one_holds(at_rest):
    """A run whose files are none, or hold what a run never writes, stops no other from being looked at or begun."""
    for number, (name, content) in enumerate(STRANGE):
        strange = runs_run.create_run(CONFIG, f"strange-{number}")
        strange.leave()
        file = strange.folder / name
        file.unlink(missing_ok=True)
        content(file) if callable(content) else file.write_bytes(content)
    (paths.runs_dir() / "no_run").mkdir()
    (paths.runs_dir() / "no_run" / "config.json").symlink_to("nowhere")
    found = runs_run.discover_runs()
    assert {"run"} <= {one.name for one in found}
    for one in found:
        assert one.state() in ("died", "stopping")
        assert isinstance(one.note + one.log_tail() + one.failure_reason(), str)
    assert runs_run.runs_ahead() == []
    at_rest.begin()
    assert at_rest.state() == "running"
    at_rest.leave()


STRANGE: list[tuple[str, Any]] = [
    (name, content)
    for name in ("events.jsonl", "note.txt", "log.txt", "lock", "stop", "config.json")
    for content in (b"\xff\n" * 9, b"{}\n", b"[" * 10**5, os.mkfifo, Path.mkdir, lambda path: path.symlink_to(path))
]


def test_events_are_one_json_object_a_line(run):
    run.append("step", epoch=1, step=2, loss=0.5)
    run.append("failed", message="Line\nbreaks and ümlauts")
    lines = (run.folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == events_of(run)
    first, second = events_of(run)
    assert first.pop("time") == pytest.approx(time.time(), abs=5)
    assert first == {"type": "step", "epoch": 1, "step": 2, "loss": 0.5}
    assert second["message"] == "Line\nbreaks and ümlauts"


def test_a_line_cut_off_by_a_crash_is_left_out_and_takes_no_other_with_it(at_rest):
    run = at_rest
    run.append("epoch", epoch=1)
    with (run.folder / "events.jsonl").open("a") as file:
        file.write('{"time": 17, "type": "ste')
    assert [event["type"] for event in events_of(run)] == ["started", "epoch"]
    assert run.state() == "died"
    run.begin()
    assert [event["type"] for event in events_of(run)] == ["started", "epoch", "started"]
    assert run.state() == "running"
    run.leave()


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
        started = [event for event in events_of(run) if event["type"] == "started"]
        if started and run.state() in ("running", "stopping"):
            psutil.Process(started[0]["pid"]).kill()
    assert seen[-1] == "finished", run.log_tail()
    assert "running" in seen
    assert events_of(run)[-1]["type"] == "exported"
    assert Bundle(paths.models_dir() / "child").classes == ("NORMAL", "PNEUMONIA")


def _wait(run: Run) -> list[str]:
    """The states that the run goes through, until it is at rest."""
    seen = [run.state()]
    while seen[-1] in ("starting", "waiting", "running") and len(seen) < 2000:
        time.sleep(0.1)
        seen.append(run.state())
    return seen


# Rename, note, delete


def test_a_run_at_rest_can_be_renamed_annotated_and_deleted(at_rest):
    run = at_rest
    run.note = "Ümlauts, too."
    run = runs_run.rename_run(run, "other")
    assert [found.name for found in runs_run.discover_runs()] == ["other"]
    assert (run.note, run.state(), run.config) == ("Ümlauts, too.", "died", CONFIG)
    runs_run.create_run(CONFIG, "taken").leave()
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


# A disk that takes nothing


@pytest.fixture
def read_only(monkeypatch) -> None:
    """No file or folder can be made, renamed or opened for writing under the home, whoever tries."""

    def refuse(place: object, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(place))

    open_file = os.open

    def open_to_read(path, flags, *rest, **more):
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            refuse(path)
        return open_file(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", open_to_read)
    for name in ("mkdir", "rename", "touch", "write_bytes", "unlink"):
        monkeypatch.setattr(Path, name, refuse)


@pytest.mark.parametrize(
    "act",
    [
        lambda run: runs_run.start_run(CONFIG, "new"),
        lambda run: runs_run.create_run(CONFIG),
        runs_run.resume_run,
        runs_run.delete_run,
        lambda run: runs_run.rename_run(run, "other"),
        Run.request_stop,
        lambda run: setattr(run, "note", "x"),
    ],
)
def test_on_a_read_only_disk_all_that_writes_is_a_sentence(at_rest, read_only, act):
    with pytest.raises(RunError, match=r"Read-only file system\. See that .* can be used\.$"):
        act(at_rest)
    assert at_rest.state() == "died"
    assert [one.name for one in runs_run.discover_runs()] == ["run"]


def test_a_folder_in_the_place_of_a_run_is_told(home):
    (paths.runs_dir() / "left_over").mkdir(parents=True)
    with pytest.raises(RunError, match="already a folder that is no run called left_over: choose another name"):
        runs_run.create_run(CONFIG, "left_over")


def test_runs_that_is_a_file_is_told(home):
    paths.home().mkdir(exist_ok=True)
    paths.runs_dir().touch()
    for name in ("new", None):
        with pytest.raises(RunError, match="cannot be made: "):
            runs_run.create_run(CONFIG, name)


def test_what_was_left_of_a_deletion_stands_in_no_ones_way(at_rest):
    left_over = paths.runs_dir() / ".deleted-run" / "checkpoint"
    left_over.mkdir(parents=True)
    runs_run.delete_run(at_rest)
    assert not list(paths.runs_dir().glob("*run*")) and not left_over.exists()
