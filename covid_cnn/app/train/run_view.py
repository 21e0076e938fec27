"""One run: how far it is, its curves while it learns, and what came out of it.

All that is shown is read from the run's folder, so that a reload, another tab or a restart loses nothing.
"""

import io
import json
import re
import shlex
import time
from dataclasses import asdict
from functools import partial
from typing import Any, Literal

import pandas as pd
import streamlit as st

from covid_cnn.app import pages
from covid_cnn.app.shared import demo
from covid_cnn.app.shared.elements import escape_markdown
from covid_cnn.app.train import actions, charts, pictures
from covid_cnn.app.train.settings import describe_settings, fill_settings
from covid_cnn.common import paths, statistics
from covid_cnn.common.errors import CovidCnnError
from covid_cnn.evaluation import metrics
from covid_cnn.models import bundle
from covid_cnn.reports import figures
from covid_cnn.runs.config import INSTALLED, TrainConfig, find_recipe
from covid_cnn.runs.events import EventLog
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
    """One run: live while it is at work, and then its result."""
    config, state = run.config, run.state()
    active = state in ACTIVE
    if run.note:
        st.caption(escape_markdown(run.note))
    st.fragment(_progress, run_every=1.0 if active else None)(run, config, active)
    if run.journal.epochs or active:
        _downloads(run)
    if not active:
        _end(run, config)
        actions.draw_actions([run], is_open=True)
        st.fragment(_watch, run_every=2.0)(run, state)
    with st.expander("Settings", icon=":material/tune:"):
        settings = pd.DataFrame(describe_settings(config).items(), columns=["Setting", "Value"])
        st.dataframe(settings, hide_index=True, width="content", height="content")
        st.caption("The command that trains it again:")
        st.code(_command(config), language="bash", wrap_lines=True)
        st.caption("Its curves beside those of all other runs in TensorBoard:")
        st.code(shlex.join(["tensorboard", "--logdir", str(paths.runs_dir())]), language="bash", wrap_lines=True)
        with st.container(horizontal=True):
            st.download_button(
                "Settings (JSON)",
                json.dumps(asdict(config), indent=2),
                file_name=f"{run.name}.json",
                mime="application/json",
                icon=":material/download:",
                on_click="ignore",
            )
            again = "Opens a new run with these settings, to change one of them."
            st.button("Train again with a change", icon=":material/edit:", on_click=retrain, args=(run,), help=again)


def _watch(run: Run, drawn: str) -> None:
    """Draw the page anew when somebody else has taken the run up."""
    if run.folder.exists() and run.state() != drawn:
        st.rerun()


def retrain(run: Run) -> None:
    """Fill the fields of a new run with the settings of this one."""
    config = run.config
    st.session_state["train_run"] = None
    fill_settings(config)


def _progress(run: Run, config: TrainConfig, active: bool) -> None:
    """How far a run is and its curves; drawn every second while ``active``."""
    journal, state = run.journal, run.state()
    if active and state not in ACTIVE:
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center"):
        colour, icon = BADGES[state]
        st.badge(state.capitalize(), color=colour, icon=icon)
        if active:
            st.text(_doing(run, state, journal), width="stretch")
            if demo.may_stop(run):
                st.button(
                    "Stop",
                    icon=":material/stop:",
                    on_click=run.request_stop,
                    disabled=state == "stopping",
                    help="Ends the run within a step, and keeps its best epoch.",
                )
    done, total = journal.done, journal.total
    if active and (told := journal.progress):
        st.progress(told["done"] / told["total"], text=f"{told['what']}: {told['done']} of {told['total']}")
    else:
        step = f"Step {done} of {total}" if total else "No step yet"
        st.progress(min(1.0, done / total) if total else 0.0, text=step)
    _figures(journal, config, state)
    if done:
        logarithmic = st.toggle("Loss on a log scale", key="train_log_scale", persist_state="session")
        charts.draw_charts(journal, config.epochs, logarithmic)
    pictures.draw_pictures(run, live=active)


def _figures(journal: EventLog, config: TrainConfig, state: str) -> None:
    at_work = state in ("running", "stopping")
    with st.container(horizontal=True):
        st.metric("Epoch", f"{journal.epoch} of {config.epochs}")
        worked = journal.seconds_at_work(time.time() if at_work else None)
        st.metric("Time", _duration(worked), help="That the run has been at work.")
        if state == "running":
            left = journal.seconds_left()
            shown = "–" if left is None else _duration(left)
            st.metric("Left", shown, help="For the steps that are left, at the pace of the last epoch.")
        best = journal.best
        if best:
            st.metric(
                "Best epoch", best["epoch"], help="The one with the lowest validation loss; it becomes the model."
            )
            st.metric("Its validation loss", f"{best['val_loss']:.4f}")
            st.metric("Its validation accuracy", f"{best['val_accuracy']:.1%}")
        if "learning_rate" in config.telling:
            st.metric("Learning rate", f"{journal.learning_rate or config.learning_rate:.3g}")
    read = journal.latest("read")
    if best and read:
        among = statistics.wilson(round(best["val_accuracy"] * read["val"]), read["val"])
        st.caption(
            f"The validation accuracy is of {among.n} images: 95 % interval {among.low:.1%} to {among.high:.1%}. They "
            "choose the best epoch, so that they flatter it; the test does not."
        )
    if early := journal.latest("early"):
        st.info(escape_markdown(early["message"]), icon=":material/flag:")


