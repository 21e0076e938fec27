"""What came out of a run, in people, and the two ways on: try it, and ask it about another hospital's images."""

from typing import NoReturn

import streamlit as st

from covid_cnn.app import pages
from covid_cnn.app.shared import background, elements
from covid_cnn.app.shared.elements import escape_markdown
from covid_cnn.common import paths
from covid_cnn.data import synthetic
from covid_cnn.data.dataset import Dataset
from covid_cnn.evaluation import external, metrics
from covid_cnn.models import bundle
from covid_cnn.models.info import ModelInfo
from covid_cnn.reports import figures, wording

DRAWING = "train_elsewhere"  # key of the session: the other hospital that is being drawn
TESTED = "{n} images of {n_patients} patients, which the training never saw."
VALIDATED = (
    "There is no test split. These {n} images of {n_patients} patients chose the best epoch, so that they flatter the "
    "model."
)


def draw_result(name: str, datasets: list[Dataset]) -> None:
    """The result of the model ``name``, the two ways on, and its table behind a click."""
    with elements.draw_errors():
        info = bundle.read_info(paths.models_dir() / name)
        report = info.metrics.test or info.metrics.val
        if report:
            sentence, intervals = wording.describe_report(report)
            whose = TESTED if info.metrics.test else VALIDATED
            st.markdown(f"## {escape_markdown(sentence)}")
            st.caption(f"{escape_markdown(intervals)} {whose.format(n=report.n, n_patients=report.n_patients)}")
        else:
            st.markdown("## The model is ready.")
            st.caption("It carries no figures from a test.")
        _ways_on(name, info, datasets)
        if report:
            with st.expander("All figures", icon=":material/table_chart:"):
                table, confusion = st.columns([3, 2], gap="large")
                elements.draw_table(metrics.cells(report), table)
                matrix = figures.draw_confusion_matrix(report.confusion, report.classes)
                confusion.pyplot(matrix, width="content", alt="Confusion matrix")


def _ways_on(name: str, info: ModelInfo, datasets: list[Dataset]) -> None:
    with st.container(horizontal=True):
        if st.button("Try it", type="primary", icon=":material/radiology:"):
            st.session_state["predict_model"] = name
            pages.switch_to(pages.PREDICT)
        wanted = st.button("Ask it about another hospital's images", icon=":material/local_hospital:")
    if wanted and DRAWING not in st.session_state:
        home = next((one for one in datasets if one.name == info.training_data.name), None)
        if away := external.is_external(home, datasets) if home else None:
            _ask(name, info, datasets, away)
        background.start_for_session(DRAWING, synthetic.draw_elsewhere)
    if drawn := background.take_result(DRAWING):
        _ask(name, info, datasets, drawn)


def _ask(name: str, info: ModelInfo, datasets: list[Dataset], away: Dataset) -> NoReturn:
    """Go to Evaluate, where the model is asked at once, at home and away."""
    homes = [one for one in datasets if one.name == info.training_data.name]
    st.session_state["evaluate_tab"] = "Home and away"
    st.session_state["evaluate_models"] = [name]
    st.session_state["evaluate_datasets"] = [*(one.name for one in homes), away.name]
    st.session_state["evaluate_at_once"] = True
    pages.switch_to(pages.EVALUATE)
