"""The Evaluate page: what a model answers to a dataset, and what its score is worth."""

import csv
import io
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from covid_cnn import (
    __version__,
    assessment,
    bundle,
    comparison,
    curves,
    datasets,
    evaluation,
    evaluation_report,
    figures,
    imaging,
    paths,
    questions,
)
from covid_cnn.app import pages, shared
from covid_cnn.app.shared import plain
from covid_cnn.assessment import Answers
from covid_cnn.bundle import Bundle
from covid_cnn.comparison import Difference
from covid_cnn.datasets import Dataset, Item
from covid_cnn.errors import CovidCnnError, ImageError
from covid_cnn.evaluation import Interval, wilson
from covid_cnn.jobs import Job, Progress
from covid_cnn.questions import ILL, Verdicts
from covid_cnn.store import Store

SPLITS = {"train": "train", "val": "validation", "test": "test", "": "all images", "all": "all images"}
MOST_JOBS = 12  # whose answers are held in memory; all are on disk
PATIENCE = 1.0  # seconds to wait for answers that are kept already, before a bar is drawn
ERRORS_A_PAGE = 6
NEIGHBOURS = 3
FEWEST = 5  # images of a subgroup that is worth a line
AGES = ((0, 18), (18, 40), (40, 60), (60, 200))

_ASSETS = Path(__file__).with_name("threshold")
_threshold = st.components.v2.component(
    "covid_cnn_threshold",
    html=(_ASSETS / "threshold.html").read_text(encoding="utf-8"),
    css=(_ASSETS / "threshold.css").read_text(encoding="utf-8"),
    js=(_ASSETS / "threshold.js").read_text(encoding="utf-8"),
)


class Place(NamedTuple):
    """Images to ask about: a dataset and a split of it, "all" for every image."""

    dataset: Dataset
    split: str

    def __str__(self) -> str:
        return self.dataset.name if self.split in ("", "all") else f"{self.dataset.name}, {SPLITS[self.split]}"

    @property
    def items(self) -> tuple[Item, ...]:
        return self.dataset.items if self.split == "all" else self.dataset.subset(self.split)


class Asked(NamedTuple):
    """A model, the images, and its answers to them."""

    model: Bundle
    place: Place
    answers: Answers


def page() -> None:
    """The whole page."""
    st.title("Evaluate")
    shared.notice()
    models, problems = bundle.discover()
    found, more_problems = every_dataset()
    for problem in [*problems, *more_problems]:
        st.warning(plain(problem), icon=":material/warning:")
    if not models or not found:
        _nothing_yet(bool(models))
        return
    one, many = st.tabs(["One model, one dataset", "Home and away"], key="evaluate_tab", on_change="rerun")
    if one.open:
        with one:
            _one(list(models), found)
    if many.open:
        with many:
            _many(list(models), found)


def _nothing_yet(models: bool) -> None:
    if models:
        st.info("There is no dataset yet to evaluate a model on. Add one; it takes a minute.", icon=":material/add:")
        if st.button("Add a dataset", type="primary"):
            pages.switch(pages.DATASET)
    else:
        st.info("There is no model yet. Train one: it takes a minute.", icon=":material/model_training:")
        if st.button("Train a model", type="primary"):
            pages.switch(pages.TRAIN)


def every_dataset() -> tuple[list[Dataset], list[str]]:
    """The datasets under data/, indexed anew when one comes, goes or changes at its top."""
    folders = [path for path in paths.data_dir().glob("*") if path.is_dir()]
    files = [file for path in folders for file in (path, path / datasets.METADATA) if file.exists()]
    return _datasets(paths.data_dir(), tuple(sorted((str(file), file.stat().st_mtime_ns) for file in files)))


@st.cache_resource(max_entries=2, show_spinner="Looking through the datasets")
def _datasets(data_dir: Path, stamp: tuple) -> tuple[list[Dataset], list[str]]:
    return datasets.discover(data_dir)


def places(found: Sequence[Dataset]) -> dict[str, Place]:
    """What can be evaluated on, by name: the test splits first, since the others flatter a model."""
    every = [
        Place(dataset, split)
        for dataset in found
        for split in (*dataset.splits, *(["all"] if len(dataset.splits) > 1 else []))
    ]
    return {
        (f"{place}, all images" if place.split == "all" else str(place)): place
        for place in sorted(every, key=lambda place: place.split not in ("test", ""))
    }


