"""The networks, one file each from pixels to angles, and the loading of published weights."""
