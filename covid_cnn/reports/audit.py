"""The report of an audit that a person takes away: one page of HTML."""

from collections.abc import Mapping, Sequence

from covid_cnn.common.errors import ImageError
from covid_cnn.data import index
from covid_cnn.data.audit import AuditReport
from covid_cnn.data.dataset import Dataset
from covid_cnn.reports.html import embed, render_page

SHOWN = 24  # images of a finding; its text tells how many more there are


def render_audit(report: AuditReport, dataset: Dataset) -> str:
    """The report as a page of HTML; `dataset` is the one that was audited, whose images it shows."""
    licences = {item.path.relative_to(dataset.root).as_posix(): item.licence for item in dataset.items}
    findings = []
    for finding in report.findings:
        groups = [*((path,) for path in finding.paths), *finding.pairs]
        pictures = [_pictures(group, dataset, licences) for group in groups[:SHOWN]]
        findings.append((finding, pictures, max(len(groups) - SHOWN, 0)))
    shortcuts = [("What", "Class", "AUROC", "")]
    shortcuts += [(one.what, one.label, str(one.auroc), "a shortcut" * one.telling) for one in report.shortcuts]
    title = f"Audit of {report.dataset}"
    return render_page("audit.html", title, report=report, findings=findings, shortcuts=shortcuts)


def _pictures(group: Sequence[str], dataset: Dataset, licences: Mapping[str, str]) -> list[tuple[str, str, str, str]]:
    """For each image its path, its licence, and its thumbnail or the reason why there is none."""
    thumbnails = index.load_thumbnails([dataset.root / path for path in group])
    return [
        (path, licences[path], *(("", str(one)) if isinstance(one, ImageError) else (embed(one, "jpeg"), "")))
        for path, one in zip(group, thumbnails, strict=True)
    ]
