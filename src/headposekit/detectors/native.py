"""Other people's detectors, and how their boxes become tight ones.

By how much the tight box's middle is shifted and how large it is, as shares of the native box, are medians: for the cascade
and dlib over synthetic heads (`python tools/compare_detectors.py --fit`), for YuNet and MTCNN over every second of 2,012
photographs of 300-W with 68 points (`python tools/measure_detectors.py --fit`). On the other photographs the mapped boxes of
these two overlap the tight ones by .87 and .86 (intersection over union, see results/detectors.md).
"""

from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from headposekit.detectors.base import Detections, as_detections
from headposekit.errors import InputError, import_optional, refusing
from headposekit.types import Image

Array = NDArray[np.float64]
MISSING = "detector={} needs the package {}; pip install -e '.[detectors]'"
YUNET = "face_detection_yunet_2023mar.onnx"


class Mapping(NamedTuple):
    """From a detector's box to the tight box of the 68 landmarks.

    Attributes:
        shift_x, shift_y: of the middle, to the right and down, as shares of the native box's width and height.
        scale_x, scale_y: the tight box's width and height over the native one's.
    """

    shift_x: float
    shift_y: float
    scale_x: float
    scale_y: float

    def __call__(self, boxes: Array) -> Array:
        """(N, 4) native boxes to (N, 4) tight ones."""
        side = boxes[:, 2:] - boxes[:, :2]
        center = (boxes[:, :2] + boxes[:, 2:]) / 2 + side * [self.shift_x, self.shift_y]
        half = side * [self.scale_x, self.scale_y] / 2
        return np.concatenate([center - half, center + half], axis=1)

    def inverse(self) -> "Mapping":
        """The mapping from tight boxes to native ones."""
        x, y, width, height = self
        return Mapping(-x / width, -y / height, 1 / width, 1 / height)


class NativeDetector(ABC):
    """What they have in common: a picture that is too large is made smaller, found boxes are mapped to tight ones.

    Args:
        size: longer side in pixels to which larger pictures are brought.
    """

    name: str
    boxes_are_crops = False
    mapping: Mapping

    def __init__(self, size: int) -> None:
        if size < 32:
            raise InputError(f"detector.size={size} is too small; give 32 pixels or more")
        self.size = size

    def __call__(self, image: Image, name: str = "") -> Detections:
        """Faces, tight boxes in pixels of the picture as given."""
        scale = min(1.0, self.size / max(image.shape[:2]))
        sides = [max(1, round(scale * side)) for side in image.shape[1::-1]]
        small = image if scale == 1 else np.asarray(cv2.resize(image, sides, interpolation=cv2.INTER_AREA), np.uint8)
        boxes, scores = self.find(np.ascontiguousarray(small))
        ratio = np.array([image.shape[1] / sides[0], image.shape[0] / sides[1]] * 2)
        return as_detections(self.mapping(boxes) * ratio, scores)

    @abstractmethod
    def find(self, image: Image) -> tuple[Array, Array]:
        """Native boxes (N, 4) and scores (N,) of a picture."""


class Cascade(NativeDetector):
    """The cascade of local binary patterns that comes with scikit-image (extra `detectors`); it gives no scores.

    Args:
        size: longer side in pixels to which larger pictures are brought.
        min_size: smallest native box in pixels of that picture.

    Raises:
        InputError: scikit-image is not installed (at the first call).
    """

    name = "cascade"
    mapping = Mapping(0.0, 0.145, 0.883, 0.871)

    def __init__(self, size: int = 480, min_size: int = 40) -> None:
        super().__init__(size)
        self.min_size = min_size

    @cached_property
    def _cascade(self) -> Any:
        missing = MISSING.format(self.name, "scikit-image")
        data, feature = import_optional("skimage.data", missing), import_optional("skimage.feature", missing)
        return feature.Cascade(data.lbp_frontal_face_cascade_filename())

    def find(self, image: Image) -> tuple[Array, Array]:
        """Boxes as this detector draws them, and scores."""
        smallest, largest = (self.min_size, self.min_size), image.shape[:2]
        found = self._cascade.detect_multi_scale(image, scale_factor=1.2, step_ratio=1, min_size=smallest, max_size=largest)
        boxes = [(face["c"], face["r"], face["c"] + face["width"], face["r"] + face["height"]) for face in found]
        return np.array(boxes, dtype=np.float64).reshape(-1, 4), np.full(len(boxes), np.nan)


