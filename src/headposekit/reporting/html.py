"""HTML pages that need no other file: templates, and what pictures and figures become inside them."""

import io
import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib import rc_context
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from headposekit.files import data_url, write_text
from headposekit.reporting.figures import COLORS
from headposekit.training.rules import describe_rules
from headposekit.types import Image

ENVIRONMENT = Environment(
    loader=PackageLoader("headposekit.reporting"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
ENVIRONMENT.filters |= {
    "public": lambda text: re.sub(r"(?<![\w.<])/(?:[^\s/:;,'\"\]]+/)+", "DIR/", text),  # without the folders of this machine
    "parts": lambda cell: re.split(r" (?=±|≈|\[|of )", cell, maxsplit=1),  # a number, and what stands below it
    "in_words": describe_rules,
    "options": lambda config: json.dumps({key: value for key, value in config.items() if key != "seed"}, indent=1),
}
SERIES = {color.lower(): f"var(--series-{number})" for number, color in enumerate(COLORS) if color != "#000000"}
THEMED = {**SERIES, "#000000": "currentColor", "#ffffff": "var(--paper)"}
"""Colours of our figures to those of templates/style.css, which change with the theme."""


def write_page(path: Path, template: str, **content: object) -> Path:
    """Fill a template of templates/ and write it."""
    write_text(path, ENVIRONMENT.get_template(template).render(**content))
    return path


def jpeg(image: Image, width: int, quality: int = 72) -> str:
    """An RGB picture as a data URL, made no wider than `width` pixels."""
    if image.shape[1] > width:
        size = (width, max(1, round(image.shape[0] * width / image.shape[1])))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    return data_url(image, quality)


def svg(figure: Figure, name: str) -> Markup:
    """A figure as an `<svg>` of real text, in the colours of the page's theme.

    Args:
        figure: by one of `headposekit.reporting.figures`.
        name: unlike that of any other figure of the page, whose parts are named after it.
    """
    file = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        for patch in (figure.patch, *(axis.patch for axis in figure.axes)):
            patch.set(facecolor="none", edgecolor="none")
        canvas: Any = FigureCanvasSVG(figure)  # `savefig` draws twice where there is a layout to find
        canvas.print_svg(file, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    head, _, body = file.getvalue().partition("<svg")[2].partition(">")
    box = re.search(r'viewBox="[^"]*"', head)
    body = re.sub(r'<g id="[^"]*"', "<g", re.sub(r"<!--.*?-->\s*", "", body, flags=re.DOTALL))  # each figure counts from 1
    body = re.sub(r"(\.\d\d)\d+", r"\1", re.sub(r"\s*\n\s*", " ", body))  # hundredths of a point; shorter pages open sooner
    for color, themed in THEMED.items():
        body = body.replace(color, themed)
    width = round(figure.get_figwidth() * 84)
    title = figure.get_suptitle() or next((axis.get_title() for axis in figure.axes if axis.get_title()), name)
    return Markup(f'<svg {box[0] if box else ""} style="width:{width}px" role="img" aria-label="{escape(title)}">{body}')
