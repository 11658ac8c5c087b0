"""A page that tells how a packed dataset is: counts against the published ones, labels, duplicates, landmarks, bad files."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

Index = Mapping[str, NDArray[Any]]
Row = tuple[str, str, str]

ANGLES = ("yaw", "pitch", "roll")
LIMIT = 99.0
PUBLISHED: dict[str, dict[str, int]] = {
    "300W-LP": {"faces": 122_450, "within": 122_415, "photos": 3_837},
    "AFLW2000": {"faces": 2_000, "within": 1_969},
    "BIWI": {"faces": 15_678, "within": 15_678, "photos": 20},
    "AFLW": {"faces": 25_993, "photos": 21_997},
}
"""Of the whole set; `photos` are what a split keeps together: of BIWI, people."""
MAX_LISTED, MAX_GROUPS = 100, 20
EXAMPLE_SIDE = 96
STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 62em; margin: 2em auto; padding: 0 1em; color: #222; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; }
table { border-collapse: collapse; } td, th { padding: .25em .9em .25em 0; text-align: left; border-bottom: 1px solid #ddd; }
td.odd { color: #b00020; font-weight: 600; } img { max-width: 100%; } code { font-size: .9em; word-break: break-all; }
"""


def write_page(path: Path, manifest: Mapping[str, Any], index: Index, pictures: NDArray[np.uint8]) -> Path:
    """Write one HTML file that needs no other.

    Args:
        path: of the page.
        manifest, index: of the pack, see `headpose.datasets.packing`.
        pictures: (m, P, P, 3), examples to be looked at.
    """
    bad = index["reason"] != ""
    listed = [(str(name), str(reason)) for name, reason in zip(index["name"][bad], index["reason"][bad], strict=True)]
    twins = duplicates(index)
    parts = [
        f"<h1>{_text(manifest['dataset'])}, {_text(manifest['kind'])} pack of {manifest['size']} px</h1>",
        f"<p>Files in <code>{_text(manifest['root'])}</code>; read with {_text(_options(manifest))}.</p>",
        "<h2>Counts</h2>" + _table(("", "here", "published"), counts(manifest, index), is_compared=True),
        "<h2>Labels</h2>" + _table(("angle", "least, median, greatest", f"beyond ±{LIMIT:g}"), labels(index)),
        _image(_histograms(index), "histograms of yaw, pitch and roll"),
        "<h2>Boxes and landmarks</h2>" + _table(("", "faces", "such as"), places(index)),
        "<h2>Duplicates</h2>" + _groups(twins),
        "<h2>Bad files</h2>" + (_table(("name", "reason"), listed[:MAX_LISTED]) if listed else "<p>None.</p>"),
        f"<p>{len(listed) - MAX_LISTED} more in bad_files.csv.</p>" if len(listed) > MAX_LISTED else "",
        "<h2>Examples</h2>" + (_image(_sheet(pictures), "faces drawn evenly") if len(pictures) else "<p>None.</p>"),
    ]
    title = f"{manifest['dataset']}: how it is"
    page = f"<!doctype html><meta charset=utf-8><title>{_text(title)}</title><style>{STYLE}</style>{''.join(parts)}\n"
    partial = path.with_name(path.name + ".partial")
    partial.write_text(page, encoding="utf-8")
    partial.replace(path)
    return path


def counts(manifest: Mapping[str, Any], index: Index) -> list[Row]:
    """Rows of name, number here, published number; one that is not there is empty."""
    published = PUBLISHED.get(str(manifest["dataset"]), {})
    within = np.abs(index["pose"]).max(axis=1) <= LIMIT
    numbers = {
        "faces listed": (manifest["faces"], published.get("faces")),
        "left out by the reader (no label, no box)": (manifest["unlisted"], None),
        f"within ±{LIMIT:g} degrees": (int(within.sum()), published.get("within")),
        "bad files": (manifest["bad"], 0),
        "photographs or people": (len(set(index["photo"].tolist())), published.get("photos")),
    }
    rows = [(name, f"{here:,}", "" if there is None else f"{there:,}") for name, (here, there) in numbers.items()]
    if manifest["mean_difference"] is not None:
        text = f"{manifest['mean_difference']:g} grey levels on {manifest['compared']} faces"
        rows.append(("mean difference of crops from those of the files", text, ""))
    return rows


