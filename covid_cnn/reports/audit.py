"""The report of an audit that a person takes away: one page of HTML, its images in it, and nothing to load."""

import base64
from collections.abc import Iterable, Mapping
from html import escape

from covid_cnn.common.errors import ImageError
from covid_cnn.data import index
from covid_cnn.data.audit import AuditReport, Finding
from covid_cnn.data.dataset import Dataset

SHOWN = 24  # images of a finding; its text tells how many more there are
STYLE = """
body { font: 16px/1.5 sans-serif; color: #12262b; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h2 { font-size: 1rem; border-left: .4rem solid #4f7f8c; padding-left: .6rem; margin-top: 2rem; }
h2.serious { border-color: #c0392b; } h2.warning { border-color: #d68910; }
figure { display: inline-block; margin: .3rem; width: 160px; vertical-align: top; }
figure img { max-width: 160px; max-height: 160px; background: #000; }
figcaption { font-size: .7rem; overflow-wrap: anywhere; }
.pair { display: inline-block; border: 1px solid #c9d6d8; margin: .2rem; }
table { border-collapse: collapse; } td, th { padding: .2rem .8rem; text-align: left; border-top: 1px solid #c9d6d8; }
@media print { h2 { break-after: avoid; } figure { break-inside: avoid; } }
"""
NOTICE = "For research and teaching only. Not for diagnosis. What an audit finds are reasons to look, not verdicts."


def render_audit(report: AuditReport, dataset: Dataset) -> str:
    """The report as a page of HTML; `dataset` is the one that was audited, whose images it shows."""
    licences = {item.path.relative_to(dataset.root).as_posix(): item.licence for item in dataset.items}
    parts = [
        f"<p>{escape(NOTICE)}</p>",
        f"<p>{report.images} images, {len(report.findings) or 'no'} findings.</p>",
        *(_finding(finding, dataset, licences) for finding in report.findings),
        _shortcuts(report),
    ]
    title = escape(f"Audit of {report.dataset}")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head><body><h1>{title}</h1>{''.join(parts)}</body></html>\n"
    )


def _finding(finding: Finding, dataset: Dataset, licences: Mapping[str, str]) -> str:
    groups = [(path,) for path in finding.paths] + list(finding.pairs)
    heading = f'<h2 class="{finding.severity}">{escape(finding.severity.capitalize())}: {escape(finding.sentence)}</h2>'
    shown = "".join(_group(group, dataset, licences) for group in groups[:SHOWN])
    more = f"<p>and {len(groups) - SHOWN} more; the JSON report lists all.</p>" if len(groups) > SHOWN else ""
    return heading + shown + more


def _group(group: Iterable[str], dataset: Dataset, licences: Mapping[str, str]) -> str:
    files = [dataset.root / path for path in group]
    figures = "".join(
        f"<figure>{_image(small)}<figcaption>{escape(_plain(path))}<br>{escape(licences[path])}</figcaption></figure>"
        for path, small in zip(group, index.load_thumbnails(files), strict=True)
    )
    return f'<div class="pair">{figures}</div>' if len(files) > 1 else figures


def _image(small: bytes | ImageError) -> str:
    if isinstance(small, ImageError):
        return f"<p>{escape(_plain(str(small)))}</p>"
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(small).decode()}">'


def _shortcuts(report: AuditReport) -> str:
    if not report.shortcuts:
        return ""
    rows = "".join(
        f"<tr><td>{escape(one.what)}</td><td>{escape(one.label)}</td><td>{escape(str(one.auroc))}</td>"
        f"<td>{'a shortcut' if one.telling else ''}</td></tr>"
        for one in report.shortcuts
    )
    return (
        "<h2>What should not tell the class, and how well it does</h2>"
        "<p>AUROC, cross-validated by patient; 0.5 is chance, 1 is perfect. Brightness and thumbnails hold large "
        "opacities too, so that only a nearly perfect value is called a shortcut there.</p>"
        f"<table><tr><th>What</th><th>Class</th><th>AUROC</th><th></th></tr>{rows}</table>"
    )


def _plain(text: str) -> str:
    """File names may hold what is no Unicode."""
    return text.encode(errors="backslashreplace").decode()
