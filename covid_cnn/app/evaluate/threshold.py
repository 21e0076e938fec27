"""The threshold and the prevalence to drag; the browser answers at once, and Python hears where it was let go."""

from pathlib import Path

import streamlit as st

from covid_cnn.app.evaluate.asking import Asked
from covid_cnn.evaluation import curves
from covid_cnn.evaluation.binary import DISEASED, BinaryPredictions

_ASSETS = Path(__file__).with_name("threshold_component")
_component = st.components.v2.component(
    "covid_cnn_threshold",
    html=(_ASSETS / "threshold.html").read_text(encoding="utf-8"),
    css=(_ASSETS / "threshold.css").read_text(encoding="utf-8"),
    js=(_ASSETS / "threshold.js").read_text(encoding="utf-8"),
)


def draw_threshold(asked: Asked, verdicts: BinaryPredictions, question: str) -> float | None:
    """Show both; the threshold where it was let go, None at the model's own."""
    key = (*asked.key, question)
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
    def told(curve: curves.Curve | None) -> dict[str, list[float]]:
        assert curve  # there are images of both kinds
        return {name: getattr(curve, name).round(5).tolist() for name in ("x", "y", "grid", "low", "high")}

    arguments = _verdicts.labels, _verdicts.scores, _verdicts.patients
    return told(curves.roc_curve(*arguments)), told(curves.precision_recall_curve(*arguments))
