import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from headposekit.detectors.native import DlibHog
from headposekit.errors import InputError
from headposekit.landmarks.sources import FAN, Dlib, LandmarkFile, Truth
from headposekit.synthesis.sampler import HeadSampler
from headposekit.types import Batch

NAMES = ["a/1", "b"]
POINTS = np.random.default_rng(0).uniform(0, 100, (2, 68, 2))


def batch() -> Batch:
    return {
        "image": torch.zeros(2, 3, 8, 8, dtype=torch.uint8),
        "pose": torch.zeros(2, 3),
        "box": torch.tensor([[10.0, 20.4, 40.6, 60.0], [1, 2, 30, 40]]),
        "landmarks": torch.from_numpy(POINTS).float(),
        "name": list(NAMES),
        "picture": [np.full((80, 90, 3), 7, np.uint8), np.full((50, 60, 3), 9, np.uint8)],
    }


def test_truth_is_the_batchs() -> None:
    np.testing.assert_allclose(Truth()(batch()), POINTS, rtol=1e-6)


def write_csv(path: Path, names: list[str], points: np.ndarray) -> None:
    columns = ",".join(f"x{n},y{n}" for n in range(68))
    rows = [
        f"{name},9," + ",".join("" if np.isnan(v) else repr(float(v)) for v in p.ravel())
        for name, p in zip(names, points, strict=True)
    ]
    path.write_text("\n".join([f"name,yaw,{columns}", *rows]) + "\n")


def write_pts(root: Path, name: str, points: np.ndarray) -> None:
    lines = "\n".join(f"{x} {y}" for x, y in points)
    (root / f"{name}.pts").parent.mkdir(parents=True, exist_ok=True)
    (root / f"{name}.pts").write_text(f"version: 1\nn_points: 68\n{{\n{lines}\n}}\n")


@pytest.mark.parametrize("kind", ["csv", "npz", "pts"])
def test_files_give_the_landmarks_of_the_named_faces(tmp_path: Path, kind: str) -> None:
    points = POINTS.copy()
    points[1] = np.nan
    path = tmp_path / f"points.{kind}"
    if kind == "csv":
        write_csv(path, ["b", "other", "a/1"], points[[1, 0, 0]])
    elif kind == "npz":
        np.savez(path, names=np.array(["b", "a/1"]), landmarks=points[[1, 0]])
    else:
        for name, face in zip(NAMES, points, strict=True):
            write_pts(path, name, face)
    np.testing.assert_allclose(LandmarkFile(path)(batch()), points)


def test_what_is_wrong_with_a_file_is_said(tmp_path: Path) -> None:
    write_csv(tmp_path / "short.csv", ["b"], POINTS[:1])
    (tmp_path / "columns.csv").write_text("name,x0,y0\nb,1,2\n")
    write_csv(tmp_path / "words.csv", NAMES, POINTS)
    text = (tmp_path / "words.csv").read_text()
    (tmp_path / "words.csv").write_text(text.replace("b,9,", "b,9,many", 1))
    write_csv(tmp_path / "twice.csv", ["b", "b"], POINTS)
    (tmp_path / "more.csv").write_text(text.replace("b,9,", "b,9,1,", 1))
    np.savez(tmp_path / "shape.npz", names=np.array(NAMES), landmarks=POINTS[:, :51])
    np.savez(tmp_path / "keys.npz", names=np.array(NAMES))
    (tmp_path / "no.npz").write_text("no archive")
    write_pts(tmp_path / "pts", "a/1", POINTS[0, :5])
    for name, message in {
        "gone.csv": "no such file; name,x0,y0,.* give a CSV",
        "short.csv": "no face a/1 in it; add its row",
        "columns.csv": "no column x1; name,x0,y0",
        "words.csv": r"line 3: x0 is 'many.*', not a finite number",
        "twice.csv": "line 3: face 'b' has had its row",
        "more.csv": "line 3: 139 cells under 138 columns",
        "shape.npz": r"landmarks float64 of \(2, 51, 2\); `names` \(N,\) and `landmarks` \(N, 68, 2\) are expected",
        "keys.npz": "`names` .* are expected",
        "no.npz": "not a readable .npz file",
        "pts": "10 numbers, expected 68 lines",
    }.items():
        with pytest.raises(InputError, match=message):
            LandmarkFile(tmp_path / name)(batch())
    write_pts(tmp_path / "pts", "a/1", POINTS[0])
    with pytest.raises(InputError, match=r"b\.pts: no such file"):
        LandmarkFile(tmp_path / "pts")(batch())


