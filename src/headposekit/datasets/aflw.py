"""AFLW (Koestinger et al., ICCVW 2011): some 25,000 faces in photographs from Flickr, their poses fitted to 21 points."""

import os
import posixpath
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from headposekit.data.datamodule import FolderDataModule
from headposekit.data.dataset import (
    Annotation,
    FolderDataset,
    check_box_in_file,
    check_number,
    check_seed,
    find_file,
    read_label_line,
    whole_box,
)
from headposekit.errors import InputError
from headposekit.geometry.conventions import ANGLES, pose_from_aflw
from headposekit.safe_files import check_file, read_text

DATABASE = "aflw.sqlite"
TABLES = {
    "Faces": ("face_id", "file_id"),
    "FaceImages": ("file_id", "filepath"),
    "FacePose": ("face_id", "yaw", "pitch", "roll"),
    "FaceRect": ("face_id", "x", "y", "w", "h"),
}
"""What is read of the database; it holds more."""
QUERY = """
SELECT Faces.face_id, FaceImages.filepath, FacePose.yaw, FacePose.pitch, FacePose.roll,
       FaceRect.x, FaceRect.y, FaceRect.w, FaceRect.h
FROM Faces LEFT JOIN FaceImages ON FaceImages.file_id = Faces.file_id
JOIN FacePose ON FacePose.face_id = Faces.face_id JOIN FaceRect ON FaceRect.face_id = Faces.face_id
LIMIT {max_rows}
"""
"""Faces that were never given a pose or a rectangle, which the published database has, are nobody's sample."""
MAX_ROWS = 10**6  # of what the query may find; the published database has 25,993 faces
MAX_BYTES = 10**6  # of one value in the database
NUM_TEST = 1000
Part = Literal["all", "train", "test"]


