"""DAD-3DHeads (Martyniuk et al., CVPR 2022): a head a picture, its pose in a model-view matrix; and its benchmark's submission.

Read after the description and the code of its repository, not tried on the real set. Reference: PinataFarms/DAD-3DHeads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from headposekit.data.datamodule import FolderDataModule
from headposekit.data.dataset import Annotation, FolderDataset, check_box_in_file, check_number
from headposekit.errors import InputError
from headposekit.files import write_json
from headposekit.geometry.conventions import FLIP_FRAME
from headposekit.geometry.rotations import matrix_to_pose, pose_to_matrix, upright_pose
from headposekit.safe_files import read_json

MAX_BYTES = 2**28
"""Of a list or an annotation; one annotation holds 5,023 vertices."""
TOLERANCE = 0.01
"""How far the matrix may be from a scaled rotation."""
Side = Literal["train", "val"]


@dataclass(eq=False)
class DAD3DHeads(FolderDataset):
    """`<root>/<side>/<side>.json`, which lists `item_id` and `bbox`; `images/ID.png` and `annotations/ID.json` beside it.

    `model_view_matrix` takes the model (x right, y up, z out of the face) to a camera of OpenGL, whose frame is A: its rotation
    is our matrix. A box is x, y, width and height of the head. The vertices are not read.

    Args:
        side: `train` or `val`; the test set's poses are kept by the authors, see `write_submission`.

    Raises:
        InputError: see `FolderDataset`; a list or a matrix of another form.
    """

    title, layout, full_range = "DAD-3DHeads", "val/val.json with val/images/ID.png and val/annotations/ID.json", True

    max_angle: float | None = None
    side: Side = "train"

    def list_images(self) -> list[Path]:
        """The pictures of the list."""
        if self.side not in get_args(Side):
            raise InputError(f"side={self.side}: DAD-3DHeads has poses of train and val; its test is scored by submission")
        self._boxes = read_boxes(self.root, self.side)
        self.common_files = [self.root / self.side / f"{self.side}.json"]
        return [self.root / self.side / "images" / f"{name}.png" for name in sorted(self._boxes)]

    def label_files(self, path: Path) -> Sequence[Path]:
        """The annotation."""
        return [path.parents[1] / "annotations" / f"{path.stem}.json"]

    def read_annotation(self, path: Path) -> Annotation:
        """Pose of the model-view matrix, box of the list."""
        (file,) = self.label_files(path)
        content = read_json(file, MAX_BYTES)
        pose = pose_of_model_view(content.get("model_view_matrix") if isinstance(content, dict) else None, str(file))
        box = self._boxes[path.stem]
        size = check_box_in_file(str(self.common_files[0]), box, path)
        return Annotation(pose, box.astype(np.float32), picture_size=size)

    def name_of(self, path: Path) -> str:
        """The item's id."""
        return path.stem


class DAD3DHeadsDataModule(FolderDataModule):
    """Loaders of DAD-3DHeads."""

    dataset_name: ClassVar[str] = "dad3dheads"
    reader = DAD3DHeads


def read_boxes(root: Path, side: str) -> dict[str, NDArray[np.float64]]:
    """Boxes (4,) of a side's heads (`train`, `val` or `test`) by id, x0, y0, x1, y1; InputError where the list is another."""
    path = root / side / f"{side}.json"
    items = read_json(path, MAX_BYTES)
    boxes: dict[str, NDArray[np.float64]] = {}
    for number, item in enumerate(items if isinstance(items, list) and items else [None]):
        name, box = (item.get("item_id"), item.get("bbox")) if isinstance(item, dict) else (None, None)
        if not isinstance(name, str) or not name or Path(name).name != name or not isinstance(box, list) or len(box) != 4:
            raise InputError(f"{path}: entry {number} has no item_id and bbox of x, y, width, height; restore the file")
        x, y, width, height = (check_number(f"{path}: {name}", "bbox", value) for value in box)
        boxes[name] = np.array([x, y, x + width, y + height])
    return boxes


def pose_of_model_view(matrix: Any, where: str) -> NDArray[np.float64]:
    """Pose (3,) of the rotation in a model-view matrix (4, 4), whatever its scale; InputError where it holds none."""
    try:
        rotation = np.array(matrix, dtype=np.float64)[:3, :3]
        left, scales, right = np.linalg.svd(rotation)
        usable = scales[2] > 0 and scales[0] / scales[2] - 1 < TOLERANCE and np.linalg.det(left @ right) > 0
    except (TypeError, ValueError, IndexError, np.linalg.LinAlgError):
        usable = False
    if not usable or np.shape(matrix) != (4, 4):
        raise InputError(f"{where}: model_view_matrix is no 4×4 matrix of a rotation; restore the annotation")
    return np.asarray(upright_pose(matrix_to_pose(torch.from_numpy(left @ right))).numpy())


def write_submission(path: Path, poses: Mapping[str, ArrayLike]) -> None:
    """The benchmark's JSON file of poses (3,) in degrees by item id: `rotation_matrix` alone, in OpenCV's axes as it expects.

    The benchmark compares with F times the model-view rotation, F of `FLIP_FRAME`; other measures need a mesh.
    """
    matrices = pose_to_matrix(torch.tensor(np.array(list(poses.values())), dtype=torch.float64)).numpy()
    write_json(path, {name: {"rotation_matrix": (FLIP_FRAME @ m).tolist()} for name, m in zip(poses, matrices, strict=True)})
