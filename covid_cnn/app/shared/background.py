"""Long work in the background: a button that starts it, its progress, a button that stops it, and its result."""

from collections.abc import Hashable
from typing import Any, NoReturn, TypeVar, cast

import streamlit as st

from covid_cnn.app.shared import demo
from covid_cnn.app.shared.elements import draw_error, escape_markdown
from covid_cnn.common.jobs import Job, Work

T = TypeVar("T")
SOON = 0.4  # seconds in which short work may end, so that no progress flickers by
MOST = 48  # results that are held, the latest


@st.cache_resource(show_spinner=False)
def _jobs() -> dict[Hashable, Job[Any]]:
    """All work of this process, whoever started it."""
    return {}


def is_known(key: Hashable) -> bool:
    """Whether the work of this key was started."""
    return key in _jobs()


def begin_work(key: Hashable, work: Work[T]) -> Job[T]:
    """Start work under its key; the oldest results give way to it."""
    jobs = _jobs()
    ended = [other for other, job in jobs.items() if not job.running]
    for other in [key, *ended[: max(0, len(jobs) - MOST + 1)]]:
        jobs.pop(other, None)
    job = jobs[key] = Job(work)
    demo.own(job)
    return job


def ensure_work(key: Hashable, work: Work[T]) -> Job[T]:
    """The work of this key, which begins where nobody has begun it."""
    return _jobs().get(key) or begin_work(key, work)


def await_result(key: Hashable, work: Work[T], start: str, at_once: bool = False) -> T | None:
    """What `work` returned; until then a button, called ``start``, that starts it, or its progress, and None.

    The same work has the same key, in all sessions. ``at_once`` begins it without a button, unless it was stopped or
    has failed.
    """
    job = _jobs().get(key)
    if job is None or (not job.running and job.result is None):
        if job:
            st.info(escape_markdown(job.problem), icon=":material/info:")
        place = st.empty()
        wanted = at_once and not job
        if not wanted and not place.button(
            start, key=f"start_{hash(key)}", icon=":material/play_arrow:", type="primary"
        ):
            return None
        place.empty()
        job = begin_work(key, work)
        job.wait(SOON)
    if job.running:
        watch_job(job, str(hash(key)))
        return None
    return cast("T | None", job.result)


def start_for_session(key: str, work: Work[Any]) -> NoReturn:
    """Start work that belongs to this session, kept under ``key`` of its state, and draw the page anew."""
    job = st.session_state[key] = Job(work)
    demo.own(job)
    job.wait(SOON)
    st.rerun()


def take_result(key: str) -> Any:
    """What the work of this session under ``key`` returned, once; before, its progress or its problem, and None."""
    job: Job[Any] | None = st.session_state.get(key)
    if job and job.running:
        watch_job(job, key)
    elif job:
        del st.session_state[key]
        if job.result is None:
            draw_error(job.problem)
        return job.result
    return None


@st.fragment(run_every=1.0)
def watch_job(job: Job[Any], name: str) -> None:
    """Its progress, with a button that stops it; the page runs anew once it has ended."""
    if not job.running:
        st.rerun()
    st.progress(min(max(job.part, 0.0), 1.0), escape_markdown(job.message))
    if demo.may_stop(job) and st.button("Stop", key=f"stop_{name}", icon=":material/stop:"):
        job.stop()
