"""HTML pages that need no other file: templates, and what pictures and figures become inside them."""

import base64
import io
import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib import rc_context
from matplotlib.figure import Figure

from headposekit.errors import InputError
from headposekit.files import encode_picture, write_text
from headposekit.reporting.figures import COLORS
from headposekit.types import Image

ENVIRONMENT = Environment(
    loader=PackageLoader("headposekit.reporting"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
SERIES = {color.lower(): f"var(--series-{number})" for number, color in enumerate(COLORS) if color != "#000000"}
THEMED = {**SERIES, "#000000": "currentColor", "#ffffff": "var(--paper)"}
"""Colours of our figures to those of templates/style.css, which change with the theme."""


def write_page(path: Path, template: str, **content: object) -> Path:
    """Fill a template of templates/ and write it, so that a reader never sees half a page."""
    page = ENVIRONMENT.get_template(template).render(**content)
    write_text(path, page)
    return path


def jpeg(image: Image, width: int | None = None, quality: int = 72) -> str:
    """An RGB picture as a data URI, made no wider than `width` pixels."""
    shown = image
    if width is not None and image.shape[1] > width:
        size = (width, max(1, round(image.shape[0] * width / image.shape[1])))
        shown = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    coded = encode_picture(Path("picture.jpg"), shown, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return "data:image/jpeg;base64," + base64.b64encode(coded).decode()


def jpeg_of_file(path: Path, width: int) -> str:
    """A picture file as a data URI.

    Raises:
        InputError: it is not there, or no picture.
    """
    image = cv2.imread(str(path)) if path.is_file() else None
    if image is None:
        raise InputError(f"{path}: {'no readable picture' if path.exists() else 'not there'}; test that network again")
    return jpeg(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8), width)


def aligned(rows: Sequence[Sequence[str]]) -> list[list[tuple[str, str, int]]]:
    """Cells as number, what follows it (± 0.10, [1]), and the room that a column needs for that, so that its numbers align."""
    cells = [[re.split(r" (?=±|\[)", cell, maxsplit=1) for cell in row] for row in rows]
    widths = [max(len(part) for *_, part in [("", *cell[1:]) for cell in column]) for column in zip(*cells, strict=True)]
    return [[(cell[0], "".join(cell[1:]), width) for cell, width in zip(row, widths, strict=True)] for row in cells]


def svg(figure: Figure, name: str) -> Markup:
    """A figure as an `<svg>` of real text, in the colours of the page's theme.

    Args:
        figure: by one of `headposekit.reporting.figures`.
        name: unlike that of any other figure of the page, whose parts are named after it.
    """
    file = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(file, format="svg", transparent=True, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    text = file.getvalue()
    text = text[text.index("<svg") :]
    head, _, body = text.partition(">")
    box = re.search(r'viewBox="[^"]*"', head)
    body = re.sub(r'<g id="[^"]*"', "<g", re.sub(r"<!--.*?-->\s*", "", body, flags=re.DOTALL))  # each figure counts from 1
    body = re.sub(r"(\.\d\d)\d+", r"\1", re.sub(r"\s*\n\s*", " ", body))  # hundredths of a point; shorter pages open sooner
    for color, themed in THEMED.items():
        body = body.replace(color, themed)
    width = round(figure.get_figwidth() * 84)
    title = figure.get_suptitle() or next((axis.get_title() for axis in figure.axes if axis.get_title()), name)
    return Markup(f'<svg {box[0] if box else ""} style="width:{width}px" role="img" aria-label="{escape(title)}">{body}')
