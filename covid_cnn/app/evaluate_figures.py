"""All metrics with their intervals, the confusion of all classes, and the calibration."""

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from covid_cnn import evaluation, evaluation_report, figures, glossary, questions
from covid_cnn.app import shared
from covid_cnn.app.evaluate_asking import Asked
from covid_cnn.app.shared import plain
from covid_cnn.evaluation import Interval
from covid_cnn.questions import Verdicts


@st.cache_data(max_entries=64, show_spinner="Resampling patients")
def report(_verdicts: Verdicts, key: tuple) -> dict[str, Any]:
    """The report of verdicts; the same key stands for the same verdicts."""
    return questions.report(_verdicts)


def show(asked: Asked, report: dict[str, Any], verdicts: Verdicts) -> None:
    """Show them."""
    table, pictures = st.columns([3, 2], gap="large")
    with table:
        st.caption(f"{plain(evaluation.patients_of(report))} {evaluation_report.PROPORTIONS}")
        for caution in evaluation.cautions(report):
            st.warning(plain(caution), icon=":material/groups:")
        head, *rows = evaluation_report.metrics(report)
        st.dataframe(pd.DataFrame(rows, columns=list(head)), hide_index=True, height="content")
        st.caption(f"Flagged as unlike the training images: {Interval(**report['out_of_distribution'])}.")
        with st.expander("What each figure means", icon=":material/menu_book:"):
            for name in glossary.FIGURES:
                shared.term(name)
    with pictures:
        if all_classes := evaluation_report.confusion(asked.model, asked.answers):
            st.caption("All classes, by the model's own decision")
            st.pyplot(figures.confusion_matrix(*all_classes), width="content")
        bins = evaluation.reliability(
            verdicts.labels.astype(int), np.stack([1 - verdicts.scores, verdicts.scores], axis=1)
        )
        st.caption("Calibration: is it right as often as it says?")
        st.pyplot(figures.calibration_diagram(bins), width="content")
