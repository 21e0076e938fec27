"""Pages of HTML that a person takes away: each one file, its images in it, and nothing to load.

They are the Jinja2 templates in `templates/`, in which every text is escaped; the model card is one too.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from covid_cnn.common.errors import ImageError
from covid_cnn.data import index
from covid_cnn.data.audit import AuditReport
from covid_cnn.data.dataset import Dataset
from covid_cnn.reports.wording import NOTICE


def render_template(template: str, **values: Any) -> str:
    """A text from one of the templates; in HTML all values are escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader, is_html = FileSystemLoader(Path(__file__).with_name("templates")), template.endswith(".html")
    templates = Environment(loader=loader, autoescape=is_html, undefined=StrictUndefined, trim_blocks=True)
    return templates.get_template(template).render(values)


def render_page(template: str, title: str, **values: Any) -> str:
    """A page of HTML from one of the templates, headed by a title and the notice that it is for research only."""
    page = render_template(template, title=title, notice=NOTICE, **values)
    return page.encode(errors="backslashreplace").decode()  # a file's name may hold what is no Unicode


def embed(content: bytes, kind: str) -> str:
    """A picture as a data: address, so that a page needs no other file; its bytes are of a kind such as "jpeg"."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def embed_pixels(pixels: np.ndarray) -> str:
    """A grey or colour picture, uint8, as a data: address of a JPEG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=85)
    return embed(file.getvalue(), "jpeg")


SHOWN = 24  # images of a finding; its text tells how many more there are


def render_audit(report: AuditReport, dataset: Dataset) -> str:
    """The report as a page of HTML; `dataset` is the one that was audited, whose images it shows."""
    licences = {dataset.place_of(item): item.licence for item in dataset.items}
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
