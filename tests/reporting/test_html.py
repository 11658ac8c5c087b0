import base64

import cv2
import numpy as np
from matplotlib.figure import Figure

from headposekit.reporting import html


def test_figures_take_the_themes_colours_and_keep_their_words() -> None:
    figure = Figure()
    figure.subplots().plot([0, 1], color="#0072B2", label="a <b> & c")
    figure.legend()
    text = html.svg(figure, "one")
    assert "var(--series-0)" in text
    assert "#0072b2" not in text
    assert "#000000" not in text
    assert "a &lt;b&gt; &amp; c" in text
    assert "http" not in text.replace("http://www.w3.org", "")
    assert 'id="figure_1"' not in text


def test_pictures_are_made_smaller_and_never_larger() -> None:
    for width, shape in ((10, (5, 10, 3)), (80, (20, 40, 3))):
        kind, content = html.jpeg(np.zeros((20, 40, 3), np.uint8), width).split(",")
        assert kind == "data:image/jpeg;base64"
        assert cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR).shape == shape


def test_folders_of_the_machine_are_hidden() -> None:
    public = html.ENVIRONMENT.filters["public"]
    assert public("root=/home/me/faces/a.npz; /x/y: gone, 1/2") == "root=DIR/a.npz; DIR/y: gone, 1/2"
