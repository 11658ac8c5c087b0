"""No detector: the picture is a face crop already."""

from headposekit.detectors.base import Detections, as_detections
from headposekit.types import Image


class WholePicture:
    """Returns the whole picture as the crop itself, not as a tight box; a crop rule then only resizes it.

    That is what `data=csv` does with pictures without boxes: the network sees crops of any origin in the same way.
    """

    name = "none"
    boxes_are_crops = True

    def __call__(self, image: Image, name: str = "") -> Detections:
        """One box, all of the picture; no score."""
        height, width = image.shape[:2]
        return as_detections([0, 0, width, height], [float("nan")])
