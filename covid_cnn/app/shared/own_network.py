"""Bring your own network: one button, and over the page what its file tells, what it asks for, and the answers."""

import tempfile
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
import streamlit as st

from covid_cnn.app.shared import background, demo, elements
from covid_cnn.app.shared.elements import escape_markdown
from covid_cnn.common.errors import CovidCnnError
from covid_cnn.common.jobs import Job
from covid_cnn.common.statistics import percent
from covid_cnn.data.dataset import Dataset
from covid_cnn.evaluation import own_network
from covid_cnn.evaluation.own_network import SCALES, Choice, Example, OwnNetwork, Trial
from covid_cnn.images import ops

_OPEN, _READ, _ADD = "own_network_open", "own_network_read", "own_network_add"  # of the session
_LASTS = {"": "probabilities already", "sigmoid": "logits, for a sigmoid", "softmax": "logits, for a softmax"}
_NOWHERE = "none of these"
_TRIED = 12  # images of each class of a dataset: few, since somebody waits
_THUMBNAIL = 96


def offer_own_network(key: str, datasets: Sequence[Dataset]) -> None:
    """A button that adds a network of one's own; once it is added, its name is kept under ``key`` of the session.

    Parameters
    ----------
    datasets : among which may be the one that it learned from
    """
    if demo.is_visitor():
        return
    if st.button("Bring your own network", key=f"own_network_{key}", icon=":material/upload_file:", type="tertiary"):
        st.session_state[_OPEN] = key
    if st.session_state.get(_OPEN) == key:
        _dialog(datasets)


def _close() -> None:
    st.session_state.pop(_OPEN, None)


def take_added(key: str) -> None:
    """Choose a network that was just added: before the widget of ``key`` is drawn, which holds its value."""
    job: Job[str] | None = st.session_state.get(_ADD)
    if st.session_state.get(_OPEN) == key and job and job.result:
        st.session_state[key] = job.result
        st.toast(escape_markdown(own_network.describe_added(job.result)), icon=":material/check:")
        for name in (_OPEN, _READ, _ADD):
            st.session_state.pop(name, None)


@st.dialog("Bring your own network", width="large", icon=":material/upload_file:", on_dismiss=_close)
def _dialog(datasets: Sequence[Dataset]) -> None:
    reading, adding = st.session_state.get(_READ), st.session_state.get(_ADD)
    if busy := next((job for job in (adding, reading) if job and job.running), None):
        background.watch_job(busy, "own_network")
    elif reading and reading.result:
        if adding and adding.problem:
            st.error(escape_markdown(adding.problem), icon=":material/error:")
        _ask(reading.result, datasets)
    else:
        if reading and reading.problem:
            st.error(escape_markdown(reading.problem), icon=":material/error:")
        _choose_file()


def _choose_file() -> None:
    st.write(
        "The file that Keras saved, or its SavedModel as a .zip, or a .tflite: it becomes a model like any other, with "
        "heatmaps, tests and a card. Nothing in it is run as code."
    )
    with st.form("own_network_file", border=False):
        kinds = [suffix.removeprefix(".") for suffix in own_network.SUFFIXES]
        upload = st.file_uploader("A .keras, .h5, .tflite or .zip file", type=kinds)
        path = st.text_input(  # kept while it is read, to be corrected where that fails
            "Or where it lies on this computer",
            placeholder="/home/me/my_model.keras",
            key="own_network_path",
            persist_state="session",
        )
        side = st.number_input(
            "Size of its images, if its file leaves it open",
            0,
            1024,
            0,
            help="0: as the file says.",
            key="own_network_side",
            persist_state="session",
        )
        if st.form_submit_button("Read it", type="primary"):
            demo.require(demo.Deed.ADD)
            if upload:
                folder = tempfile.TemporaryDirectory(prefix="covid-cnn-")
                file = Path(folder.name) / Path(upload.name).name
                file.write_bytes(upload.getbuffer())
                _read(file, int(side), held=folder)
            elif path.strip():
                _read(Path(path.strip()).expanduser(), int(side))
            else:
                st.error("Choose a file, or give its path.")


def _read(
    file: Path, side: int = 0, output: str | None = None, held: "tempfile.TemporaryDirectory[str] | None" = None
) -> None:
    """Read a file in the background; ``held`` is the folder that it lies in until then."""

    def work(progress: own_network.Progress) -> OwnNetwork:
        network = own_network.read_network(file, (side, side) if side else None, output, progress)
        network.origin = file, side, held
        return network

    st.session_state.pop(_ADD, None)
    st.session_state[_READ] = background.begin_work(("own network", str(file), side, output), work)
    st.rerun()