# Asking a model, in the background


@st.cache_resource
def _jobs() -> dict[tuple, Job[Answers]]:
    """What is being asked, and was, by model and images; one for all sessions, so that none asks twice."""
    return {}


def _key(model: Bundle, place: Place) -> tuple:
    folder = place.dataset.root
    return model.info["sha256"], str(model.folder), str(folder), place.split, len(place.items)


def _begin(model: Bundle, place: Place) -> None:
    def work(progress: Progress) -> Answers:
        return assessment.ask_all(model, place.items, Store(), progress)

    jobs = _jobs()
    for key in [key for key, job in jobs.items() if not job.running][: max(0, len(jobs) - MOST_JOBS)]:
        jobs.pop(key, None)
    jobs[_key(model, place)] = Job(work)


def answers(model: Bundle, place: Place, key: str) -> Answers | None:
    """The answers of a model; where there are none yet, the way to them is drawn, and it is None."""
    job = _jobs().get(_key(model, place))
    if job is None:
        kept = assessment.kept(model, place.items, Store())
        if kept < len(place.items):
            st.write(
                f"{plain(model.name)} has yet to be asked about {len(place.items) - kept} of the {len(place.items)} "
                f"images of {plain(str(place))}. Its answers are kept, so that this is done once."
            )
            if not st.button("Ask the model", key=f"{key}_ask", type="primary", icon=":material/play_arrow:"):
                return None
        _begin(model, place)
        job = _jobs()[_key(model, place)]
        job.wait(PATIENCE)
    if job.running:
        st.fragment(_watch, run_every=0.5)(job, key)
        return None
    if job.result is None:
        st.error(plain(job.problem), icon=":material/error:")
        if st.button("Go on", key=f"{key}_again", icon=":material/resume:"):
            del _jobs()[_key(model, place)]
            _begin(model, place)
            st.rerun()
    return job.result


def _watch(job: Job[Answers], key: str) -> None:
    if not job.running:
        st.rerun()
    st.progress(job.part, job.message)
    st.button("Stop", key=f"{key}_stop", icon=":material/stop:", on_click=job.stop)


# One model on one dataset


def _one(models: list[str], found: list[Dataset]) -> None:
    choices = places(found)
    left, right = st.columns(2)
    name = left.selectbox("Model", models, key="evaluate_model", persist_state="session")
    where = right.selectbox("Images", list(choices), key="evaluate_place", persist_state="session")
    try:
        model = shared.load_bundle(name)
        told = answers(model, choices[where], "evaluate_one")
        if told is None:
            return
        asked = Asked(model, choices[where], told)
        question = _question(model)
        verdicts = questions.verdicts(model, told, question)
    except CovidCnnError as error:
        st.error(plain(str(error)), icon=":material/error:")
        return
    for note in [*verdicts.notes, *_seen_before(asked)]:
        st.caption(f":material/info: {plain(note)}")
    _sections(asked, verdicts, question)


def _question(model: Bundle) -> str:
    asked = questions.questions(model)
    if not asked:
        raise CovidCnnError(f"Model {model.name} looks for no class and knows no healthy one: use the command line.")
    return st.segmented_control(
        "Question",
        list(asked),
        default=next(iter(asked)),
        format_func=asked.__getitem__,
        required=True,
        key=f"evaluate_question_{model.name}",
        help="The same answers, read as one question or the other. Images of classes that the model does not know "
        "count as ill in the second, and are left out of the first.",
    )


def _seen_before(asked: Asked) -> list[str]:
    """A warning where the model has learned from these images."""
    trained = asked.model.info["training_data"]["name"] == asked.place.dataset.name
    if trained and asked.place.split not in ("test",):
        return ["The model has learned from a dataset of this name, so that this split flatters it."]
    return []


