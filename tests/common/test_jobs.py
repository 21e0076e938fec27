"""Work in the background: how far it is, its result, why it failed, and that it stops."""

import threading

import pytest

from covid_cnn.common.errors import DatasetError
from covid_cnn.common.jobs import Job


def test_a_job_tells_how_far_it_is_and_what_came_of_it():
    go_on = threading.Event()

    def work(progress):
        progress(0.5, "Half")
        go_on.wait(30)
        return 7

    job = Job(work)
    while job.part < 0.5:
        job.wait(0.01)
    assert job.running and job.message == "Half" and job.result is None
    go_on.set()
    job.wait(30)
    assert (job.running, job.result, job.problem) == (False, 7, "")


def test_a_job_stops_when_it_next_tells_how_far_it_is():
    told = []

    def work(progress):
        while True:
            told.append(len(told))
            progress(0, "")
            threading.Event().wait(0.001)

    job = Job(work)
    job.stop()
    job.wait(30)
    assert not job.running and job.result is None
    assert job.problem == "Stopped. What was done so far is kept."


@pytest.mark.parametrize(
    ("error", "told"), [(DatasetError("No image."), "No image."), (ZeroDivisionError(), "Something went wrong")]
)
def test_a_job_that_fails_tells_why_in_a_sentence(error, told):
    def work(progress):
        raise error

    job = Job(work)
    job.wait(30)
    assert job.problem.startswith(told) and job.result is None
