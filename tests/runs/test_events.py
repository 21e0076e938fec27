"""What a run's events tell, read as they come."""

import json
import os
import time
import tracemalloc
from pathlib import Path

import pytest

from covid_cnn.runs import events
from covid_cnn.runs.events import EventLog


class Writer:
    """Writes events as a run does, into a file of its own."""

    def __init__(self, file):
        self.file = file

    def __call__(self, kind, **fields):
        with self.file.open("a") as opened:
            opened.write(json.dumps({"time": time.time(), "type": kind, **fields}) + "\n")

    def step(self, step, epoch=1, loss=0.5, **fields):
        self("step", epoch=epoch, step=step, steps=12, loss=loss, accuracy=0.5, **fields)

    def epoch(self, epoch, val_loss=0.5, steps=3):
        for step in range((epoch - 1) * steps + 1, epoch * steps + 1):
            self.step(step, epoch)
        self("epoch", epoch=epoch, step=epoch * steps, loss=0.5, accuracy=0.5, val_loss=val_loss, val_accuracy=0.5)


@pytest.fixture
def tell(tmp_path) -> Writer:
    return Writer(tmp_path / "events.jsonl")


@pytest.fixture
def journal(tell) -> EventLog:
    return EventLog(tell.file)


def test_without_events_it_is_empty(journal):
    assert journal.read().last is None
    assert journal.steps()["loss"].shape == (0,)
    assert (journal.epoch, journal.done, journal.best, journal.seconds_left()) == (0, 0, None, None)
    assert journal.seconds_at_work(time.time()) == 0


def test_each_look_takes_in_what_is_new(journal, tell):
    tell("started")
    tell.epoch(1, val_loss=0.4)
    journal.read()
    tell.epoch(2, val_loss=0.6)
    tell("exported")
    journal.read().read()
    assert journal.steps()["step"].tolist() == [1, 2, 3, 4, 5, 6]
    assert [event.epoch for event in journal.epochs] == [1, 2]
    assert [event.type for event in journal.marks] == ["started", "exported"]
    assert (journal.epoch, journal.done, journal.total) == (2, 6, 12)
    assert journal.best.epoch == 1


def test_a_line_that_is_being_written_is_taken_when_it_is_whole(journal, tell):
    tell("started")
    with tell.file.open("a") as opened:
        opened.write('{"time": 1, "type": "sto')
    assert [event.type for event in journal.read().marks] == ["started"]
    with tell.file.open("a") as opened:
        opened.write('pped"}\n')
    assert [event.type for event in journal.read().marks] == ["started", "stopped"]


def test_progress_is_known_until_something_else_is_told(journal, tell):
    tell("started")
    tell("progress", what="Reading images", done=2, total=9)
    tell("progress", what="Reading images", done=5, total=9)
    progress = journal.read().progress
    assert progress and (progress.done, progress.total) == (5, 9)
    assert [mark.type for mark in journal.marks] == ["started"]
    tell("stopped")
    assert journal.read().progress is None


STEP = {"epoch": 1, "step": 1, "loss": 0.5, "accuracy": 0.5}


@pytest.mark.parametrize(
    "line",
    [
        b'{"half": ',
        b"[]",
        b"\xff\xfe",
        b"17",
        b"",
        b"\0" * 99,
        b"[" * 10**5,
        b'{"time": 1, "type": "stopped", "deep": ' + b"[" * 10**5 + b"]" * 10**5 + b"}",
        b'{"type": "stopped"}',
        b'{"time": NaN, "type": "stopped"}',
        b'{"time": 1e999, "type": "stopped"}',
        b'{"time": 1e300, "type": "stopped"}',
        b'{"time": -1, "type": "stopped"}',
        b'{"time": "1", "type": "stopped"}',
        b'{"time": 1, "type": ["stopped"]}',
        b'{"time": 1, "type": {}}',
        b'{"time": 1, "type": "of a later version"}',
        b'{"time": 1, "type": "failed", "message": 5}',
        b'{"time": 1, "type": "exported", "model": "../../elsewhere", "epoch": 1}',
        b'{"time": 1, "type": "read", "classes": [1], "train": 1, "val": 1}',
        b'{"time": 1, "type": "read", "classes": [], "train": 1, "val": 0}',
        b'{"time": 1, "type": "progress", "what": "x", "done": 0, "total": 0}',
        b'{"time": 1, "type": "progress", "what": "x", "done": 2, "total": 1}',
        b'{"time": 1, "type": "test", "metrics": {"accuracy": {"value": "high"}}}',
        *(json.dumps({"time": 1, "type": "step", **STEP, key: None}).encode() for key in STEP),
        *(json.dumps({"time": 1, "type": "step", **STEP, key: -1}).encode() for key in ("epoch", "step", "accuracy")),
        json.dumps({"time": 1, "type": "step", **STEP, "epoch": 10**30}).encode(),
        json.dumps({"time": 1, "type": "epoch", **STEP}).encode(),  # without the losses of the validation
        b"x" * (3 * events.LONGEST),
    ],
)
def test_a_damaged_line_is_passed_over_and_counted(journal, tell, line):
    tell("started")
    with tell.file.open("ab") as opened:
        opened.write(line + b"\n")
    tell("stopped")
    assert [event.type for event in journal.read().marks] == ["started", "stopped"]
    assert (journal.damaged, journal.done, journal.epochs, journal.progress) == (1, 0, [], None)


