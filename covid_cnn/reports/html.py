"""Pages of HTML that a person takes away: each one file, its images in it, and nothing to load.

The pages themselves are the Jinja2 templates in `templates/`, in which every text is escaped.
"""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from covid_cnn.reports.wording import NOTICE


def render_page(template: str, title: str, **values: Any) -> str:
    """A page from one of the templates, headed by a title and the notice that it is for research only."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).with_name("templates"))
    pages = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    page = pages.get_template(template).render(title=title, notice=NOTICE, **values)
    return page.encode(errors="backslashreplace").decode()  # a file's name may hold what is no Unicode


def embed(content: bytes, kind: str) -> str:
    """A picture as a data: address, so that the page needs no other file; its bytes are of kind "jpeg" or "svg+xml"."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def embed_pixels(pixels: np.ndarray) -> str:
    """A grey or colour picture, uint8, as a data: address of a JPEG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=85)
    return embed(file.getvalue(), "jpeg")