@dataclass(eq=False)
class AFLW(FolderDataset):
    """AFLW in either of two forms; the database is read where there is one.

    As published, `<root>/aflw.sqlite` with the pictures below `<root>/flickr/` or `<root>/`: a sample for each face, the
    annotated rectangle its box, its name the picture's with the face's number, `0/image00002_39341`. As Hopenet reads it,
    crops with a label of one line each, `<root>/**/<name>.{jpg,txt}`: `<ignored> yaw pitch roll ...` in radians; their boxes
    are the whole pictures. AFLW's 21 points are not our 68, so there are no landmarks.

    Args:
        part: `train`, `test` (see `draw_test_faces`) or `all`; without meaning where `faces` is given. The draw is made of
            all faces, before any is left out by its angles.
        faces: a file with the names of the faces that count, one a line; null for those of `part`.
        part_seed: of the draw.

    Raises:
        InputError: a database of another kind, a name of `faces` that is not there, an empty part; see also `FolderDataset`.
    """

    title, layout, files = "AFLW", f"{DATABASE} with flickr/, or NAME.txt with NAME.jpg", ("faces",)

    part: Part = "all"
    faces: str | Path | None = None
    part_seed: int = 0

    @classmethod
    def rules(cls, options: dict[str, Any], has_boxes: bool) -> dict[str, Any]:
        """The box, and which faces."""
        drawn = ("part",) if options["part"] == "all" else ("part", "part_seed")
        faces = {key: options[key] for key in drawn} if options["faces"] is None else {"faces": Path(options["faces"]).name}
        return {"box": "annotated" if has_boxes else "ready_crops", **faces}

    def check_root(self) -> None:
        """A folder; also read the database, where there is one."""
        if self.part not in get_args(Part):
            raise InputError(f"part={self.part} is unknown; choose all, train or test")
        super().check_root()
        self.common_files = [self.root / DATABASE]
        self._database = _Database(self.root) if self.common_files[0].exists() else None
        self.has_boxes = self._database is not None
        self.num_filtered = self._database.num_unlabelled if self._database else 0

    def list_images(self) -> list[Path]:
        """The faces that count, each under its name."""
        names = self._database.names if self._database else self._names_of_crops()
        if not names:
            return []
        if self.faces is not None:
            counted = read_names(Path(self.faces))
            if absent := sorted(counted - set(names)):
                raise InputError(
                    f"{self.faces}: {len(absent)} of its {len(counted)} faces are not in {self.root}, "
                    f"such as {absent[0][:60]}; correct the list (names there look like {names[0]})"
                )
        else:
            test = draw_test_faces(names, [self.photo_of(name) for name in names], self.part_seed)
            counted = {"all": set(names), "train": set(names) - test, "test": test}[self.part]
            if not counted:
                raise InputError(
                    f"{self.title}: {len(names)} faces in {self.root} leave none for part={self.part}; set part=all"
                )
        return [Path(name) for name in names if name in counted]

    def _names_of_crops(self) -> list[str]:
        """A picture whose label is missing is listed all the same, and the other way round."""
        files = [path for path in self.root.rglob("*.*") if not path.name.startswith("._")]
        texts, pictures = (
            {path.relative_to(self.root).with_suffix("").as_posix() for path in files if path.suffix.lower() == suffix}
            for suffix in (".txt", ".jpg")
        )
        return sorted(texts | pictures) if texts else []

    def picture_of(self, path: Path) -> Path:
        """The photograph, or the crop."""
        name = path.as_posix()
        return self._database.picture_of(name) if self._database else find_file(self.root / f"{name}.jpg")

    def label_files(self, path: Path) -> list[Path]:
        """The text file of a ready crop."""
        return [] if self._database else [find_file(self.root / f"{path.as_posix()}.txt")]

    def read_annotation(self, path: Path) -> Annotation:
        """Pose and box from the database's rows or the text file."""
        if self._database:
            return self._database.label_of(path.as_posix())
        (label,) = self.label_files(path)
        return Annotation(_pose(str(label), read_label_line(label, ANGLES)), whole_box(self.picture_of(path)))

    def name_of(self, path: Path) -> str:
        """Faces are listed under their names."""
        return path.as_posix()

    def photo_of(self, name: str) -> str:
        """The photograph; of ready crops it is not known, so each is its own."""
        return name.rpartition("_")[0] if self.has_boxes else name