class DlibHog(NativeDetector):
    """dlib's built-in detector, histograms of gradients (extra `detectors`); scores are distances from its hyperplanes.

    Args:
        size: longer side in pixels to which larger pictures are brought.
        upsample: how often the picture is doubled first: 0 finds faces from 80 pixels on, 1 from 40.
        threshold: score from which a face counts.

    Raises:
        InputError: dlib is not installed (at the first call).
    """

    name = "dlib"
    mapping = Mapping(0.0, 0.138, 0.923, 0.923)

    def __init__(self, size: int = 960, upsample: int = 1, threshold: float = 0.0) -> None:
        super().__init__(size)
        self.upsample, self.threshold = upsample, threshold

    @cached_property
    def _detector(self) -> Any:
        return import_optional("dlib", MISSING.format(self.name, "dlib-bin")).get_frontal_face_detector()

    def find(self, image: Image) -> tuple[Array, Array]:
        """Boxes as this detector draws them, and scores."""
        found, scores, _ = self._detector.run(image, self.upsample, self.threshold)
        boxes = [(face.left(), face.top(), face.right() + 1, face.bottom() + 1) for face in found]
        return np.array(boxes, dtype=np.float64).reshape(-1, 4), np.array(scores, dtype=np.float64)


class YuNet(NativeDetector):
    """YuNet (Wu et al., Machine Intelligence Research, 2023) by OpenCV, with a model file that you fetch.

    Args:
        model: the .onnx file, such as face_detection_yunet_2023mar.onnx of opencv/opencv_zoo.
        size: longer side in pixels to which larger pictures are brought.
        threshold: score from which a face counts.

    Raises:
        InputError: no such file, or no model of YuNet's (at the first call).
    """

    name = "yunet"
    mapping = Mapping(0.0, 0.131, 1.022, 0.753)

    def __init__(self, model: str | Path, size: int = 640, threshold: float = 0.7) -> None:
        super().__init__(size)
        self.model, self.threshold = Path(model), threshold

    @cached_property
    def _network(self) -> Any:
        if not self.model.is_file():
            raise InputError(f"detector.model={self.model}: no such file; fetch {YUNET} from opencv/opencv_zoo")
        return cv2.FaceDetectorYN.create(str(self.model), "", (320, 320), self.threshold)

    def find(self, image: Image) -> tuple[Array, Array]:
        """Boxes as this detector draws them, and scores."""
        with refusing(f"detector.model={self.model}", "no model of YuNet's", f"fetch {YUNET} again", cv2.error):
            network = self._network
            network.setInputSize(image.shape[1::-1])
            _, rows = network.detect(image[..., ::-1].copy())  # BGR
        faces = np.asarray(rows if rows is not None else np.empty((0, 15)), dtype=np.float64)
        return np.concatenate([faces[:, :2], faces[:, :2] + faces[:, 2:4]], axis=1), faces[:, -1]


class MTCNN(NativeDetector):
    """MTCNN (Zhang et al., IEEE Signal Processing Letters, 2016) by the package facenet-pytorch, which holds the weights.

    Args:
        size: longer side in pixels to which larger pictures are brought.
        min_size: smallest native box in pixels of that picture.
        threshold: score of the last of its three networks from which a face counts.

    Raises:
        InputError: facenet-pytorch is not installed (at the first call).
    """

    name = "mtcnn"
    mapping = Mapping(0.0, 0.136, 1.031, 0.767)

    def __init__(self, size: int = 640, min_size: int = 20, threshold: float = 0.7) -> None:
        super().__init__(size)
        self.min_size, self.threshold = min_size, threshold

    @cached_property
    def _network(self) -> Any:
        # The package pins a torch of its own, which would replace the user's; it works with ours.
        missing = "detector=mtcnn needs the package facenet-pytorch; pip install --no-deps facenet-pytorch"
        package = import_optional("facenet_pytorch", missing)
        return package.MTCNN(min_face_size=self.min_size, thresholds=[0.6, 0.7, self.threshold], keep_all=True, device="cpu")

    def find(self, image: Image) -> tuple[Array, Array]:
        """Boxes as this detector draws them, and scores."""
        network = self._network
        if min(image.shape[:2]) <= self.min_size:  # where the package fails
            return np.empty((0, 4)), np.empty(0)
        boxes, scores = network.detect(image)
        if boxes is None:
            return np.empty((0, 4)), np.empty(0)
        return np.asarray(boxes, dtype=np.float64), np.asarray(scores, dtype=np.float64)
