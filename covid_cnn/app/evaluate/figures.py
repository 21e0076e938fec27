"""All metrics with their intervals, the confusion of all classes, and the calibration."""

from collections import Counter

import numpy as np
import pandas as pd
import streamlit as st

from covid_cnn.app.evaluate.asking import Asked
from covid_cnn.app.shared import elements
from covid_cnn.app.shared.elements import escape_markdown
from covid_cnn.evaluation import binary, calibration, metrics
from covid_cnn.evaluation.binary import BinaryPredictions
from covid_cnn.evaluation.predictions import UNKNOWN_CLASS
from covid_cnn.models.info import Report
from covid_cnn.reports import evaluation, figures, wording


@st.cache_data(max_entries=64, show_spinner="Resampling patients")
def report(_verdicts: BinaryPredictions, key: tuple) -> Report:
    """The report of verdicts; the same key stands for the same verdicts."""
    return binary.report_binary(_verdicts)


def draw_figures(asked: Asked, report: Report, verdicts: BinaryPredictions) -> None:
    """Show them."""
    table, pictures = st.columns([3, 2], gap="large")
    with table:
        st.caption(f"{escape_markdown(metrics.count_patients(report))} {evaluation.PROPORTIONS}")
        for caution in metrics.cautions(report):
            st.warning(escape_markdown(caution), icon=":material/groups:")
        head, *rows = metrics.cells(report)
        st.dataframe(pd.DataFrame(rows, columns=list(head)), hide_index=True, height="content", alt="All figures")
        st.caption(f"Flagged as unlike the training images: {report.out_of_distribution}.")
        with st.expander("What each figure means", icon=":material/menu_book:"):
            for name in wording.FIGURES:
                elements.term_help(name)
    with pictures:
        if all_classes := evaluation.confusion(asked.model, asked.answers):
            st.caption("All classes, by the model's own decision")
            st.pyplot(figures.draw_confusion_matrix(*all_classes), width="content", alt="Confusion matrix")
        if unknown := Counter(
            item.label
            for item, label in zip(asked.answers.items, asked.answers.labels, strict=True)
            if label == UNKNOWN_CLASS
        ):
            named = ", ".join(f"{count} {label}" for label, count in unknown.most_common())
            st.caption(
                f":material/info: Not in the matrix of all classes, for the model knows no such class: "
                f"{escape_markdown(named)}, of {len(asked.answers.items)} images."
            )
        bins = calibration.reliability(
            verdicts.labels.astype(int), np.stack([1 - verdicts.scores, verdicts.scores], axis=1)
        )
        st.caption("Calibration: is it right as often as it says?")
        st.pyplot(figures.draw_calibration(bins), width="content", alt="Calibration")
