"""Head pose (yaw, pitch, roll in degrees) from one face crop: networks, data, training, evaluation and use.

>>> from headposekit import load  # doctest: +SKIP
>>> model = load("best.ckpt")  # doctest: +SKIP
>>> poses = model("face.jpg")  # doctest: +SKIP
"""

import os
from typing import TYPE_CHECKING, Any

import cv2

if TYPE_CHECKING:
    from headposekit.inference.estimator import load as load

# Pictures are small here and processes many, so threads of OpenCV's own gain nothing. And a process that is forked from one
# which has such threads (a DataLoader's worker) waits for ever in its first call that wants them.
cv2.setNumThreads(1)
# What OpenCV and FFmpeg have to say of a broken file is said by us, in one line.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")


def __getattr__(name: str) -> Any:
    """`load` brings torch and all networks with it, so it is fetched when asked for."""
    if name != "load":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from headposekit.inference.estimator import load

    return load