@pytest.mark.parametrize("extra", [{}, {"pid": "x"}, {"pid": -1}, {"pid": [1]}, {"of a later version": {"a": [None]}}])
def test_what_nothing_reads_of_an_event_may_be_anything(journal, tell, extra):
    tell("started", **extra)
    assert [event.type for event in journal.read().marks] == ["started"] and not journal.damaged


def test_a_line_of_a_gigabyte_costs_no_memory_and_is_read_once(journal, tell):
    tell("started")
    with tell.file.open("ab") as opened:
        opened.truncate(2**30)  # a hole, which reads as zeros
    tracemalloc.start()
    assert [event.type for event in journal.read().marks] == ["started"]
    assert tracemalloc.get_traced_memory()[1] < 4 * events.LONGEST
    tracemalloc.stop()
    began = time.perf_counter()
    with tell.file.open("ab") as opened:
        opened.write(b"\n")
    tell("stopped")
    assert [event.type for event in journal.read().marks] == ["started", "stopped"]
    assert time.perf_counter() - began < 0.1
    assert journal.damaged == 1


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to(path), lambda path: None])
def test_events_that_are_no_file_are_none(journal, make):
    make(journal.file)
    assert journal.read().last is None


def test_what_is_trained_again_after_a_resume_counts_once(journal, tell):
    tell.epoch(1)
    for step in (4, 5):  # of an epoch that does not end
        tell.step(step, epoch=2, loss=9.0)
    tell("started")
    tell.epoch(2)
    journal.read()
    assert journal.steps()["step"].tolist() == [1, 2, 3, 4, 5, 6]
    assert [event.epoch for event in journal.epochs] == [1, 2]
    assert set(journal.steps()["loss"]) == {0.5}


def test_a_run_that_starts_over_forgets_what_it_had_learned(journal, tell):
    tell.epoch(1)
    tell.epoch(2)
    journal.read()
    tell.step(1)
    assert journal.read().steps()["step"].tolist() == [1]
    assert journal.epochs == []


def test_another_file_of_the_name_is_read_from_its_beginning(journal, tell):
    tell.epoch(1)
    journal.read()
    tell.file.unlink()
    assert journal.read().last is None
    tell.epoch(1)
    tell.epoch(2)
    assert len(journal.read().epochs) == 2


def test_times_leave_out_the_pause_before_a_resume(journal, tell):
    now = time.time()
    tell("started", time=now - 1000)
    tell.step(1, time=now - 990)
    tell("launched", time=now - 40)
    tell("started", time=now - 20)
    assert journal.read().seconds_at_work() == pytest.approx(10)
    assert journal.seconds_at_work(now) == pytest.approx(30)
    assert journal.seconds_left() is None
    for step in (2, 3, 4):
        tell.step(step, time=now - 20 + step)
    assert journal.read().seconds_left() == pytest.approx(8)


def test_a_hundred_thousand_steps_are_read_once(journal, tell):
    line = json.dumps({"time": 0.0, "type": "step", "epoch": 1, "step": 0, "steps": 1, "loss": 0.5, "accuracy": 0.5})
    tell.file.write_text("".join(line.replace('"step": 0', f'"step": {n}') + "\n" for n in range(100_000)))
    assert journal.read().steps()["step"].shape == (100_000,)
    read = []
    take = journal._take
    journal._take = lambda event: (read.append(event), take(event))
    tell.step(100_000)
    assert journal.read().done == 100_000
    assert len(read) == 1
