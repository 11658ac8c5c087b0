import numpy as np

from headposekit.synthesis.actor import PLAIN, Actor, Moment
from headposekit.synthesis.sampler import HeadSampler

STILL = Moment()
POSE = (10.0, 0.0, 0.0)


def test_nothing_but_what_is_named_changes() -> None:
    actor = Actor(shadows=0.0, perspective=(20.0, 120.0))
    still = actor.act(6, 96, POSE, STILL)
    np.testing.assert_array_equal(still.image, HeadSampler(**{"shadows": 0.0, **PLAIN}).render(6, 96, POSE).image)
    blinking, talking, lit = (
        actor.act(6, 96, POSE, moment) for moment in (Moment(lids=1.0), Moment(mouth=1.0), Moment(light=60.0))
    )
    eyes = slice(int(still.landmarks[36:48, 1].min()) - 2, int(still.landmarks[36:48, 1].max()) + 3)
    changed = np.abs(blinking.image.astype(int) - still.image).mean(axis=(1, 2))
    assert changed[eyes].mean() > 4 * np.delete(changed, eyes).mean()
    opening = (blinking.landmarks[41, 1] - blinking.landmarks[37, 1]) / (still.landmarks[41, 1] - still.landmarks[37, 1])
    assert opening < 0.3
    assert talking.neutral[8, 1] < still.neutral[8, 1] - 0.3
    np.testing.assert_allclose(talking.neutral[27], still.neutral[27], atol=0.02)
    np.testing.assert_allclose(lit.landmarks, still.landmarks)
    assert np.abs(lit.image.astype(int) - still.image).mean() > 2
    np.testing.assert_array_equal(actor.act(6, 96, POSE, STILL).image, still.image)
