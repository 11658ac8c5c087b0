"""A page on which networks can be tried: pictures and a camera in, drawn poses and angles out."""