class _Database:
    """The database as published, read whole and closed again; opened read-only. Methods take a face's name."""

    def __init__(self, root: Path) -> None:
        self.root, self.path = root, root / DATABASE
        check_file(self.path)
        try:
            with closing(sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
                connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_BYTES)
                for table, columns in TABLES.items():
                    self._check_table(connection, table, columns)
                rows = connection.execute(QUERY.format(max_rows=MAX_ROWS + 1)).fetchall()
                (num_faces,) = connection.execute("SELECT COUNT(DISTINCT face_id) FROM Faces").fetchone()
        except (sqlite3.Error, UnicodeDecodeError) as error:  # of damaged text, both come
            reason = " ".join(str(error).split())
            raise InputError(f"{self.path}: cannot be read as AFLW's database ({reason}); fetch it again") from error
        if len(rows) > MAX_ROWS:
            raise InputError(f"{self.path}: more than {MAX_ROWS:,} rows of faces; give AFLW's own database")
        faces: dict[object, list[tuple[Any, ...]]] = {}
        for row in rows:
            faces.setdefault(row[0], []).append(row)
        self._rows = {self._name_of(*found[0][:2]): found for found in faces.values()}
        self.names = sorted(self._rows)
        self.num_unlabelled = num_faces - len(faces)

    def picture_of(self, name: str) -> Path:
        face, filepath = self._rows[name][0][:2]
        if not isinstance(filepath, str) or not filepath:
            raise InputError(f"{self.path}: face {face} has no picture in FaceImages; add its row or remove the face")
        if filepath.startswith("/") or ".." in PurePosixPath(filepath).parts:
            raise InputError(f"{self.path}: face {face}: {filepath} is no path below flickr/; correct it or remove the face")
        folders = self.root / "flickr", self.root
        places = [folder / filepath for folder in folders if folder.is_dir()]
        return next((place for place in map(find_file, places) if os.path.isfile(place)), places[0])

    def label_of(self, name: str) -> Annotation:
        rows = self._rows[name]
        face, _, yaw, pitch, roll, *sides = rows[0]
        where = f"{self.path}, face {face}"
        if len(rows) > 1:
            raise InputError(f"{where}: stands in {', '.join(TABLES)} {len(rows)} times; leave it one row in each")
        angles = [check_number(where, column, value) for column, value in zip(ANGLES, (yaw, pitch, roll), strict=True)]
        x, y, width, height = (check_number(where, column, value) for column, value in zip("xywh", sides, strict=True))
        if width <= 0 or height <= 0:
            raise InputError(f"{where}: its rectangle of {width:g} x {height:g} pixels has no area; correct or remove it")
        box = np.array([x, y, x + width, y + height])
        size = check_box_in_file(where, box, self.picture_of(name))
        return Annotation(_pose(where, angles), box.astype(np.float32), picture_size=size)

    def _name_of(self, face: object, filepath: object) -> str:
        stem = posixpath.splitext(filepath)[0] if isinstance(filepath, str) else ""
        return Path(f"{stem}_{face}").as_posix()  # as a list of paths would show it

    def _check_table(self, connection: sqlite3.Connection, table: str, columns: Sequence[str]) -> None:
        # A view runs whatever it was defined as.
        is_table = "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND lower(name) = lower(?)"
        (num_tables,) = connection.execute(is_table, (table,)).fetchone()
        found = {row[1].lower() for row in connection.execute(f"PRAGMA table_info({table})")}
        if not found or not num_tables:
            raise InputError(f"{self.path}: no table {table} in it; give AFLW's own database")
        if missing := [column for column in columns if column not in found]:
            raise InputError(f"{self.path}: no column {missing[0]} in table {table}; give AFLW's own database")


def read_names(path: Path) -> set[str]:
    """The names in a list of faces, one a line; they may hold spaces. Raises InputError where there is none."""
    names = {line.strip() for line in read_text(path).splitlines()} - {""}
    if not names:
        raise InputError(f"{path}: no name in this list of faces; give one a line")
    return names


def draw_test_faces(names: Sequence[str], photos: Sequence[str], seed: int) -> set[str]:
    """The names of 1,000 faces drawn for the test (KEPLER's protocol), of fewer than 1,001 a tenth.

    Photographs (of each face the one it comes from) are drawn, so that none stands on both sides; one whose faces would be too
    many is passed over.

    Reference: Kumar et al., KEPLER, FG 2017. Which faces they took is not published.
    """
    check_seed("part_seed", seed)
    groups: dict[str, list[str]] = {}
    for name, photo in zip(names, photos, strict=True):
        groups.setdefault(photo, []).append(name)
    wanted = NUM_TEST if len(names) > NUM_TEST else round(len(names) / 10)
    test: set[str] = set()
    order = sorted(groups)
    for index in np.random.default_rng(seed).permutation(len(order)):
        faces = groups[order[index]]
        if len(test) + len(faces) <= wanted:
            test.update(faces)
    return test


def _pose(where: str, angles_rad: Sequence[float]) -> NDArray[np.float64]:
    """Yaw, pitch, roll of a label to ours; InputError beyond a full turn."""
    for column, angle in zip(ANGLES, angles_rad, strict=True):
        if abs(angle) > 2 * np.pi:
            raise InputError(f"{where}: {column} is {angle:g}, beyond a full turn; AFLW's are radians, are these degrees?")
    return pose_from_aflw(*angles_rad)


class AFLWDataModule(FolderDataModule):
    """Loaders of AFLW. The crop rules grow the database's rectangles as they do the landmarks' boxes of 300W-LP."""

    dataset_name: ClassVar[str] = "aflw"
    reader = AFLW