@st.fragment
def _sections(asked: Asked, verdicts: Verdicts, question: str) -> None:
    """What is told of the answers; a fragment, so that a threshold let go draws this anew and no more."""
    chosen = st.session_state.get("evaluate_threshold_of", {}).get((asked.model.name, question))
    both = verdicts.labels.any() and not verdicts.labels.all()
    if both:
        told = _drag(asked, verdicts, question)
        if told != chosen:
            chosen = told
            st.session_state.setdefault("evaluate_threshold_of", {})[asked.model.name, question] = told
    else:
        st.info(
            f"All images here are {plain(verdicts.yes if verdicts.labels.any() else verdicts.no)}: there is a share of "
            "right answers, and no curve.",
            icon=":material/info:",
        )
    if chosen is not None:
        verdicts = questions.verdicts(asked.model, asked.answers, question, chosen)
        st.caption(f"What follows is told at the threshold {chosen:.3f}, in place of the model's own.")
    report = _report(verdicts, (*_key(asked.model, asked.place), question, chosen))
    numbers, groups, errors, export = st.tabs(
        [
            ":material/table_chart: All figures",
            ":material/groups: Subgroups",
            ":material/error: Errors, worst first",
            ":material/download: Take away",
        ],
        key="evaluate_section",
        on_change="rerun",
    )
    if numbers.open:
        with numbers:
            _numbers(asked, report, verdicts)
    if groups.open:
        with groups:
            _subgroups(verdicts)
    if errors.open:
        with errors:
            _errors(asked, verdicts)
    if export.open:
        with export:
            _export(asked, verdicts, report)


def _drag(asked: Asked, verdicts: Verdicts, question: str) -> float | None:
    """The threshold and the prevalence to drag; the threshold where it was let go, None at the model's own."""
    key = (*_key(asked.model, asked.place), question)
    roc, precision_recall = _curves(verdicts, key)
    result = _threshold(
        key="evaluate_drag_" + str(abs(hash(key))),
        data={
            "id": str(hash(key)),
            "yes": verdicts.yes,
            "no": verdicts.no,
            "one": "is" if question == ILL else "has",
            "many": "are" if question == ILL else "have",
            "positives": verdicts.scores[verdicts.labels].astype(float).tolist(),
            "negatives": verdicts.scores[~verdicts.labels].astype(float).tolist(),
            "threshold": verdicts.threshold,
            "roc": roc,
            "pr": precision_recall,
        },
        on_threshold_change=lambda: None,
    )
    return result.threshold


@st.cache_data(max_entries=64, show_spinner="Resampling patients")
def _curves(_verdicts: Verdicts, key: tuple) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    def told(curve: curves.Curve | None) -> dict[str, list[float]]:
        assert curve  # there are images of both kinds
        return {name: getattr(curve, name).round(5).tolist() for name in ("x", "y", "grid", "low", "high")}

    arguments = _verdicts.labels, _verdicts.scores, _verdicts.patients
    return told(curves.roc(*arguments)), told(curves.precision_recall(*arguments))


@st.cache_data(max_entries=64, show_spinner="Resampling patients")
def _report(_verdicts: Verdicts, key: tuple) -> dict[str, Any]:
    return questions.report(_verdicts)


def _numbers(asked: Asked, report: dict[str, Any], verdicts: Verdicts) -> None:
    table, pictures = st.columns([3, 2], gap="large")
    with table:
        st.caption(
            f"{report['n']} images of {report['n_patients']} patients. Proportions carry Wilson's 95 % interval; the "
            "others are bootstrapped over patients."
        )
        st.dataframe(
            pd.DataFrame(_metric_rows(report), columns=["Metric", "Value", "95 % interval", "n"]), hide_index=True
        )
        flagged = Interval(**report["out_of_distribution"])
        st.caption(f"Flagged as unlike the training images: {flagged}.")
    with pictures:
        known = asked.answers.of(asked.answers.labels != assessment.FOREIGN)
        if len(asked.model.classes) > 2 and known.items:
            counts = np.zeros((len(asked.model.classes),) * 2, int)
            np.add.at(counts, (known.labels, known.predicted), 1)
            st.caption("All classes, by the model's own decision")
            st.pyplot(figures.confusion_matrix(counts, asked.model.classes), width="content")
        bins = evaluation.reliability(
            verdicts.labels.astype(int), np.stack([1 - verdicts.scores, verdicts.scores], axis=1)
        )
        st.caption("Calibration: is it right as often as it says?")
        st.pyplot(figures.calibration_diagram(bins), width="content")