def _doing(run: Run, state: str, journal: EventLog) -> str:
    """What an active run is doing now: learning, or else what it said last."""
    if state == "starting":
        return "Starting Python."
    if state == "waiting":
        return _waiting(run)
    last = journal.last
    if last and (last["type"] == "step" or (last["type"] == "epoch" and last["epoch"] < run.config.epochs)):
        return "Learning."
    # The log's own sentences begin with the time; libraries write there too.
    messages = re.findall(r"^\d\d:\d\d:\d\d (.+)$", run.last_words(100), re.MULTILINE)
    return messages[-1] if messages else "Starting TensorFlow."


def _waiting(run: Run) -> str:
    """The queue, for a run that waits in it."""
    ahead = runs_ahead(run)
    at_work = [other.name for other in ahead if other.state() != "waiting"]
    place = len(ahead) - len(at_work) + 1
    return f"Number {place} in the queue: the machine can carry no more beside {', '.join(at_work) or 'what it does'}."


def _duration(seconds: float) -> str:
    """``75`` -> ``1:15``, ``3675`` -> ``1:01:15``."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


# The end of a run


def _end(run: Run, config: TrainConfig) -> None:
    journal, state = run.journal, run.state()
    epochs, exported = journal.epochs, journal.latest("exported")
    _say_why(run, state)
    if state != "finished":
        complete = exported and epochs and epochs[-1]["epoch"] == config.epochs
        what = "Goes on after the last whole epoch, or from the beginning if there was none."
        if (
            not complete
            and demo.may_stop(run)
            and st.button("Resume", type="primary", icon=":material/resume:", help=what)
        ):
            demo.check_run(config)
            resume_run(run)
            st.rerun()
        if state == "failed" and not epochs and find_recipe(config.network).fetched and config.learns != "scratch":
            told = f"Opens a new run with {INSTEAD.title}, whose weights are installed with the program."
            other = f"Take {INSTEAD.title} instead"
            st.button(other, icon=":material/swap_horiz:", on_click=_take_instead, args=(config,), help=told)
        lost = state in ("failed", "died")
        with st.expander("The end of its log", icon=":material/description:", expanded=lost):
            st.code(run.last_words(), language=None, wrap_lines=True)
    if exported:
        _result(exported["model"])


def _take_instead(config: TrainConfig) -> None:
    """Fill the fields of a new run with the same dataset and seed, and the network that needs no internet."""
    st.session_state["train_run"] = None
    fill_settings(TrainConfig.of(config.data, INSTALLED, seed=config.seed))


def _say_why(run: Run, state: str) -> None:
    """Why a run is not finished, in a sentence."""
    journal = run.journal
    kept = "Its best epoch so far is a model." if journal.latest("exported") else "It made no model."
    whole = f"Its {len(journal.epochs)} whole epochs are kept." if journal.epochs else "No epoch was complete."
    if state == "failed":
        st.error(escape_markdown((journal.latest("failed") or {})["message"]), icon=":material/error:")
    elif state == "died":
        st.error(f"The run ended without a word. {run.why_it_died()} {whole}", icon=":material/power_off:")
    elif state == "stopped":
        st.warning(f"The run was stopped. {kept}", icon=":material/stop:")


def _result(name: str) -> None:
    """What the exported model does on images that it did not learn from, and the way to it."""
    try:
        info = bundle.read_info(bundle.folder_of(name))
    except CovidCnnError as error:
        st.error(escape_markdown(str(error)))
        return
    if "test" in info["metrics"]:
        report = info["metrics"]["test"]
        st.subheader("The test")
        st.caption(f"{report['n']} images of {report['n_patients']} patients, which the training never saw.")
    elif "val" in info["metrics"]:
        report = info["metrics"]["val"]
        st.subheader("On the validation images")
        st.caption(
            f"There is no test split. These {report['n']} images of {report['n_patients']} patients chose the best "
            "epoch, so that they flatter the model."
        )
    else:
        st.caption("It carries no figures from a test.")
        return
    table, confusion = st.columns([3, 2], gap="large")
    with table:
        st.dataframe(_metrics(report), hide_index=True, height="content")
        if st.button("Try it on Predict", type="primary", icon=":material/radiology:"):
            st.session_state["predict_model"] = name
            pages.switch_to(pages.PREDICT)
    confusion.pyplot(figures.draw_confusion_matrix(report["confusion"], report["classes"]), width="content")


def _metrics(report: dict[str, Any]) -> pd.DataFrame:
    """A report's metrics with their intervals, as text."""
    lines = [
        (title, f"{interval.value:.3f}", interval.bounds, str(interval.n)) if interval else (title, "undefined", "", "")
        for title, interval in metrics.metric_rows(report)
    ]
    return pd.DataFrame(lines, columns=["Metric", "Value", "95 % interval", "Images"])


def _downloads(run: Run) -> None:
    with st.container(horizontal=True):
        for kind, mime in (("png", "image/png"), ("svg", "image/svg+xml")):
            st.download_button(
                f"Loss curves ({kind.upper()})",
                partial(_loss_figure, run, kind),
                file_name=f"{run.name}_loss.{kind}",
                mime=mime,
                icon=":material/download:",
                on_click="ignore",
            )


def _loss_figure(run: Run, kind: str) -> bytes:
    """The curves as they are when the button is pressed."""
    file = io.BytesIO()
    figures.draw_loss_curves(run.journal.epochs).savefig(file, format=kind, dpi=200)
    return file.getvalue()


def _command(config: TrainConfig) -> str:
    """The command line that trains a run of these settings."""
    options = [text for key, value in config.telling.items() for text in (f"--{key.replace('_', '-')}", str(value))]
    return shlex.join(["python", "-m", "covid_cnn", "train", *options])
