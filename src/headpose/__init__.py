"""Head pose (yaw, pitch, roll in degrees) from one face crop: networks, data, training and evaluation."""

import cv2

# Pictures are small here and processes many, so threads of OpenCV's own gain nothing. And a process that is forked from one
# which has such threads (a DataLoader's worker) waits for ever in its first call that wants them.
cv2.setNumThreads(1)
