"""One run: how far it is, its curves while it learns, and what came out of it.

All that is shown is read from the run's folder, so that a reload, another tab or a restart loses nothing.
"""

import json
import re
import shlex
import time
from dataclasses import asdict
from functools import partial
from typing import Literal

import pandas as pd
import streamlit as st

from covid_cnn.app.shared import demo, library
from covid_cnn.app.shared.elements import draw_errors, escape_markdown, offer_download
from covid_cnn.app.train import charts, result, table
from covid_cnn.app.train.settings import describe_settings, fill_settings
from covid_cnn.common import paths, statistics
from covid_cnn.common.errors import CovidCnnError
from covid_cnn.common.statistics import percent
from covid_cnn.reports import figures
from covid_cnn.runs.config import INSTALLED, TrainConfig, find_recipe
from covid_cnn.runs.events import Early, Epoch, EventLog, Exported, Failed, Read, Step
from covid_cnn.runs.run import ACTIVE, Run, resume_run, runs_ahead

INSTEAD = find_recipe(INSTALLED)
Colour = Literal["blue", "green", "orange", "red", "gray"]
BADGES: dict[str, tuple[Colour, str]] = {
    "starting": ("gray", ":material/hourglass_top:"),
    "waiting": ("gray", ":material/groups:"),
    "running": ("blue", ":material/play_arrow:"),
    "stopping": ("orange", ":material/hourglass_bottom:"),
    "finished": ("green", ":material/check:"),
    "stopped": ("orange", ":material/stop:"),
    "failed": ("red", ":material/error:"),
    "died": ("red", ":material/power_off:"),
}


def draw_run(run: Run) -> None:
    """One run: its result on top once it has one, and its curves, live while it is at work."""
    config, state = run.config, run.state()
    active = state in ACTIVE
    if run.note:
        st.caption(escape_markdown(run.note))
    if active:
        st.fragment(_progress, run_every=1.0)(run, config, active)
    else:
        _progress(run, config, active)
        _end(run, config)
        table.draw_actions([run], is_open=True)
        table.watch({run: state})
    with st.expander("Settings and downloads", icon=":material/tune:"):
        if run.journal.epochs or active:
            with st.container(horizontal=True):
                for kind in figures.KINDS:
                    draw = partial(_loss_figure, run, kind)
                    offer_download(f"Loss curves ({kind.upper()})", draw, f"{run.name}_loss.{kind}")
        settings = pd.DataFrame(describe_settings(config).items(), columns=["Setting", "Value"])
        st.dataframe(settings, hide_index=True, width="content", height="content")
        st.caption("The command that trains it again:")
        st.code(config.command, language="bash", wrap_lines=True)
        st.caption("Its curves beside those of all other runs in TensorBoard:")
        st.code(shlex.join(["tensorboard", "--logdir", str(paths.runs_dir())]), language="bash", wrap_lines=True)
        with st.container(horizontal=True):
            offer_download("Settings (JSON)", lambda: json.dumps(asdict(config), indent=2), f"{run.name}.json")
            again = "Opens a new run with these settings, to change one of them."
            change = "Train again with a change"
            st.button(change, icon=":material/edit:", on_click=fill_settings, args=(config,), help=again)


def _progress(run: Run, config: TrainConfig, active: bool) -> None:
    """How far a run is and its curves; drawn every second while ``active``.

    All places are made first, always the same: what appears later, as the first curves do, moves nothing else, and what
    the browser has is never addressed by a place that it had elsewhere a moment before.
    """
    head = st.container(horizontal=True, vertical_alignment="center")
    outcome, bar = st.container(), st.empty()
    figures_row, notes = st.container(horizontal=True), st.container()
    curves, looks = st.container(), st.container()
    journal, state = run.journal, run.state()
    if active and state not in ACTIVE:
        st.rerun()
    with head:
        _draw_head(run, config, state)
    if not active and (exported := run.journal.latest(Exported)) and exported.model:
        with outcome:
            result.draw_result(exported.model, library.all_datasets()[0])
    done, total = journal.done, journal.total
    if active and (progress := journal.progress):
        bar.progress(progress.done / progress.total, text=f"{progress.what}: {progress.done} of {progress.total}")
    elif active or done < total:
        step = f"Step {done} of {total}" if total else "No step yet"
        bar.progress(min(1.0, done / total) if total else 0.0, text=step)
    with figures_row:
        _figures(journal, config, state)
    with notes:
        _notes(journal)
    with curves:
        charts.draw_charts(journal, config.epochs)
    with looks:
        charts.draw_pictures(run, live=active)


