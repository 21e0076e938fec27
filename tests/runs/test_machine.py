"""A container's limits count where they are below the machine's."""

import os

import psutil
import pytest

from covid_cnn.runs import machine


@pytest.fixture
def container(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    return tmp_path


def test_without_a_container_it_is_the_machine(container):
    assert 1 <= machine.cores() <= (os.cpu_count() or 1)
    assert machine.available_memory() == pytest.approx(psutil.virtual_memory().available, rel=0.2)


@pytest.mark.parametrize(("limit", "cores"), [("20000 100000", 1), ("100000 100000", 1), ("300000 100000", 3)])
def test_a_container_has_no_more_cores_than_it_is_given(container, monkeypatch, limit, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)), raising=False)
    (container / "cpu.max").write_text(limit + "\n")
    assert machine.cores() == cores


def test_a_container_without_a_limit_has_the_machine(container):
    (container / "cpu.max").write_text("max 100000\n")
    (container / "memory.max").write_text("max\n")
    (container / "memory.current").write_text("1000\n")
    assert machine.available_memory() > 1000


def test_a_container_has_what_it_has_not_used(container):
    (container / "memory.max").write_text(f"{2**20}\n")
    for used, free in ((2**18, 2**20 - 2**18), (2**21, 0)):
        (container / "memory.current").write_text(f"{used}\n")
        assert machine.available_memory() == free
    (container / "memory.stat").write_text(f"anon 5\ninactive_file {2**20}\nactive_file 7\n")
    assert machine.available_memory() == 0
    (container / "memory.current").write_text(f"{2**20}\n")
    assert machine.available_memory() == 2**20
