"""The audit of a dataset: what is wrong with it, with the images, and what should not tell the class but does."""

import json
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

from covid_cnn.app.dataset import images
from covid_cnn.app.shared import background, library
from covid_cnn.app.shared.elements import escape_markdown, offer_download
from covid_cnn.common.jobs import Job, Progress, Work
from covid_cnn.common.statistics import percent
from covid_cnn.common.words import count
from covid_cnn.data import index
from covid_cnn.data.dataset import Dataset, Item

if TYPE_CHECKING:
    from covid_cnn.data.audit import AuditReport


SHOWN = 24  # images, or pairs of them, that are shown of one finding
SEVERITIES: dict[str, tuple[Callable[..., Any], str, Any]] = {  # box, icon and colour of a finding
    "serious": (st.error, ":material/error:", "red"),
    "warning": (st.warning, ":material/warning:", "orange"),
    "note": (st.info, ":material/info:", "blue"),
}


def ensure_audit(dataset: Dataset) -> "Job[AuditReport]":
    """The audit of a dataset, which begins in the background where nobody has begun it."""
    return background.ensure_work(*_work(dataset))


def draw_badge(dataset: Dataset) -> None:
    """The worst finding of the audit, which begins by itself in the background; a line about it until it has ended."""
    job = ensure_audit(dataset)
    if job.running:
        _watch(job)
    elif job.result is None:
        st.badge("The audit has stopped", icon=":material/info:", color="gray")
    elif not job.result.findings:
        st.badge("The audit found nothing amiss", icon=":material/check:", color="green")
    else:
        worst = job.result.findings[0]
        _, icon, colour = SEVERITIES[worst.severity]
        st.badge(f"Audit: {count(len(job.result.findings), 'finding')}", icon=icon, color=colour)
        st.caption(f"The worst: {escape_markdown(worst.sentence)} More under Audit.")


@st.fragment(run_every=2.0)
def _watch(job: "Job[AuditReport]") -> None:
    if not job.running:
        st.rerun()
    st.badge(f"Audit: {percent(job.part)}", icon=":material/hourglass_top:", color="gray")


@st.fragment
def draw_audit(dataset: Dataset) -> None:
    """The report, once there is one."""
    key, work = _work(dataset)
    report = background.await_result(key, work, "Start the audit")
    if report is None:
        return
    if not report.findings:
        st.success(f"The audit of {report.images} images found nothing amiss.", icon=":material/check:")
    else:
        found = count(len(report.findings), "finding")
        st.caption(f"{found} in {report.images} images: reasons to look, not verdicts.")
    _downloads(dataset, report)
    items = {dataset.place_of(item): item for item in dataset.items}
    for n, finding in enumerate(report.findings):
        draw_box, icon, _ = SEVERITIES[finding.severity]
        draw_box(escape_markdown(finding.sentence), icon=icon)
        groups = [(path,) for path in finding.paths] + list(finding.pairs)
        if groups:
            _evidence([[items[path] for path in group] for group in groups], f"dataset_finding_{n}")
    _shortcuts(report)


def _work(dataset: Dataset) -> "tuple[Hashable, Work[AuditReport]]":
    def work(tell: Progress) -> "AuditReport":
        from covid_cnn.data import audit  # here, as it brings scikit-learn along

        return audit.audit_dataset(dataset, tell)

    return ("audit", dataset.root, library.folder_stamp(dataset.root)), work


def _downloads(dataset: Dataset, report: "AuditReport") -> None:
    from covid_cnn.reports import html

    with st.container(horizontal=True):
        offer_download("Report (HTML)", lambda: html.render_audit(report, dataset), f"audit_{dataset.name}.html")
        offer_download("JSON", lambda: json.dumps(report.to_dict(), indent=2), f"audit_{dataset.name}.json")


def _shortcuts(report: "AuditReport") -> None:
    """How well the class can be told from what should not tell it, whether or not that is a finding."""
    if not report.shortcuts:
        return
    st.markdown("## What should not tell the class, and how well it does")
    rows = [
        {
            "What": one.what,
            "Class": one.label,
            "AUROC": one.auroc.value,
            "95 % interval": one.auroc.bounds,
            "Shortcut": one.telling,
        }
        for one in report.shortcuts
    ]
    bar = st.column_config.ProgressColumn(format="%.3f", min_value=0.0, max_value=1.0)
    st.dataframe(pd.DataFrame(rows), hide_index=True, column_config={"AUROC": bar})
    st.caption(
        "Cross-validated, no patient on both sides; 0.5 is chance, 1 is perfect. Brightness and thumbnails hold large "
        "opacities too, so that only a nearly perfect value counts as a shortcut there."
    )


def _evidence(groups: list[list[Item]], key: str) -> None:
    """The images, or pairs of them, that a finding is about; read once a person asks for them."""
    what = "image" if len(groups[0]) == 1 else "pair"
    label = f"Show the {what}" if len(groups) == 1 else f"Show {len(groups)} {what}s"
    expander = st.expander(label, key=key, type="compact", on_change="rerun")
    if not expander.open:
        return
    with expander:
        shown = groups[:SHOWN]
        small = iter(index.load_thumbnails([item.path for group in shown for item in group]))
        with st.container(horizontal=True):
            for n, group in enumerate(shown):
                with st.container(horizontal=True, width="content", border=len(group) > 1):
                    for m, item in enumerate(group):
                        images.draw_card(item, next(small), f"{key}_{n}_{m}")
        if len(groups) > SHOWN:
            st.caption(f"The first {SHOWN} of {len(groups)}; the JSON report lists all.")