def _draw_head(run: Run, config: TrainConfig, state: str) -> None:
    """The state, and one button: Stop while it is at work, and in its place Resume when it has ended too soon."""
    colour, icon = BADGES[state]
    st.badge(state.capitalize(), color=colour, icon=icon)
    if state in ACTIVE:
        st.text(_doing(run, state, run.journal), width="stretch")
        if demo.may_stop(run):
            st.button(
                "Stop",
                icon=":material/stop:",
                on_click=_stop,
                args=(run,),
                disabled=state == "stopping",
                help="Ends the run within a step, and keeps its best epoch.",
            )
        return
    epochs, exported = run.journal.epochs, run.journal.latest(Exported)
    complete = exported and epochs and epochs[-1].epoch == config.epochs
    if state == "finished" or complete or not demo.may_stop(run):
        return
    st.text("", width="stretch")
    what = "Goes on after the last whole epoch, or from the beginning if there was none."
    if st.button("Resume", type="primary", icon=":material/resume:", help=what):
        with draw_errors():
            demo.check_run(config)
            resume_run(run)
            st.rerun()


def _stop(run: Run) -> None:
    try:
        run.request_stop()
    except CovidCnnError as error:
        st.toast(escape_markdown(str(error)), icon=":material/error:")


def _figures(journal: EventLog, config: TrainConfig, state: str) -> None:
    at_work = state in ("running", "stopping")
    st.metric("Epoch", f"{journal.epoch} of {config.epochs}")
    worked = journal.seconds_at_work(time.time() if at_work else None)
    st.metric("Time", _duration(worked), help="That the run has been at work.")
    if state == "running":
        left = journal.seconds_left()
        shown = "–" if left is None else _duration(left)
        st.metric("Left", shown, help="For the steps that are left, at the pace of the last epoch.")
    best = journal.best
    if best:
        st.metric("Best epoch", best.epoch, help="The one with the lowest validation loss; it becomes the model.")
        st.metric("Its validation loss", f"{best.val_loss:.4f}")
        st.metric("Its validation accuracy", percent(best.val_accuracy, 1))
    if "learning_rate" in config.active_settings:
        st.metric("Learning rate", f"{journal.learning_rate or config.learning_rate:.3g}")


def _notes(journal: EventLog) -> None:
    """How far the validation accuracy is to be trusted, and why the training ended early."""
    best, read = journal.best, journal.latest(Read)
    if best and read:
        among = statistics.wilson(round(best.val_accuracy * read.val), read.val)
        st.caption(
            f"The validation accuracy is of {among.n} images: 95 % interval {percent(among.low, 1)} to "
            f"{percent(among.high, 1)}. They choose the best epoch, so that they flatter it; the test does not."
        )
    if early := journal.latest(Early):
        st.info(escape_markdown(early.message), icon=":material/flag:")
    if journal.damaged:
        st.caption(f"Lines of its events that are damaged, and left out: {journal.damaged}.")


def _doing(run: Run, state: str, journal: EventLog) -> str:
    """What an active run is doing now: learning, or else what it said last."""
    if state == "starting":
        return "Starting Python."
    if state == "waiting":
        return f"It waits for {', '.join(other.name for other in runs_ahead(run)) or 'its turn'}."
    last = journal.last
    if isinstance(last, Step) or (isinstance(last, Epoch) and last.epoch < run.config.epochs):
        return "Learning."
    # The log's own sentences begin with the time; libraries write there too.
    messages = re.findall(r"^\d\d:\d\d:\d\d (.+)$", run.log_tail(100), re.MULTILINE)
    return messages[-1] if messages else "Starting TensorFlow."


def _duration(seconds: float) -> str:
    """``75`` -> ``1:15``, ``3675`` -> ``1:01:15``."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def _end(run: Run, config: TrainConfig) -> None:
    """Why a run is not finished, the end of its log, and, where weights were missing, a network that is here."""
    state = run.state()
    _say_why(run, state)
    if state == "finished":
        return
    if (
        state == "failed"
        and not run.journal.epochs
        and find_recipe(config.network).fetched
        and config.learns != "scratch"
    ):
        what = f"Opens a new run with {INSTEAD.title}, whose weights are installed with the program."
        other = TrainConfig.of(config.data, INSTALLED, seed=config.seed)
        button = f"Take {INSTEAD.title} instead"
        st.button(button, icon=":material/swap_horiz:", on_click=fill_settings, args=(other,), help=what)
    with st.expander("The end of its log", icon=":material/description:", expanded=state in ("failed", "died")):
        st.code(run.log_tail(), language=None, wrap_lines=True)


def _say_why(run: Run, state: str) -> None:
    """Why a run is not finished, in a sentence."""
    journal = run.journal
    kept = "Its best epoch so far is a model." if journal.latest(Exported) else "It made no model."
    whole = f"Its {len(journal.epochs)} whole epochs are kept." if journal.epochs else "No epoch was complete."
    if state == "failed":
        failed = journal.latest(Failed)
        reason = (failed and failed.message) or "It failed, and did not say why."
        st.error(escape_markdown(reason), icon=":material/error:")
    elif state == "died":
        st.error(f"The run ended without a word. {run.failure_reason()} {whole}", icon=":material/power_off:")
    elif state == "stopped":
        st.warning(f"The run was stopped. {kept}", icon=":material/stop:")


def _loss_figure(run: Run, kind: str) -> bytes:
    """The curves as they are when the button is pressed."""
    return figures.encode_figure(figures.draw_loss_curves(run.journal.epochs), kind)
