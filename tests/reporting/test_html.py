import base64
from pathlib import Path

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from headposekit.errors import InputError
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


def test_pictures_are_made_smaller_and_others_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.zeros((20, 40, 3), np.uint8))
    kind, content = html.jpeg_of_file(path, 10).split(",")
    assert kind == "data:image/jpeg;base64"
    assert cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR).shape == (5, 10, 3)
    (tmp_path / "b.png").write_text("no picture")
    for name in ("b.png", "c.png"):
        with pytest.raises(InputError, match=name):
            html.jpeg_of_file(tmp_path / name, 10)


def test_numbers_of_a_column_have_the_same_room_behind_them() -> None:
    cells = html.aligned([["4.00 ± 0.10", "1,969"], ["3.00 [1]", "–"], ["–", "8 of 9"]])
    assert cells == [
        [("4.00", "± 0.10", 6), ("1,969", "", 0)],
        [("3.00", "[1]", 6), ("–", "", 0)],
        [("–", "", 6), ("8 of 9", "", 0)],
    ]