def _ask(network: OwnNetwork, datasets: Sequence[Dataset]) -> None:
    """What the file does not tell, with guesses, and the answers under each."""
    st.caption(escape_markdown(network.describe()))
    _choose_output(network)
    found = {one.name: one for one in datasets}
    left, right = st.columns(2)
    data = left.selectbox(
        "It learned from",
        [_NOWHERE, *found],
        help="On its own images it shows which scale fits, and what is unlike them can be told.",
    )
    dataset = found.get(data)
    fits = dataset and len(dataset.classes) == network.classes
    guess = ", ".join(dataset.classes) if dataset and fits else ""
    text = right.text_input(
        f"Its {network.classes} classes, in the order of its answers",
        guess,
        placeholder="NORMAL, PNEUMONIA",
        help="Keras sorts the folders by name. Of one sigmoid the second class is what it speaks for.",
    )
    classes = tuple(name.strip() for name in text.split(",") if name.strip())
    if len(classes) != network.classes:
        st.info(f"Name its {network.classes} classes, with commas between.", icon=":material/edit:")
        return
    with st.spinner("Asking it under each scale"):
        examples, trials = _trials(network, dataset, classes)
    st.markdown(escape_markdown(own_network.verdict(trials, classes)))
    st.html(_table(trials, examples, classes))
    _confirm(network, classes, trials, data if dataset else "")


def _choose_output(network: OwnNetwork) -> None:
    names = network.facts["outputs"]
    if len(names) > 1:
        chosen = st.selectbox("Which of its outputs", names, network.facts["output"])
        if chosen != names[network.facts["output"]]:
            file, side, held = network.origin
            _read(file, side, chosen, held)


def _trials(
    network: OwnNetwork, dataset: Dataset | None, classes: tuple[str, ...]
) -> tuple[list[Example], list[Trial]]:
    """The answers to the same images under each scale, kept with the network."""
    data = dataset.name if dataset else ""
    if (data, classes) not in network.previews:
        examples = own_network.dataset_examples(dataset, _TRIED) if dataset else own_network.sample_examples()
        network.previews[data, classes] = (
            examples,
            own_network.try_scales(network, examples, classes, labelled=dataset is not None),
        )
    return network.previews[data, classes]


def _table(trials: Sequence[Trial], examples: Sequence[Example], classes: Sequence[str]) -> str:
    """Three images of each class, and what is answered to them under each scale."""
    head = "".join(f"<th scope='col'>{escape(SCALES[trial.scale].short)}</th>" for trial in trials)
    rows = []
    for place in own_network.few(examples):
        example = examples[place]
        picture = elements.data_address(ops.fit_within(example.pixels, _THUMBNAIL))
        cells = "".join(
            f"<td>{escape(classes[int(np.argmax(trial.probabilities[place]))])}<br>"
            f"{percent(trial.probabilities[place].max())}</td>"
            for trial in trials
        )
        rows.append(
            f"<tr><th scope='row'><img src='{picture}' alt='' height='48'> {escape(example.label)}</th>{cells}</tr>"
        )
    if trials[0].right:
        shares = "".join(f"<td>{percent(trial.right.value)}</td>" if trial.right else "<td></td>" for trial in trials)
        rows.insert(0, f"<tr><th scope='row'>right, of {trials[0].right.n} images</th>{shares}</tr>")
    style = "font-size:0.8rem;border-collapse:collapse;width:100%;text-align:center"
    return (
        f"<div style='overflow:auto;max-height:14rem'><table style='{style}' aria-label='Answers under each scale'>"
        f"<thead><tr><th scope='col'>Pixels</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _confirm(network: OwnNetwork, classes: tuple[str, ...], trials: Sequence[Trial], data: str) -> None:
    """The scale, the end and the name, and the button that adds it."""
    names = [trial.scale for trial in trials]
    left, middle, right = st.columns(3)
    scale = left.selectbox("Pixels", names, format_func=lambda name: SCALES[name].words)
    lasts, guess = list(_LASTS), trials[names.index(scale)].last
    last = middle.selectbox("Its answers are", lasts, lasts.index(guess), format_func=_LASTS.__getitem__)
    name = right.text_input("Call it", own_network.free_name(network.source))
    if st.button("Add it", type="primary", icon=":material/add:"):
        choice = Choice(name.strip(), classes, scale, last, data)
        try:
            demo.require(demo.Deed.ADD)
            own_network.request(network, choice)  # what does not fit is said at once
        except CovidCnnError as error:
            st.error(escape_markdown(str(error)), icon=":material/error:")
            return
        st.session_state[_ADD] = background.begin_work(
            ("own network", network.source, choice),
            lambda progress: own_network.add_network(network, choice, progress),
        )
        st.rerun()
