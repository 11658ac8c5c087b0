"""A checkpoint put to use: on pictures, on videos."""
