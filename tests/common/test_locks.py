"""A lock that a process holds for its life: told truly whatever ends it, and handed on without a gap."""

import os
import subprocess
import sys
import threading

import pytest

from covid_cnn.common import locks
from covid_cnn.common.locks import ProcessLock

CHILD = """
import sys
from pathlib import Path
from covid_cnn.common.locks import ProcessLock
lock = ProcessLock(Path(sys.argv[1]))
print(lock.take(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def lock(tmp_path):
    lock = ProcessLock(tmp_path / "lock")
    yield lock
    lock.release()


def start(lock: ProcessLock, **handed) -> subprocess.Popen:
    command = [sys.executable, "-c", CHILD, str(lock.file)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **handed)


def end(child: subprocess.Popen) -> None:
    child.kill()
    child.communicate()


def test_a_lock_is_held_until_it_is_released(lock, monkeypatch):
    monkeypatch.setattr(locks, "_PATIENCE", 0.05)
    other = ProcessLock(lock.file)
    assert not lock.is_held() and not lock.file.exists()
    assert lock.take() and lock.take()
    assert other.is_held() and not other.take() and not other.is_mine()
    lock.release()
    assert not lock.is_held() and other.take()
    other.release()


def test_a_lock_goes_with_a_process_that_is_killed(lock):
    child = start(lock)
    assert child.stdout.readline() == "True\n"
    assert lock.is_held()
    end(child)
    assert not lock.is_held()


@pytest.mark.skipif(not locks.CAN_HAND_OVER, reason="Windows hands over no lock")
def test_a_lock_that_is_handed_over_is_never_without_a_holder(lock):
    assert lock.take()
    child = start(lock, **lock.handed_over(os.environ))
    lock.release()
    assert lock.is_held()  # before the child has said a word
    assert child.stdout.readline() == "True\n"
    assert lock.is_held()
    end(child)
    assert not lock.is_held()


def test_who_looks_disturbs_nobody_who_takes_it(lock):
    other = ProcessLock(lock.file)
    assert other.take()
    other.release()
    look = threading.Thread(target=lambda: [other.is_held() for _ in range(5000)])
    look.start()
    for _ in range(50):
        assert lock.take()
        lock.release()
    look.join()


def test_a_lock_handed_over_for_another_file_is_not_taken_for_this_one(lock, tmp_path, monkeypatch):
    strange = ProcessLock(tmp_path / "strange")
    assert strange.take() and lock.take()
    monkeypatch.setenv("COVID_CNN_LOCK", str(strange._descriptor))
    lock.release()
    assert not lock.is_mine()
    strange.release()
