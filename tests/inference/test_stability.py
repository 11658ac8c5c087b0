from pathlib import Path

import numpy as np
import pytest

from configs import write_checkpoint
from headposekit.errors import InputError
from headposekit.inference.smoothing import NoSmoothing, Slerp
from headposekit.inference.stability import MEASURES, PERIOD, STEP, SWING, Stability
from headposekit.synthesis.sampler import HeadSampler
from headposekit.weights.load import load_own


def bench(**options: float) -> Stability:
    return Stability(HeadSampler(), {"none": NoSmoothing, "slerp": lambda: Slerp(0.2)}, **options)  # type: ignore[arg-type]


def poses(yaw: np.ndarray) -> np.ndarray:
    return np.stack([yaw, 0 * yaw, 0 * yaw], axis=1)


def test_lag_and_gain_of_known_signals() -> None:
    fast = bench(fps=100.0)
    time = np.arange(400) / 100
    swing = 3 + 0.8 * SWING * np.sin(2 * np.pi * (time - 0.1) / PERIOD)
    assert fast._measure("swing", poses(swing)) == pytest.approx({"swing_lag": 0.1, "swing_gain": 0.8})
    late = np.where(time < 2, 0.0, STEP * (1 - np.exp(-(time - 2) / 0.15)))
    assert fast._measure("step", poses(late))["step_lag"] == pytest.approx(0.15, abs=0.01)
    noise = np.random.default_rng(0).normal(0, 2, 400)
    assert fast._measure("rest", poses(noise))["rest"] == pytest.approx(2, rel=0.1)


def test_a_network_is_measured_with_each_smoothing(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "net.ckpt")
    found = bench(num_people=1, seconds=3.0, fps=10.0, size=64)([load_own(str(tmp_path / "net.ckpt"))])
    assert list(found) == ["none", "slerp"]
    assert all(list(own) == list(MEASURES) for own in found.values())
    plain, smooth = found["none"], found["slerp"]
    for scene in ("rest", "noise", "boxes"):
        assert 0 < smooth[scene] < plain[scene]
    assert min(plain[scene] for scene in ("blink", "talk", "light")) > 0
    assert plain["step_lag"] == pytest.approx(0, abs=1e-3)
    assert smooth["step_lag"] == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("options", [{"num_people": 0}, {"seconds": 2.0}, {"fps": 1.0}], ids=str)
def test_videos_that_tell_nothing_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match="give 1 or more people"):
        bench(**options)
