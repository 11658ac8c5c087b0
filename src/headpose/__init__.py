"""Head pose (yaw, pitch, roll in degrees) from one face crop: networks, data, training and evaluation."""
