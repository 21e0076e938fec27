"""Take an evaluation away: the report, its tables, its figures, and the command that gives the same."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from covid_cnn import __version__
from covid_cnn.app.evaluate.asking import Evaluated
from covid_cnn.app.shared.elements import offer_download
from covid_cnn.evaluation import cohorts
from covid_cnn.evaluation.binary import BinaryPredictions
from covid_cnn.models.info import Report
from covid_cnn.reports import evaluation, figures

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_downloads(evaluated: Evaluated, verdicts: BinaryPredictions, report: Report, question: str) -> None:
    """A button for each file; it is made when it is pressed."""
    split = evaluated.place.split or "all"
    name, place = f"{evaluated.model.name}_{evaluated.place.dataset.name}_{split}", evaluated.place.name

    all_classes = evaluation.count_confusion(evaluated.model, evaluated.answers)
    with st.container(horizontal=True):
        make = partial(evaluation.render_evaluation, evaluated.model, place, verdicts, report, __version__, all_classes)
        offer_download("The report (HTML)", make, f"{name}.html")
        for label, table, file in (
            ("Metrics (CSV)", partial(evaluation.metric_values, report), "metrics"),
            ("Subgroups (CSV)", lambda: evaluation.group_rows(cohorts.find_cohorts(verdicts)), "subgroups"),
            ("Every answer (CSV)", partial(evaluation.answer_rows, verdicts, evaluated.place.dataset.root), "answers"),
        ):
            offer_download(label, partial(_csv, table), f"{name}_{file}.csv")
    st.caption(
        f"The report shows the {evaluation.ERRORS} worst errors with their heatmaps. It holds no name of a file "
        "and no patient's key; the table of every answer names the files."
    )
    for kind in figures.KINDS:
        with st.container(horizontal=True):
            for figure in evaluation.figure_names(verdicts, all_classes):
                draw = partial(evaluation.draw_figure, figure, verdicts, report, all_classes)
                offer_figure(evaluation.TITLES[figure], draw, f"{name}_{figure}", kind)
    st.caption("The same figures on the command line:")
    unseen = " --unseen" if evaluated.place.unseen else ""
    command = f"python -m covid_cnn evaluate --data {evaluated.place.dataset.name} --split {split}{unseen}"
    st.code(
        f"{command} --model {evaluated.model.name} --question {question} --threshold {verdicts.threshold}",
        language="bash",
    )


def _csv(table: Callable[[], Iterable[Sequence[object]]]) -> bytes:
    return evaluation.csv(table())


def offer_figure(title: str, draw: Callable[[], "Figure"], file: str, kind: str) -> None:
    """A button for a figure as a file of one of the kinds of `figures`."""
    offer_download(f"{title} ({kind.upper()})", lambda: figures.encode_figure(draw(), kind), f"{file}.{kind}")
