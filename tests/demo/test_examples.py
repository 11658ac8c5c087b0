"""The examples are what they say."""

import numpy as np

from headposekit.demo.examples import HEADS, render_examples
from headposekit.detectors.centers import CenterDetector


def test_each_head_is_in_its_box_and_stands_as_said() -> None:
    examples = render_examples(96)
    assert [len(example.truth) for example in examples] == [len(people) for people in HEADS]
    for example, people in zip(examples, HEADS, strict=True):
        assert example.picture.shape == (96, 96 * len(people), 3)
        for place, (head, (_, pose)) in enumerate(zip(example.truth, people, strict=True)):
            assert tuple(head["pose"]) == pose
            x0, y0, x1, y1 = head["box"]
            assert 96 * place < x0 < x1 < 96 * (place + 1)
            assert 0 < y0 < y1 < 96
            assert np.std(example.picture[round(y0) : round(y1), round(x0) : round(x1)]) > 10  # a face, no wall


def test_the_default_detector_finds_every_head_and_nothing_else() -> None:
    for example in render_examples():
        found = sorted(CenterDetector()(example.picture).boxes.tolist())
        assert len(found) == len(example.truth)
        for box, head in zip(found, example.truth, strict=True):
            assert np.abs(np.subtract(box, head["box"])).max() < 40  # of heads of about 155 pixels
