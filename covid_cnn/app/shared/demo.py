"""What a visitor may do where the app is shown to strangers: pages ask here, and nowhere else.

In demo mode (``COVID_CNN_DEMO=1``, or ``python -m covid_cnn app --demo``) everybody is a visitor but who has the key:
whoever entered `TOKEN`, or has logged in by Streamlit's own login under an address in `ADMINS`. Without it nobody is.
"""

import hashlib
import hmac
import os
import time
from collections.abc import Iterable
from enum import Enum
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.web.server.starlette.starlette_app_utils import decode_xsrf_token_string

from covid_cnn.app.server.sessions import count_sessions
from covid_cnn.common import paths
from covid_cnn.common.errors import CovidCnnError
from covid_cnn.common.jobs import Job
from covid_cnn.runs.config import RECIPES, TrainConfig
from covid_cnn.runs.run import ACTIVE, Run, discover_runs

DEMO, TOKEN, ADMINS = "COVID_CNN_DEMO", "COVID_CNN_ADMIN_TOKEN", "COVID_CNN_ADMINS"
_KEY = "demo_has_key"  # of the session
_SECONDS_A_WRONG_KEY = 1.0  # so that keys cannot be tried out by the thousand


class Limits(NamedTuple):
    """How much visitors may have of everything."""

    images: int = 500  # that a run may learn from
    epochs: int = 10
    runs: int = 6  # of all visitors together, at work and waiting
    disk: int = 5 * 2**30  # bytes of runs/, models/ and cache/; above that no run begins
    upload: int = 25 * 2**20  # bytes of a file
    session: int = 60 * 2**20  # bytes of all files of a visitor
    files: int = 50  # of a visitor
    sessions: int = 100  # at once


LIMITS = Limits()


class Deed(Enum):
    """What only whoever runs a demo may do."""

    ADD = "add images to this computer, from a file, a folder or Kaggle"
    NAME = "name or rename anything"
    DELETE = "delete anything"
    FETCH = "train networks whose weights come from the internet"


def is_on() -> bool:
    """Whether the app is shown to strangers."""
    return os.environ.get(DEMO, "").strip().lower() in ("1", "true", "yes", "on")


def is_visitor() -> bool:
    """Whether who looks at this page is one of the strangers."""
    return is_on() and not (st.session_state.get(_KEY) or _is_logged_in_as_admin())


def _is_logged_in_as_admin() -> bool:
    admins = {name.strip().lower() for name in os.environ.get(ADMINS, "").split(",") if name.strip()}
    return bool(admins and st.user.get("is_logged_in") and str(st.user.get("email", "")).lower() in admins)


def require(deed: Deed) -> None:
    """Raise CovidCnnError, with a sentence for the page, where a visitor must not do it."""
    if is_visitor():
        raise CovidCnnError(f"In this demo only whoever runs it can {deed.value}.")


@st.cache_resource(show_spinner=False)
def _owners() -> dict[str, str]:
    """Who has started each run since the app began, by its name."""
    return {}


@st.cache_resource(show_spinner=False)
def _job_owners() -> WeakKeyDictionary[Job[Any], str]:
    """Who has started each work in the background."""
    return WeakKeyDictionary()


def visitor() -> str:
    """The same for all pages that a browser opens: of its cookie, or of its session where it keeps none."""
    token, _ = decode_xsrf_token_string(st.context.cookies.get("_streamlit_xsrf", ""))  # the cookie masks it anew
    context = get_script_run_ctx()
    who = token or (context.session_id if context else "").encode()
    return hashlib.sha256(who).hexdigest()


def own(work: Run | Job[Any]) -> None:
    """Remember that this visitor has started it."""
    if is_on():
        if isinstance(work, Run):
            _owners()[work.name] = visitor()
        else:
            _job_owners()[work] = visitor()


def may_stop(work: Run | Job[Any]) -> bool:
    """Whether who looks at this page may stop it, or take it up: whoever started it, and whoever runs the demo."""
    if not is_visitor():
        return True
    owner = _owners().get(work.name) if isinstance(work, Run) else _job_owners().get(work)
    return owner == visitor()


def check_run(config: TrainConfig, images: int = 0) -> None:
    """Raise CovidCnnError, with a sentence for the page, where this visitor must not start such a run now."""
    if not is_visitor():
        return
    if config.network not in RECIPES or RECIPES[config.network].fetched:
        require(Deed.FETCH)
    if images > LIMITS.images or config.epochs > LIMITS.epochs:
        raise CovidCnnError(
            f"In this demo a run learns from at most {LIMITS.images} images in at most {LIMITS.epochs} epochs; this "
            f"one would from {images} in {config.epochs}."
        )
    active = [run for run in discover_runs() if run.state() in ACTIVE]
    for run in active:
        if _owners().get(run.name) == visitor():
            raise CovidCnnError(f"Everybody has one run at a time in this demo; yours is {run.name}: stop it, or wait.")
    if len(active) >= LIMITS.runs:
        raise CovidCnnError(f"{len(active)} runs are at work or wait, as many as this demo takes: try again later.")
    if folder_bytes([paths.runs_dir(), paths.models_dir(), paths.cache_dir()]) > LIMITS.disk:
        raise CovidCnnError("The disk space of this demo is used up: whoever runs it must delete runs or models.")


def folder_bytes(folders: Iterable[os.PathLike[str]]) -> int:
    """The bytes of all files in some folders; what vanishes meanwhile counts nothing."""
    total = 0
    for folder in folders:
        for where, _, files in os.walk(folder):
            for name in files:
                try:
                    total += os.lstat(os.path.join(where, name)).st_size  # noqa: PTH118
                except OSError:
                    continue
    return total


def draw_strip() -> None:
    """Say on every page of a demo that it is one; whoever runs it enters the key here. Ends a page of too many."""
    if not is_on():
        return
    with st.container(horizontal=True, vertical_alignment="center", key="demo"):
        if is_visitor():
            st.badge("Demo", icon=":material/cast_for_education:", color="violet")
            st.caption(
                "Try everything; what you upload stays in memory and goes with your visit. Adding, renaming and "
                "deleting is for whoever runs this demo.",
                width="stretch",
            )
            _draw_key()
        else:
            st.badge("Demo, with the key", icon=":material/key:", color="green")
    if is_visitor() and _is_full():
        st.info(f"This demo takes {LIMITS.sessions} visitors at once: come back in a while.", icon=":material/groups:")
        st.stop()


def _is_full() -> bool:
    """Whether there are more sessions than the demo takes; nobody who is in already is sent away."""
    if st.session_state.setdefault("demo_is_in", False):
        return False
    full = count_sessions() > LIMITS.sessions
    st.session_state["demo_is_in"] = not full
    return full


def _draw_key() -> None:
    if not os.environ.get(TOKEN):
        return
    with st.popover("Key", icon=":material/key:", type="tertiary"), st.form("demo_key", border=False):
        key = st.text_input("The key of whoever runs this demo", type="password")
        if st.form_submit_button("Unlock"):
            if try_key(key):
                st.session_state[_KEY] = True
                st.rerun()
            st.error("That is not the key.")


def try_key(key: str) -> bool:
    """Whether this is the key; a wrong one takes a second."""
    right = os.environ.get(TOKEN, "")
    if right and hmac.compare_digest(key.encode(), right.encode()):
        return True
    time.sleep(_SECONDS_A_WRONG_KEY)
    return False
