"""A page that tells how a packed dataset is: counts against the published ones, labels, duplicates, landmarks, bad files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from headposekit.geometry.conventions import ANGLE_LIMIT, ANGLES
from headposekit.reporting import html
from headposekit.reporting.figures import COLORS

Index = Mapping[str, NDArray[Any]]
Row = tuple[str, str, str]

PUBLISHED: dict[str, dict[str, int]] = {
    "300W-LP": {"faces": 122_450, "within": 122_415, "photos": 3_837},
    "AFLW2000": {"faces": 2_000, "within": 1_969},
    "BIWI": {"faces": 15_678, "within": 15_678, "photos": 20},
    "AFLW": {"faces": 25_993, "photos": 21_997},
}
"""Of the whole set; `photos` are what a split keeps together: of BIWI, people."""
MAX_LISTED, MAX_GROUPS = 100, 20
EXAMPLE_SIDE = 96
"""Of a face, as it is shown, in pixels."""


def write_page(
    path: Path, manifest: Mapping[str, Any], index: Index, pictures: NDArray[np.uint8], doubts: Sequence[str] = ()
) -> Path:
    """Write one HTML file that needs no other, of a pack's manifest and index and pictures (m, P, P, 3) of it.

    `doubts` say what makes the labels look like something else than they are taken for.
    """
    bad = index["reason"] != ""
    return html.write_page(
        path,
        "doctor.html",
        title=f"{manifest['dataset']}, {manifest['kind']} pack of {manifest['size']} px",
        root=manifest["root"],
        options=", ".join(f"{key} {value}" for key, value in manifest["options"].items()) or "no options",
        counts=counts(manifest, index),
        labels=labels(index),
        doubts=list(doubts),
        limit=ANGLE_LIMIT,
        histograms=html.svg(_histograms(index), "histograms"),
        places=places(index),
        duplicates=duplicates(index),
        max_groups=MAX_GROUPS,
        bad=list(zip(index["name"][bad].tolist(), index["reason"][bad].tolist(), strict=True)),
        max_listed=MAX_LISTED,
        examples=[html.jpeg(picture, 2 * EXAMPLE_SIDE, quality=90) for picture in pictures],
        side=EXAMPLE_SIDE,
    )


def counts(manifest: Mapping[str, Any], index: Index) -> list[Row]:
    """Rows of name, number here, published number; one that is not there is empty."""
    published = PUBLISHED.get(str(manifest["dataset"]), {})
    within = np.abs(index["pose"]).max(axis=1) <= ANGLE_LIMIT
    numbers = {
        "faces listed": (manifest["faces"], published.get("faces")),
        "left out by the reader (no label, no box)": (manifest["unlisted"], None),
        f"within ±{ANGLE_LIMIT:g} degrees": (int(within.sum()), published.get("within")),
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
        span = np.quantile(known, [0, 0.5, 1]).round(2) + 0.0 if len(known) else []  # + 0.0: no -0.00
        text = ", ".join(f"{number:.2f}" for number in span) or "none known"
        rows.append((angle, text, f"{int((np.abs(known) > ANGLE_LIMIT).sum()):,}"))
    return rows


def places(index: Index) -> list[Row]:
    """Rows of what is wrong with boxes and landmarks, how many faces have it, and the first of them."""
    x0, y0, x1, y1 = index["source_box"].T
    height, width = index["picture_size"].T[:2]
    known = np.isfinite(index["source_box"]).all(axis=1)
    outside = (x0 < 0) | (y0 < 0) | (x1 > width) | (y1 > height)
    found = {
        "box without area": known & ((x0 >= x1) | (y0 >= y1)),
        "box less than 16 pixels wide or high": known & (np.minimum(x1 - x0, y1 - y0) < 16),
        "box reaching out of the picture": known & outside,
        "some landmarks outside the picture": index["outside"] > 0,
        "some landmarks not known": np.isnan(index["landmarks"]).any(axis=(1, 2)) & (index["reason"] == ""),
    }
    return [(name, f"{int(faces.sum()):,}", ", ".join(index["name"][faces][:3].tolist())) for name, faces in found.items()]


def duplicates(index: Index) -> list[list[str]]:
    """Names of faces whose packed pictures are the same to the last bit, in groups."""
    good = index["reason"] == ""
    groups: dict[int, list[str]] = {}
    for name, digest in zip(index["name"][good].tolist(), index["digest"][good].tolist(), strict=True):
        groups.setdefault(digest, []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def _histograms(index: Index) -> Figure:
    figure = Figure(figsize=(11, 2.8), layout="constrained")
    for axes, angle, values in zip(figure.subplots(1, 3), ANGLES, index["pose"].T, strict=True):
        known = values[np.isfinite(values)]
        axes.hist(np.clip(known, -180, 180), bins=np.arange(-180, 181, 5), color=COLORS[0])
        axes.axvspan(-ANGLE_LIMIT, ANGLE_LIMIT, color=COLORS[0], alpha=0.08, linewidth=0)
        axes.set(title=angle, xlabel="degrees", xlim=(-180, 180), xticks=range(-180, 181, 60))
        if len(known):
            axes.set(yscale="log", ylim=(0.7, None))  # a single face is seen, too
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].set_ylabel("faces")
    return figure
