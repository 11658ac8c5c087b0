"""Pointing'04 (Gourier, Hall and Crowley, ICPR workshop 2004): 15 people, two series of 93 poses each, 384×288.

Labels are nominal: people looked at marks on a wall, in steps of 15 degrees. They serve for sign, order, range and classes of
15 degrees, not for fine errors.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from headposekit.data.datamodule import FolderDataModule
from headposekit.data.dataset import Annotation, FolderDataset, check_box_in_file
from headposekit.detectors.files import read_boxes
from headposekit.errors import InputError
from headposekit.safe_files import read_file

NAME = re.compile(r"person(\d\d)(\d)(\d\d)([+-]\d{1,2})([+-]\d{1,2})", re.IGNORECASE)
"""Person, series, number, tilt, pan."""
PANS = tuple(range(-90, 91, 15))
TILTS = (-90, -60, -30, -15, 0, 15, 30, 60, 90)
NUM_PEOPLE = 15
BOX = ("x", "y of the centre", "width", "height")
MAX_TEXT = 4096


@dataclass(eq=False)
class Pointing04(FolderDataset):
    """Pointing'04 as published: `<root>/Person01/person01100-90+0.jpg`, a text file beside each with the face's box.

    The name holds person, series, number, tilt and pan. Yaw is pan and pitch is tilt, with their signs; roll is 0. At a tilt of
    ±90 degrees the pan is always 0.

    Args:
        boxes: a file of `read_boxes`, by names such as `Person01/person01100-90+0`; null for the text files.
        series: 1 or 2; null for both.
        people: numbers of those that count; null for all.
        without_person: the number of one that does not count; null for none.

    Raises:
        InputError: see `FolderDataset`; a name or a box of another form.
    """

    title, layout = "Pointing'04", "Person01/person01100-90+0.jpg with person01100-90+0.txt"
    files = ("boxes",)

    boxes: str | Path | None = None
    series: int | None = None
    people: Sequence[int] | None = None
    without_person: int | None = None

    def __post_init__(self) -> None:
        if self.series not in (None, 1, 2):
            raise InputError(f"series={self.series}: Pointing'04 has 1 and 2; null takes both")
        for person in [*(self.people or ()), *([] if self.without_person is None else [self.without_person])]:
            if person not in range(1, NUM_PEOPLE + 1):
                raise InputError(f"person {person}: Pointing'04 has 1 to {NUM_PEOPLE}; correct people or without_person")
        super().__post_init__()

    @classmethod
    def rules(cls, options: dict[str, Any], has_boxes: bool) -> dict[str, Any]:
        """Box, series and people, where they were chosen."""
        chosen = {key: options[key] for key in ("series", "people", "without_person") if options[key] is not None}
        return {"box": "text files" if options["boxes"] is None else Path(options["boxes"]).name, "labels": "nominal", **chosen}

    def list_images(self) -> list[Path]:
        """The pictures of the chosen series and people."""
        self.common_files = [] if self.boxes is None else [Path(self.boxes)]
        self._boxes = None if self.boxes is None else read_boxes(Path(self.boxes))
        listed = [path for path in self.root.rglob("*") if path.suffix.lower() == ".jpg"]
        kept = [path for path in sorted(listed) if self._is_chosen(path)]
        if listed and not kept:
            raise InputError(f"{self.title}: {self.root} holds nobody of the chosen series and people; check series and people")
        self.num_filtered += len(listed) - len(kept)
        return kept

    def _is_chosen(self, path: Path) -> bool:
        try:
            person, series, *_ = read_name(path)
        except InputError:
            return True  # refused, or left out, when its label is read
        return (
            (self.series is None or series == self.series)
            and (self.people is None or person in self.people)
            and person != self.without_person
        )

    def label_files(self, path: Path) -> list[Path]:
        """The text file, unless boxes come from a table."""
        return [path.with_suffix(".txt")] if self.boxes is None else []

    def read_annotation(self, path: Path) -> Annotation:
        """Angles of the name, box of the text file or the table."""
        _, _, _, tilt, pan = read_name(path)
        if self._boxes is None:
            where, box = str(path.with_suffix(".txt")), read_box(path.with_suffix(".txt"))
        else:
            where, rows = f"{self.boxes}: {self.name_of(path)}", self._boxes.get(self.name_of(path))
            if rows is None:
                raise InputError(f"{where}: no box; add its row, or remove the picture")
            box = rows[rows[:, 0].argmax(), 1:]
        size = check_box_in_file(where, box, path)
        return Annotation(np.array([pan, tilt, 0.0]), box.astype(np.float32), picture_size=size)

    def photo_of(self, name: str) -> str:
        """The person."""
        return name.rpartition("/")[2][:8].lower()


def read_name(path: Path) -> tuple[int, int, int, int, int]:
    """Person, series, number, tilt and pan of a picture's name; raises InputError where it is of another form.

    >>> read_name(Path("person01127-30+15.jpg"))
    (1, 1, 27, -30, 15)
    """
    found = NAME.fullmatch(path.stem)
    person, series, number, tilt, pan = map(int, found.groups()) if found else (0,) * 5
    if not 1 <= person <= NUM_PEOPLE or series not in (1, 2) or tilt not in TILTS or pan not in PANS:
        raise InputError(
            f"{path}: no name of Pointing'04 such as person01127-30+15 (person, series, number, tilt, pan); rename it"
        )
    return person, series, number, tilt, pan


def read_box(path: Path) -> NDArray[np.float64]:
    """The tight box (4,) of a text file: the picture's name, `Face`, and the box's centre, width and height, a line each.

    Raises:
        InputError: missing, or not of this form.
    """
    words = read_file(path, MAX_TEXT).decode("utf-8", "replace").split()
    values = words[words.index("Face") + 1 :] if "Face" in words else []
    try:
        x, y, width, height = map(float, values)
    except ValueError as error:
        raise InputError(f"{path}: no face with {', '.join(BOX)}; restore the file, or give a table as boxes=") from error
    return np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2])


class Pointing04DataModule(FolderDataModule):
    """Loaders of Pointing'04, and the accuracies of its literature."""

    dataset_name: ClassVar[str] = "pointing04"
    reader = Pointing04

    def more_errors(self, true: NDArray[np.float64], predicted: NDArray[np.float64]) -> dict[str, float]:
        """Share of faces whose pan, tilt and both fall into the class nearest to the prediction.

        Args:
            true, predicted: (N, 3), degrees.

        Returns:
            `pan_accuracy`, `tilt_accuracy`, `accuracy`, from 0 to 1.
        """
        right = []
        for angle, classes in ((0, PANS), (1, TILTS)):
            nearest = np.array(classes)[np.abs(predicted[:, angle, None] - np.array(classes)).argmin(axis=1)]
            right.append(nearest == true[:, angle])
        pan, tilt = right
        return {"pan_accuracy": pan.mean(), "tilt_accuracy": tilt.mean(), "accuracy": (pan & tilt).mean()}
