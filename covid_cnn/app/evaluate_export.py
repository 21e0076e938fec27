"""Take an evaluation away: the report, its tables, its figures, and the command that gives the same."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import streamlit as st

from covid_cnn import __version__, evaluation_report, figures
from covid_cnn.app.evaluate_asking import Asked
from covid_cnn.questions import Verdicts

TITLES = {
    "confusion": "Confusion matrix",
    "calibration": "Calibration",
    "roc": "ROC",
    "precision_recall": "Precision and recall",
}


def show(asked: Asked, verdicts: Verdicts, report: dict[str, Any], question: str) -> None:
    """A button for each file; it is made when it is pressed."""
    split = asked.place.split or "all"
    name, place = f"{asked.model.name}_{asked.place.dataset.name}_{split}", asked.place.name

    def save(label: str, make: Callable[[], bytes], file: str, mime: str) -> None:
        st.download_button(
            label, make, file, mime, icon=":material/download:", on_click="ignore", key=f"evaluate {label}"
        )

    with st.container(horizontal=True):
        make = partial(evaluation_report.page, asked.model, place, verdicts, report, __version__)
        save("The report (HTML)", make, f"{name}.html", "text/html")
        for label, table, file in (
            ("Metrics (CSV)", partial(evaluation_report.numbers, report), "metrics"),
            ("Subgroups (CSV)", partial(evaluation_report.groups, verdicts), "subgroups"),
            ("Every answer (CSV)", partial(evaluation_report.answers, verdicts, asked.place.dataset.root), "answers"),
        ):
            save(label, partial(_csv, table), f"{name}_{file}.csv", "text/csv")
    both = verdicts.labels.any() and not verdicts.labels.all()
    for kind, mime in (("png", "image/png"), ("svg", "image/svg+xml")):
        with st.container(horizontal=True):
            for figure in [name for name in TITLES if both or name not in evaluation_report.CURVES]:
                make = partial(_drawn, verdicts, report, figure, kind)
                save(f"{TITLES[figure]} ({kind.upper()})", make, f"{name}_{figure}.{kind}", mime)
    st.caption("The same figures on the command line:")
    unseen = " --unseen" if asked.place.unseen else ""
    command = f"python -m covid_cnn evaluate --data {asked.place.dataset.name} --split {split}{unseen}"
    st.code(
        f"{command} --model {asked.model.name} --question {question} --threshold {verdicts.threshold}", language="bash"
    )


def _csv(table: Callable[[], Iterable[Sequence[object]]]) -> bytes:
    return evaluation_report.csv(table())


def _drawn(verdicts: Verdicts, report: dict[str, Any], figure: str, kind: str) -> bytes:
    return figures.encoded(evaluation_report.drawings(verdicts, report)[figure], kind)