class FakeFAN:
    """The part of face-alignment 1.5's interface that is used; finds nothing in the second picture."""

    def __init__(self, kind: Any, device: str, face_detector: str, compile: bool) -> None:
        assert (kind, device, face_detector, compile) == ("2.5D", "cpu", "folder", False)

    def get_landmarks_from_image(self, picture: Any, detected_faces: Any) -> Any:
        assert picture.shape[2] == 3
        (box,) = detected_faces
        return None if picture[0, 0, 0] == 9 else [np.concatenate([POINTS[0], np.zeros((68, 1))], axis=1) + [*box[:2], 0]]


@pytest.fixture
def fan(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The path of its network, in a cache of torch's that is empty."""
    urls = {"2DFAN-4": "https://x.org/2d.pth.tar", "3DFAN-4": "https://x.org/3d.pth.tar"}
    package = SimpleNamespace(
        FaceAlignment=FakeFAN,
        LandmarksType=SimpleNamespace(TWO_D="2D", TWO_HALF_D="2.5D"),
        api=SimpleNamespace(models_urls=urls),
    )
    monkeypatch.setitem(sys.modules, "face_alignment", package)  # type: ignore[arg-type]  # stands for the package
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    path = tmp_path / "checkpoints" / "3d.pth.tar"
    path.parent.mkdir()
    return path


def test_fan_looks_into_the_boxes_and_may_find_nothing(fan: Path) -> None:
    fan.touch()
    found = FAN()(batch())
    np.testing.assert_allclose(found[0], POINTS[0] + [10, 20.4], rtol=1e-6)
    assert np.isnan(found[1]).all()


def test_fan_downloads_nothing(fan: Path) -> None:
    with pytest.raises(InputError, match=r"3d\.pth\.tar is missing; fetch it from https://x\.org/3d\.pth\.tar"):
        FAN()(batch())
    with pytest.raises(InputError, match=r"model\.source\.kind=4d is unknown; choose 2d or 3d"):
        FAN("4d")  # type: ignore[arg-type]


def test_fan_says_what_is_wrong_with_its_file(fan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*args: Any, **options: Any) -> Any:
        raise RuntimeError("Error(s) in loading state_dict for FAN:\n\tMissing keys")

    fan.touch()
    monkeypatch.setattr(sys.modules["face_alignment"], "FaceAlignment", load)
    with pytest.raises(InputError, match=r"3d\.pth\.tar cannot be used on cpu \(Error.* for FAN:\); fetch it again"):
        FAN()(batch())


class MiddleOfTheCrop(torch.nn.Module):
    """In the place of FAN's network of 24 million weights: heat maps that peak in the middle."""

    def __init__(self, modules: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        maps = torch.zeros(len(crops), 68, 64, 64)
        maps[:, :, 31:33, 31:33] = self.weight
        return maps


@pytest.mark.slow  # the package compiles a part of itself when it is imported
def test_the_real_fan_looks_into_the_boxes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = pytest.importorskip("face_alignment")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(package.api, "FAN", MiddleOfTheCrop)
    with pytest.raises(InputError, match=r"3DFAN4-.*\.pth\.tar is missing; fetch it from https://"):
        FAN()(batch())
    path = tmp_path / "hub" / "checkpoints" / package.api.models_urls["3DFAN-4"].rsplit("/", maxsplit=1)[-1]
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no weights")
    with pytest.raises(InputError, match="cannot be used on cpu"):
        FAN()(batch())
    torch.save({"x": torch.zeros(1)}, path)
    with pytest.raises(InputError, match=r"state_dict .*; fetch it again"):
        FAN()(batch())
    torch.save(MiddleOfTheCrop(4).state_dict(), path)
    found = FAN()(batch())
    box = batch()["box"].numpy()
    size = (box[:, 2:] - box[:, :2]).mean(axis=1)
    middle = (box[:, :2] + box[:, 2:]) / 2 - [0, 0.12] * (box[:, 2:] - box[:, :2])  # the package looks a little higher
    assert found.shape == (2, 68, 2)
    assert (np.abs(found - middle[:, None]) < 0.05 * size[:, None, None] + 1).all()


class FakePredictor:
    """Dlib's interface: parts with x and y, whole numbers; the first at the corner of the rectangle."""

    def __init__(self, path: str) -> None:
        if "broken" in path:
            raise RuntimeError("Unable to read")
        self.count = 5 if "five" in path else 68

    def __call__(self, picture: Any, box: tuple[int, ...]) -> Any:
        assert picture.dtype == np.uint8
        parts = [SimpleNamespace(x=box[0] + n, y=box[1]) for n in range(self.count)]
        return SimpleNamespace(num_parts=self.count, parts=lambda: parts)


def test_dlib_looks_into_boxes_as_its_detector_draws_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = SimpleNamespace(shape_predictor=FakePredictor, rectangle=lambda *sides: sides)
    monkeypatch.setitem(sys.modules, "dlib", package)  # type: ignore[arg-type]  # stands for the package
    for name in ("68.dat", "five.dat", "broken.dat"):
        (tmp_path / name).touch()
    found = Dlib(tmp_path / "68.dat")(batch())
    # The second: sides of 29 / .923 and 38 / .923, the centre .138 of the latter higher.
    np.testing.assert_array_equal(found[:, 0], [[9, 13], [0, -5]])
    np.testing.assert_array_equal(found[:, 67], [[76, 13], [67, -5]])
    for name, message in {
        "five.dat": "predicts 5 points, not 68",
        "broken.dat": "no shape predictor of dlib's",
        "gone.dat": "no such file; pip install face_recognition_models, or fetch shape_predictor_68_face_landmarks.dat",
    }.items():
        with pytest.raises(InputError, match=message):
            Dlib(tmp_path / name)(batch())


def test_dlibs_predictor_is_found_in_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    models = tmp_path / "site" / "face_recognition_models" / "models"
    models.mkdir(parents=True)
    (models.parent / "__init__.py").write_text("import a_part_of_setuptools_that_is_gone")
    (models / "68.dat").touch()
    monkeypatch.syspath_prepend(tmp_path / "site")
    used: list[str] = []
    package = SimpleNamespace(
        shape_predictor=lambda path: used.append(path) or FakePredictor(path), rectangle=lambda *sides: sides
    )
    monkeypatch.setitem(sys.modules, "dlib", package)  # type: ignore[arg-type]  # stands for the package
    assert Dlib(tmp_path / "nowhere" / "68.dat")(batch()).shape == (2, 68, 2)
    (tmp_path / "68.dat").touch()
    Dlib(tmp_path / "68.dat")(batch())
    assert used == [str(models / "68.dat"), str(tmp_path / "68.dat")]  # the user's own file comes first
    with pytest.raises(InputError, match=r"other\.dat: no such file"):
        Dlib(tmp_path / "other.dat")(batch())


def test_the_real_dlib_finds_what_it_was_trained_on(tmp_path: Path) -> None:
    """With a predictor of a few rendered heads: theirs is closer than the mean shape in the box, and moves with the box."""
    dlib = pytest.importorskip("dlib")
    heads = [HeadSampler(seed=0, texture_pool=2).render(number, 96) for number in range(24)]
    points, boxes = np.array([head.landmarks[:, :2] for head in heads]), np.array([head.box for head in heads])
    options = dlib.shape_predictor_training_options()
    options.num_threads, options.random_seed, options.nu = 1, "0", 0.3
    options.cascade_depth, options.tree_depth, options.num_trees_per_cascade_level = 4, 2, 40
    options.feature_pool_size, options.oversampling_amount, options.num_test_splits = 100, 5, 5
    shapes = [
        [dlib.full_object_detection(dlib.rectangle(*box), [dlib.point(*point) for point in face])]
        for box, face in zip(DlibHog.mapping.inverse()(boxes).round().astype(int), points.round().astype(int), strict=True)
    ]
    dlib.train_shape_predictor([head.image for head in heads], shapes, options).save(str(tmp_path / "few.dat"))
    faces: Any = {"name": ["x"] * 24, "picture": [head.image for head in heads], "box": torch.from_numpy(boxes)}
    found = Dlib(tmp_path / "few.dat")(faces)
    size = boxes[:, None, 2:] - boxes[:, None, :2]
    mean_shape = boxes[:, None, :2] + ((points - boxes[:, None, :2]) / size).mean(axis=0) * size
    assert np.abs(found - points).mean() < 0.5 * np.abs(mean_shape - points).mean()
    faces["picture"] = [np.pad(head.image, ((9, 0), (5, 0), (0, 0))) for head in heads]
    faces["box"] = torch.from_numpy(boxes + [5, 9, 5, 9])
    np.testing.assert_allclose(Dlib(tmp_path / "few.dat")(faces), found + [5, 9], atol=1)

    (tmp_path / "broken.dat").write_bytes(b"no predictor")
    with pytest.raises(InputError, match="no shape predictor of dlib's"):
        Dlib(tmp_path / "broken.dat")(faces)


@pytest.mark.parametrize(("module", "source"), [("face_alignment", FAN()), ("dlib", Dlib("x.dat"))], ids=["fan", "dlib"])
def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch, module: str, source: Any) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # type: ignore[arg-type]  # None makes an import fail
    with pytest.raises(InputError, match=r"needs the package .*; pip install -e '\.\[landmarks\]'"):
        source(batch())
