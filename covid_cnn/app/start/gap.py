"""The gap between home and another hospital, in one chart."""

import altair as alt
import msgspec
import pandas as pd
import streamlit as st

from covid_cnn.app.shared import elements
from covid_cnn.models import bundle


def draw_gap() -> None:
    """Specificity at home and away, for every model that was measured on both."""
    found, _ = bundle.discover_bundles()
    rows = []
    for name, info in found.items():
        tests = {"Its own test images": info.metrics.test} | info.metrics.other
        for where, report in tests.items():
            if report and len(tests) > 1 and (interval := report.specificity):
                rows.append({"model": name, "where": where} | msgspec.to_builtins(interval))
    if not rows:
        return
    st.subheader("The gap")
    if default := found.get(bundle.DEFAULT_MODEL):
        st.markdown(
            f"The default model, {bundle.DEFAULT_MODEL}, was made to narrow it. "
            + elements.escape_markdown(" ".join(default.headlines))
        )
    st.markdown(
        "The models that know the notebook's images alone: how many healthy people each calls healthy (specificity), "
        "at home and at another hospital."
    )
    places = list(dict.fromkeys(row["where"] for row in rows))  # at home first
    base = alt.Chart(pd.DataFrame(rows)).encode(
        y=alt.Y("model:N", title=None, sort=None),
        yOffset=alt.YOffset("where:N", sort=places),
    )
    scale = alt.Scale(domain=[0, 1])
    x = alt.X("value:Q", scale=scale, title="specificity, with its 95 % interval", axis=alt.Axis(format="%"))
    colour = alt.Color(
        "where:N", sort=places, title=None, legend=alt.Legend(orient="top", direction="vertical", labelLimit=400)
    )
    tooltip = ["where:N", *(alt.Tooltip(f"{key}:Q", format=".3f") for key in ("value", "low", "high")), "n:Q"]
    layers = [
        base.mark_bar(height=16, opacity=0.8).encode(x=x, color=colour, tooltip=tooltip),
        base.mark_rule(strokeWidth=2, color="gray").encode(x=alt.X("low:Q", scale=scale), x2="high:Q"),
    ]
    chart = alt.layer(*layers).properties(height=130 + 70 * len({row["model"] for row in rows}))
    st.altair_chart(chart, alt="Specificity of each model at home and at another hospital")
