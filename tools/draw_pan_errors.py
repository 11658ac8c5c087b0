"""Draw docs/pointing04.svg: error of yaw by pan on Pointing'04, for several networks.

    python tools/draw_pan_errors.py "FSA-Net, capsule=RUN_FOLDER" "SSR-Net-MD=RUN_FOLDER" ...

Each folder holds predictions_pointing04.csv, as `evaluate.py test=[pointing04]` leaves it. Faces tilted by more than 30 degrees
are left out, because their yaw is hardly defined.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from headposekit.csv_file import number_in, read_rows
from headposekit.files import replacing
from headposekit.paths import ROOT
from headposekit.reporting.figures import COLORS, MARKERS

MAX_TILT = 30
COLUMNS = ("name", "true_yaw", "true_pitch", "predicted_yaw")


def main(named: list[str]) -> None:
    """Draw the folders given as LABEL=FOLDER."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    absolute, signed = figure.subplots(1, 2)
    for number, given in enumerate(named):
        label, _, folder = given.rpartition("=")
        path = Path(folder) / "predictions_pointing04.csv"
        rows = read_rows(path, COLUMNS, "evaluate.py test=[pointing04] writes it")
        true, tilt, predicted = (
            np.array([number_in(f"{path}, line {row.line}", row, column) for row in rows]) for column in COLUMNS[1:]
        )
        kept = np.abs(tilt) <= MAX_TILT
        true, predicted = true[kept], predicted[kept]
        pans = np.unique(true)
        style = {"color": COLORS[number], "marker": MARKERS[number], "markersize": 4, "label": label}
        absolute.plot(pans, [np.abs(predicted - true)[true == pan].mean() for pan in pans], **style)
        signed.plot(pans, [np.median(predicted[true == pan]) for pan in pans], **style)
    absolute.set(xlabel="pan (degrees)", ylabel="mean absolute error of yaw (degrees)", ylim=(0, None))
    signed.plot([-90, 90], [-90, 90], color="0.6", linewidth=1, linestyle="--")
    signed.set(xlabel="pan (degrees)", ylabel="median predicted yaw (degrees)")
    for axes in (absolute, signed):
        axes.grid(alpha=0.3)
        axes.set_xticks(range(-90, 91, 30))
    absolute.legend(fontsize=8)
    with replacing(ROOT / "docs" / "pointing04.svg") as partial:
        figure.savefig(partial, format="svg", metadata={"Date": None})


if __name__ == "__main__":
    main(sys.argv[1:])