def _metric_rows(report: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    return [
        (title, f"{interval.value:.3f}", f"{interval.low:.3f} to {interval.high:.3f}", str(interval.n))
        if interval
        else (title, "undefined", "", "")
        for title, interval in evaluation.rows(report)
    ]


# Subgroups


def _subgroups(verdicts: Verdicts) -> None:
    rows = [
        row
        for what, group_of in (
            ("Source", lambda item: item.source),
            ("View", lambda item: item.facts.get("view", "")),
            ("Sex", lambda item: item.facts.get("sex", "")),
            ("Age", _age),
            ("Finding", lambda item: item.facts.get("finding", item.label)),
        )
        for row in _groups(verdicts, what, group_of)
    ]
    if not rows:
        st.info("These images tell no source, view, sex or age that would part them.", icon=":material/groups:")
        return
    st.caption(
        f"Groups of at least {FEWEST} images. A model that does well on all images may fail one group; with few images "
        "the interval is wide, and says so."
    )
    _dots(rows)
    st.dataframe(pd.DataFrame([_flat(row) for row in rows]), hide_index=True)


def _age(item: Item) -> str:
    try:
        age = float(item.facts.get("age", ""))
    except ValueError:
        return ""
    return next(
        (f"{low} to {high - 1}" if high < 200 else f"{low} and over" for low, high in AGES if low <= age < high), ""
    )


def _groups(verdicts: Verdicts, what: str, group_of: Callable[[Item], str]) -> list[dict[str, Any]]:
    names = [group_of(item) for item in verdicts.items]
    if len(set(names) - {""}) < 2:
        return []
    rows = []
    for name in sorted(set(names) - {""}):
        group = verdicts.of([other == name for other in names])
        if len(group.items) >= FEWEST:
            rows.append({"Group": f"{what}: {name}"} | _shares(group))
    return rows


def _shares(group: Verdicts) -> dict[str, Any]:
    """Sensitivity and specificity of a group, each as an interval or None, and how many images and patients it has."""
    of = questions.counts(group)
    positives, negatives = of["hits"] + of["misses"], of["rejections"] + of["false_alarms"]
    return {
        "Images": len(group.items),
        "Patients": len(set(group.patients)),
        "Sensitivity": wilson(of["hits"], positives) if positives else None,
        "Specificity": wilson(of["rejections"], negatives) if negatives else None,
    }


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, Interval) else value for name, value in row.items()}


def _dots(rows: list[dict[str, Any]], label: str = "Group") -> None:
    """Sensitivity and specificity as dots with their intervals, one line a row."""
    import altair as alt  # here, as it takes a while

    told = [
        {label: row[label], "Metric": metric} | row[metric].to_dict()
        for row in rows
        for metric in ("Sensitivity", "Specificity")
        if row.get(metric)
    ]
    if not told:
        return
    order = [row[label] for row in rows]
    scale = alt.Scale(domain=[0, 1])
    base = alt.Chart(pd.DataFrame(told)).encode(
        y=alt.Y(f"{label}:N", sort=order, title=None, axis=alt.Axis(labelLimit=320)),
        yOffset="Metric:N",
        color=alt.Color("Metric:N", legend=alt.Legend(orient="top", title=None)),
    )
    points = base.mark_point(filled=True, size=70, opacity=1).encode(
        x=alt.X("value:Q", scale=scale, title="with its 95 % interval"),
        shape=alt.Shape("Metric:N", legend=alt.Legend(orient="top", title=None)),
        tooltip=[label, "Metric", *(alt.Tooltip(f"{key}:Q", format=".3f") for key in ("value", "low", "high")), "n"],
    )
    lines = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", scale=scale), x2="high:Q")
    st.altair_chart(alt.layer(lines, points).properties(height=60 + 34 * len(rows)))


# Errors


