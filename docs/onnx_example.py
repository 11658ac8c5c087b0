"""Head pose of a face crop: `python onnx_example.py net.onnx face.png`; needs onnxruntime, numpy and opencv-python only."""

import json
import sys

import cv2
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
card = json.loads(session.get_modelmeta().custom_metadata_map["headposekit"])
print("the face has to be cropped by this rule:", card["crop"])
picture = cv2.imread(sys.argv[2])  # height, width, BGR
face = cv2.resize(picture, (card["input"]["size"], card["input"]["size"]))
images = cv2.cvtColor(face, cv2.COLOR_BGR2RGB)[np.newaxis]  # one face; any number of them may be stacked
yaw, pitch, roll = session.run(["pose"], {"image": images})[0][0]
print(f"yaw {yaw:.3f} pitch {pitch:.3f} roll {roll:.3f} ({card['convention']})")