def labels(index: Index) -> list[Row]:
    """Rows of angle, range, number beyond the papers' limit."""
    rows = []
    for angle, values in zip(ANGLES, index["pose"].T, strict=True):
        known = values[np.isfinite(values)]
        numbers = [round(float(value), 2) + 0.0 for value in (known.min(), np.median(known), known.max())] if len(known) else []
        span = ", ".join(f"{number:.2f}" for number in numbers) or "none known"  # + 0.0: no -0.00
        rows.append((angle, span, f"{int((np.abs(known) > LIMIT).sum()):,}"))
    return rows


def places(index: Index) -> list[Row]:
    """Rows of what is odd, how many faces it befalls, and the first of them."""
    box, size = index["source_box"], index["picture_size"]
    known = np.isfinite(box).all(axis=1)
    height, width = size[:, 0], size[:, 1]
    missing = np.isnan(index["landmarks"]).any(axis=(1, 2)) & (index["reason"] == "")
    outside = (box[:, 0] < 0) | (box[:, 1] < 0) | (box[:, 2] > width) | (box[:, 3] > height)
    small = np.minimum(box[:, 2] - box[:, 0], box[:, 3] - box[:, 1]) < 16
    odd = {
        "box without area": known & ((box[:, 0] >= box[:, 2]) | (box[:, 1] >= box[:, 3])),
        "box less than 16 pixels wide or high": known & small,
        "box reaching out of the picture": known & outside,
        "some landmarks outside the picture": index["outside"] > 0,
        "some landmarks not known": missing,
    }
    return [(name, f"{int(faces.sum()):,}", ", ".join(index["name"][faces][:3].tolist())) for name, faces in odd.items()]


def duplicates(index: Index) -> list[list[str]]:
    """Names of faces whose packed pictures are the same to the last bit, in groups."""
    good = index["reason"] == ""
    groups: dict[int, list[str]] = {}
    for name, digest in zip(index["name"][good].tolist(), index["digest"][good].tolist(), strict=True):
        groups.setdefault(digest, []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def _options(manifest: Mapping[str, Any]) -> str:
    options = ", ".join(f"{key} {value}" for key, value in manifest["options"].items())
    return options or "no options"


def _histograms(index: Index) -> bytes:
    figure = Figure(figsize=(11, 2.8), layout="constrained")
    for axes, angle, values in zip(figure.subplots(1, 3), ANGLES, index["pose"].T, strict=True):
        known = values[np.isfinite(values)]
        axes.hist(np.clip(known, -180, 180), bins=np.arange(-180, 181, 5), color="#4472a8")
        axes.axvspan(-LIMIT, LIMIT, color="#4472a8", alpha=0.08, linewidth=0)
        axes.set(title=angle, xlabel="degrees", xlim=(-180, 180), xticks=range(-180, 181, 60))
        if len(known):
            axes.set(yscale="log", ylim=(0.7, None))  # a single face is seen, too
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("faces")
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return file.getvalue()


def _sheet(pictures: NDArray[np.uint8], columns: int = 12) -> bytes:
    faces = [np.asarray(cv2.resize(picture, (EXAMPLE_SIDE, EXAMPLE_SIDE))) for picture in pictures]
    faces += [np.full_like(faces[0], 255)] * (-len(faces) % columns)
    rows = [np.concatenate(faces[start : start + columns], axis=1) for start in range(0, len(faces), columns)]
    _, coded = cv2.imencode(".png", cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR))
    return bytes(coded)


def _groups(groups: Sequence[Sequence[str]]) -> str:
    if not groups:
        return "<p>None: no two packed pictures are the same.</p>"
    lines = "".join(
        f"<li>{_text(', '.join(names[:6]))}{' ...' if len(names) > 6 else ''}</li>" for names in groups[:MAX_GROUPS]
    )
    faces = sum(len(names) for names in groups)
    return f"<p>{faces:,} faces in {len(groups):,} groups, the first of which are:</p><ul>{lines}</ul>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], is_compared: bool = False) -> str:
    """With `is_compared`, the second cell is marked where the third is another."""
    top = "".join(f"<th>{_text(cell)}</th>" for cell in head)
    body = ""
    for row in rows:
        is_odd = is_compared and row[2] not in ("", row[1])
        cells = [f"<td{' class=odd' if is_odd and column == 1 else ''}>{_text(cell)}</td>" for column, cell in enumerate(row)]
        body += f"<tr>{''.join(cells)}</tr>"
    return f"<table><tr>{top}</tr>{body}</table>"


def _image(data: bytes, what: str) -> str:
    return f'<img alt="{_text(what)}" src="data:image/png;base64,{base64.b64encode(data).decode()}">'


def _text(value: object) -> str:
    return html.escape(str(value))