def _errors(asked: Asked, verdicts: Verdicts) -> None:
    how_wrong = np.where(verdicts.labels, 1 - verdicts.scores, verdicts.scores)
    wrong = np.flatnonzero(~verdicts.right)
    wrong = wrong[np.argsort(-how_wrong[wrong], kind="stable")]
    if not len(wrong):
        st.success(f"None of the {len(verdicts.items)} images is called wrong.", icon=":material/check:")
        return
    kinds = {"Both": wrong, "Missed": wrong[verdicts.labels[wrong]], "False alarms": wrong[~verdicts.labels[wrong]]}
    with st.container(horizontal=True, vertical_alignment="bottom", horizontal_alignment="distribute"):
        kind = st.segmented_control(
            "Errors",
            list(kinds),
            default="Both",
            required=True,
            key="evaluate_errors",
            format_func=lambda name: f"{name} ({len(kinds[name])})",
        )
        shown = kinds[kind]
        count = max(1, -(-len(shown) // ERRORS_A_PAGE))
        number = st.pagination(count, key=f"evaluate_error_page_{asked.model.name}_{asked.place}_{kind}_{count}")
    trained = _training_answers(asked.model)
    for start in range((number - 1) * ERRORS_A_PAGE, min(number * ERRORS_A_PAGE, len(shown)), 2):
        for column, i in zip(st.columns(2, border=True), shown[start : start + 2], strict=False):
            with column:
                _error(asked.model, verdicts, int(i), trained)


def _error(model: Bundle, verdicts: Verdicts, i: int, trained: Answers | None) -> None:
    item = verdicts.items[i]
    truth, said = (verdicts.yes, verdicts.no) if verdicts.labels[i] else (verdicts.no, verdicts.yes)
    st.markdown(f"**{plain(item.label)}, called {plain(said)}**")
    st.caption(
        f"{plain(item.path.name)}, {plain(item.source)}. Probability of {plain(verdicts.yes)} "
        f"{verdicts.scores[i]:.3f}, threshold {verdicts.threshold:.3f}"
        + (", flagged as unlike the training images." if verdicts.flagged[i] else ".")
    )
    try:
        xray, overlay, heat_of, embedding = _explained(model.name, model.info["sha256"], item.path, _changed(item.path))
    except CovidCnnError as error:
        st.error(plain(str(error)))
        return
    left, right = st.columns(2)
    left.image(xray, caption=f"Truth: {plain(truth)}", width="stretch")
    right.image(overlay, caption=f"Grad-CAM: what speaks for {plain(heat_of)}", width="stretch")
    if trained is not None:
        _neighbours(embedding, trained)


def _changed(path: Path) -> int:
    return path.stat().st_mtime_ns if path.is_file() else 0


@st.cache_data(max_entries=200, show_spinner=False)
def _explained(name: str, digest: str, path: Path, changed: int) -> tuple[bytes, bytes, str, np.ndarray]:
    """An image and its heatmap as PNG, the class that it is of, and the embedding; raises CovidCnnError."""
    pixels = imaging.read(path).pixels
    told = shared.load_bundle(name).predict(pixels)
    small = figures.fit_within(pixels, 480)
    overlay = figures.overlay(small, told.heatmaps[..., told.classes.index(told.label)])
    return imaging.to_png(small), imaging.to_png(overlay), told.label, told.embedding


def _training_answers(model: Bundle) -> Answers | None:
    """The answers to the images that a model learned from, where they are here; where it was not asked, a way to it."""
    name = model.info["training_data"]["name"]
    dataset = next((one for one in every_dataset()[0] if one.name == name), None)
    if dataset is None or not dataset.subset("train"):
        st.caption(
            f"With {plain(name)}, which this model learned from, under data/, the nearest training images stood here."
        )
        return None
    with st.expander("Nearest training images", icon=":material/image_search:", expanded=True):
        told = answers(model, Place(dataset, "train"), "evaluate_neighbours")
        if told is not None:
            st.caption(
                f"Below each error: the {NEIGHBOURS} training images that the network takes for most like it, by the "
                "angle between their embeddings."
            )
    return told


def _neighbours(embedding: np.ndarray, trained: Answers) -> None:
    norms = np.linalg.norm(trained.embeddings, axis=1) * np.linalg.norm(embedding)
    likeness = trained.embeddings @ embedding / np.maximum(norms, 1e-12)
    st.caption("Nearest training images")
    for column, i in zip(st.columns(NEIGHBOURS), np.argsort(-likeness)[:NEIGHBOURS], strict=True):
        item = trained.items[int(i)]
        picture = thumbnail(item.path)
        if picture is not None:
            column.image(picture, caption=f"{plain(item.label)}, {likeness[i]:.2f}", width="stretch")


def thumbnail(path: Path) -> bytes | None:
    """A small picture of an image; None for one that cannot be read."""
    from covid_cnn import looks

    (picture,) = looks.thumbnails([path])
    return None if isinstance(picture, ImageError) else picture


# Take away


def _export(asked: Asked, verdicts: Verdicts, report: dict[str, Any]) -> None:
    name = f"{asked.model.name}_{asked.place.dataset.name}_{asked.place.split or 'all'}"

    def save(label: str, make: Callable[[], bytes], file: str, mime: str) -> None:
        st.download_button(
            label, make, file, mime, icon=":material/download:", on_click="ignore", key=f"evaluate {label}"
        )

    with st.container(horizontal=True):
        place = str(asked.place)
        make = partial(evaluation_report.page, asked.model, place, verdicts, report, __version__)
        save("The report (HTML)", make, f"{name}.html", "text/html")
        save("Metrics (CSV)", partial(_metrics_csv, report), f"{name}_metrics.csv", "text/csv")
        save("Every answer (CSV)", partial(_answers_csv, asked, verdicts), f"{name}_answers.csv", "text/csv")
    titles = {"confusion": "Confusion matrix", "calibration": "Calibration"}
    if verdicts.labels.any() and not verdicts.labels.all():
        titles |= {"roc": "ROC", "precision_recall": "Precision and recall"}
    for kind, mime in (("png", "image/png"), ("svg", "image/svg+xml")):
        with st.container(horizontal=True):
            for figure, title in titles.items():

                def draw(figure: str = figure, kind: str = kind) -> bytes:
                    return figures.encoded(evaluation_report.drawings(verdicts, report)[figure], kind)

                save(f"{title} ({kind.upper()})", draw, f"{name}_{figure}.{kind}", mime)
    st.caption("The same figures on the command line:")
    question = "ill" if verdicts.yes == "ill" else "positive"
    command = f"python -m covid_cnn evaluate --data {asked.place.dataset.name} --split {asked.place.split or 'all'}"
    st.code(
        f"{command} --model {asked.model.name} --question {question} --threshold {verdicts.threshold}", language="bash"
    )


def _csv(rows: Sequence[Sequence[object]]) -> bytes:
    file = io.StringIO()
    csv.writer(file).writerows(rows)
    return file.getvalue().encode("utf-8", "surrogateescape")


def _metrics_csv(report: dict[str, Any]) -> bytes:
    rows = [
        (title, interval.value, interval.low, interval.high, interval.n) if interval else (title, "", "", "", "")
        for title, interval in evaluation.rows(report)
    ]
    return _csv([("metric", "value", "low", "high", "n"), *rows])


def _answers_csv(asked: Asked, verdicts: Verdicts) -> bytes:
    root = asked.place.dataset.root
    rows = [
        (item.path.relative_to(root).as_posix(), item.label, label, round(float(score), 6), said, flagged)
        for item, label, score, said, flagged in zip(
            verdicts.items, verdicts.labels, verdicts.scores, verdicts.predicted, verdicts.flagged, strict=True
        )
    ]
    return _csv([("image", "class", f"is {verdicts.yes}", f"p {verdicts.yes}", "called", "flagged"), *rows])


# Home and away


def _many(models: list[str], found: list[Dataset]) -> None:
    st.write(
        "A model at home, on images from where it learned, and away, at other hospitals; or several models on the same "
        "images. The question is one that all can be asked: ill or healthy."
    )
    choices = places(found)
    left, right = st.columns(2)
    names = left.multiselect("Models", models, default=models[:2], key="evaluate_models")
    wheres = right.multiselect("Images", list(choices), default=list(choices)[:2], key="evaluate_places")
    told: dict[tuple[str, str], Verdicts] = {}
    try:
        loaded = {name: shared.load_bundle(name) for name in names}
        _ask_missing([(model, choices[where]) for model in loaded.values() for where in wheres])
        for name, model in loaded.items():
            for where in wheres:
                if not _asked_for(model, choices[where]):
                    continue
                found_answers = answers(model, choices[where], f"evaluate_many_{name}_{where}")
                if found_answers is not None:
                    told[name, where] = questions.verdicts(model, found_answers, ILL)
    except CovidCnnError as error:
        st.error(plain(str(error)), icon=":material/error:")
    if not told:
        return
    rows = [{"Model and images": f"{name} on {where}"} | _shares(verdicts) for (name, where), verdicts in told.items()]
    _dots(rows, "Model and images")
    for row, verdicts in zip(rows, told.values(), strict=True):
        row["AUROC"] = _auroc(verdicts, (row["Model and images"], len(verdicts.items), float(verdicts.scores.sum())))
    st.dataframe(pd.DataFrame([_flat(row) for row in rows]), hide_index=True)
    differences = [*_rivals(told), *_abroad(told)]
    if differences:
        st.markdown("##### Differences")
        table = pd.DataFrame(differences, columns=["What", "Metric", "Difference", "Method"])
        st.dataframe(table, hide_index=True)
        st.caption(
            "McNemar's and DeLong's p-values take the images for independent; where patients have several, trust the "
            "bootstrapped intervals more. With many comparisons some differ by chance."
        )
    rows_csv = [list(_flat(rows[0])), *(list(_flat(row).values()) for row in rows)]
    rows_csv += [["What", "Metric", "Difference", "Method"], *map(list, differences)] if differences else []
    st.download_button(
        "These tables (CSV)", partial(_csv, rows_csv), "home_and_away.csv", "text/csv", on_click="ignore"
    )


def _asked_for(model: Bundle, place: Place) -> bool:
    return _key(model, place) in _jobs() or assessment.kept(model, place.items, Store()) == len(place.items)


def _ask_missing(pairs: Sequence[tuple[Bundle, Place]]) -> None:
    """One button for all that nobody has asked yet."""
    missing = [(model, place) for model, place in pairs if not _asked_for(model, place)]
    if not missing:
        return
    lines = "".join(f"\n- {plain(m.name)} on {plain(str(place))}: {len(place.items)} images" for m, place in missing)
    st.markdown(f"Still to be asked; answers are kept, so that this is done once:\n{lines}")
    if st.button("Ask all of these", type="primary", icon=":material/play_arrow:"):
        for model, place in missing:
            _begin(model, place)
        st.rerun()


@st.cache_data(max_entries=64, show_spinner="Resampling patients")
def _auroc(_verdicts: Verdicts, key: tuple) -> Interval | None:
    return evaluation.bootstrap(evaluation.auroc, _verdicts.labels, _verdicts.scores, _verdicts.patients)


Line = tuple[str, str, str, str]


def _line(what: str, metric: str, difference: Difference | None) -> list[Line]:
    return [(what, metric, str(difference), difference.method)] if difference else []


def _rivals(told: dict[tuple[str, str], Verdicts]) -> list[Line]:
    """Each model against the first on the same images, by paired tests."""
    lines = []
    for where in dict.fromkeys(where for _, where in told):
        (first, one), *others = [(name, v) for (name, place), v in told.items() if place == where]
        for second, other in others:
            # A model may have failed to read what the other could: both are compared on what both answered.
            common = {item.path for item in one.items} & {item.path for item in other.items}
            a, b = (v.of([item.path in common for item in v.items]) for v in (one, other))
            what = f"{where}: {first} - {second}"
            for metric, chosen in (
                ("Accuracy", np.ones(len(a.labels), bool)),
                ("Sensitivity", a.labels),
                ("Specificity", ~a.labels),
            ):
                if chosen.any():
                    patients = a.of(chosen).patients
                    difference = comparison.paired_share(a.right[chosen], b.right[chosen], patients)
                    lines += _line(what, metric, difference)
            lines += _line(what, "AUROC", comparison.paired_auroc(a.labels, a.scores, b.scores))
    return lines


def _abroad(told: dict[tuple[str, str], Verdicts]) -> list[Line]:
    """Each model on the first images against the same on others, by unpaired tests."""
    lines = []
    for name in dict.fromkeys(name for name, _ in told):
        (home, one), *others = [(where, v) for (model, where), v in told.items() if model == name]
        for away, other in others:
            if {item.path for item in one.items} & {item.path for item in other.items}:
                continue  # a part and its whole are not independent
            what = f"{name}: {home} - {away}"
            a, b = questions.counts(one), questions.counts(other)
            for metric, right, wrong in (
                ("Sensitivity", "hits", "misses"),
                ("Specificity", "rejections", "false_alarms"),
            ):
                (k, n), (j, m) = ((of[right], of[right] + of[wrong]) for of in (a, b))
                if n and m:
                    lines += _line(what, metric, comparison.unpaired_share((k, n), (j, m)))
            lines += _line(what, "AUROC", comparison.unpaired_auroc(one.labels, one.scores, other.labels, other.scores))
    return lines
