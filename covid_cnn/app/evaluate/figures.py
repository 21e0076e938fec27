"""What is drawn of a model's answers: the threshold to drag, all figures, the confusion of all classes, subgroups."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pandas as pd
import streamlit as st

from covid_cnn.app.evaluate.asking import Evaluated
from covid_cnn.app.shared import elements
from covid_cnn.app.shared.elements import escape_markdown
from covid_cnn.evaluation import binary, calibration, cohorts, curves, metrics
from covid_cnn.evaluation.binary import DISEASED, BinaryPredictions
from covid_cnn.evaluation.cohorts import Shares
from covid_cnn.models.info import Report
from covid_cnn.reports import evaluation, figures, wording

METRICS = ("Sensitivity", "Specificity")
STEP, ROUND = 54, 110  # pixels of a row, and of what stands round the rows
_component = elements.register_component(Path(__file__).with_name("threshold_component") / "threshold")


@st.cache_data(max_entries=64, show_spinner="Resampling patients")
def report(_verdicts: BinaryPredictions, key: tuple) -> Report:
    """The report of verdicts; the same key stands for the same verdicts."""
    return binary.report_binary(_verdicts)


def draw_threshold(evaluated: Evaluated, verdicts: BinaryPredictions, question: str) -> float | None:
    """Show both; the threshold where it was let go, None at the model's own."""
    key = (*evaluated.key, question)
    roc, precision_recall = _curves(verdicts, key)
    result = _component(
        key=f"evaluate_drag_{hash(key)}",
        data={
            "id": str(hash(key)),
            "yes": verdicts.yes,
            "no": verdicts.no,
            "one": "is" if question == DISEASED else "has",
            "many": "are" if question == DISEASED else "have",
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
def _curves(_verdicts: BinaryPredictions, key: tuple) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    def columns(curve: curves.Curve | None) -> dict[str, list[float]]:
        assert curve  # there are images of both kinds
        return {name: getattr(curve, name).round(5).tolist() for name in ("x", "y", "grid", "low", "high")}

    arguments = _verdicts.labels, _verdicts.scores, _verdicts.patients
    return columns(curves.roc_curve(*arguments)), columns(curves.precision_recall_curve(*arguments))


def draw_figures(evaluated: Evaluated, report: Report, verdicts: BinaryPredictions) -> None:
    """The confusion of all classes and the calibration, and below them the table of all figures."""
    st.caption(f"{escape_markdown(metrics.count_patients(report))} {evaluation.PROPORTIONS}")
    for caution in metrics.cautions(report):
        st.warning(escape_markdown(caution), icon=":material/groups:")
    left, right = st.columns(2, gap="large")
    if all_classes := evaluation.count_confusion(evaluated.model, evaluated.answers):
        left.caption("All classes, by the model's own decision; a class that it does not know is a row alone")
        left.pyplot(figures.draw_confusion_matrix(*all_classes), width="content", alt="Confusion matrix")
    bins = calibration.reliability(verdicts.labels.astype(int), verdicts.probabilities)
    with right if all_classes else left:
        st.caption("Calibration: is it right as often as it says?")
        st.pyplot(figures.draw_calibration(bins), width="content", alt="Calibration")
    with st.expander("What each figure means", icon=":material/menu_book:"):
        for name in wording.FIGURES:
            elements.term_help(name)
    st.caption(f"Flagged as unlike the training images: {report.out_of_distribution}.")
    elements.draw_table(metrics.cells(report), alt="All figures")


def draw_cohorts(verdicts: BinaryPredictions) -> None:
    """The subgroups that the metadata of the images tell."""
    rows = cohorts.find_cohorts(verdicts)
    if not rows:
        st.info("These images tell no source, view, sex or age that would part them.", icon=":material/groups:")
        return
    st.caption(
        f"Groups of at least {cohorts.FEWEST} images. A model that does well on all images may fail one group; with "
        "few images the interval is wide, and says so."
    )
    draw_dots(rows)
    elements.draw_table(evaluation.group_rows(rows))


def draw_dots(rows: Sequence[Shares]) -> None:
    """Sensitivity and specificity as dots with their intervals, one line a row under its name."""
    import altair as alt  # here, as it takes a while

    dots = [
        {"Of": row.name, "Metric": metric} | msgspec.to_builtins(interval)
        for row in rows
        for metric, interval in zip(METRICS, (row.sensitivity, row.specificity), strict=True)
        if interval
    ]
    if not dots:
        return
    share = alt.Scale(domain=[0, 1])
    legend = alt.Legend(orient="top", title=None)
    # A name stands above its dots, in the first of three lines, so that a long one fits a narrow screen.
    axis = alt.Axis(
        domain=False, ticks=False, grid=False, labelAlign="left", labelPadding=0, labelLimit=700, labelOffset=-STEP / 3
    )
    base = alt.Chart(pd.DataFrame(dots)).encode(
        y=alt.Y("Of:N", sort=[row.name for row in rows], title=None, axis=axis, scale=alt.Scale(padding=0)),
        yOffset=alt.YOffset("Metric:N", scale=alt.Scale(domain=["", *METRICS], padding=0)),
        color=alt.Color("Metric:N", legend=legend, scale=alt.Scale(domain=METRICS)),
    )
    points = base.mark_point(filled=True, size=70, opacity=1).encode(
        x=alt.X("value:Q", scale=share, title="with its 95 % interval", axis=alt.Axis(tickCount=5)),
        shape=alt.Shape("Metric:N", legend=legend, scale=alt.Scale(domain=METRICS)),
        tooltip=["Of", "Metric", *(alt.Tooltip(f"{key}:Q", format=".3f") for key in ("value", "low", "high")), "n"],
    )
    lines = base.mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", scale=share), x2="high:Q")
    chart = alt.layer(lines, points).properties(height=ROUND + STEP * len(rows))
    st.altair_chart(chart, alt="Sensitivity and specificity with their intervals")
