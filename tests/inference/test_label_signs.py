"""Planted conventions of a table's angles are found, and a right table stays silent."""

import csv
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from headposekit.datasets import AFLW2000
from headposekit.datasets.table import CSVTable
from headposekit.geometry.conventions import ANGLES
from headposekit.geometry.face_model import mean_face_68
from headposekit.geometry.rotations import pose_to_matrix
from headposekit.inference.estimator import load
from headposekit.inference.label_signs import Convention, judge, judge_by_landmarks, judge_by_network
from headposekit.landmarks.labels import label_poses
from headposekit.synthesis.sampler import HeadSampler
from headposekit.synthesis.writers_video import EXACT, WritePictures

CONVENTIONS = [
    Convention(columns, signs) for columns in itertools.permutations(range(3)) for signs in itertools.product((1, -1), repeat=3)
]


def heads(n: int = 200, spread: tuple[float, float, float] = (30, 14, 10), seed: int = 0) -> np.ndarray:
    """Poses of n heads, as they vary in photographs."""
    return np.random.default_rng(seed).normal(0, spread, (n, 3)).clip(-90, 90)


def estimated(pose: np.ndarray, seed: int = 1) -> np.ndarray:
    """What a network says: turned too little, 5 degrees of noise, another zero, and one face in 20 missed."""
    rng = np.random.default_rng(seed)
    said = 0.8 * pose + [1.0, -6.0, 0.5] + rng.normal(0, 5, pose.shape)
    said[::20] = rng.normal(0, 30, said[::20].shape)
    return said


def planted(pose: np.ndarray, convention: Convention) -> np.ndarray:
    """A table of poses in another order of columns and with other signs."""
    table = np.empty_like(pose)
    table[:, list(convention.columns)] = pose * convention.signs
    return table


@pytest.mark.parametrize("seed", [0, 1])
def test_all_orders_and_signs_are_found_in_200_heads(seed: int) -> None:
    pose = heads(seed=seed)
    said = estimated(pose, seed + 10)
    for convention in CONVENTIONS:
        table = planted(pose, convention)
        verdict = judge(table, said)
        assert verdict.convention == convention
        assert verdict.is_sure
        assert verdict.is_expected == (convention == Convention())
        np.testing.assert_allclose(verdict.convention.read(table), pose, atol=1e-9)


@pytest.mark.parametrize("convention", CONVENTIONS[::7], ids=str)
def test_radians_and_0_to_360_are_found(convention: Convention) -> None:
    pose = heads()
    table, said = planted(pose, convention), estimated(pose)
    for turn in (False, True):
        verdict = judge(np.radians(np.where((table < 0) & turn, table + 360, table)), said)
        assert (verdict.convention.is_radians, verdict.is_turn, verdict.is_expected) == (True, turn, False)
        np.testing.assert_allclose(
            verdict.convention.read(np.radians(np.where((table < 0) & turn, table + 360, table))), pose, atol=1e-9
        )
    round_table = np.where(table < 0, table + 360, table)
    verdict = judge(round_table, said)
    assert (verdict.convention, verdict.is_turn, verdict.is_expected) == (convention, True, False)
    np.testing.assert_allclose(convention.read(round_table), pose, atol=1e-9)


@pytest.mark.parametrize(("euler", "is_inverse"), [("YXZ", False), ("ZYX", False), ("XYZ", True)])
def test_other_orders_of_the_rotations_are_found_where_heads_turn_far(euler: str, is_inverse: bool) -> None:
    pose = heads(spread=(40, 25, 25))
    turns = Rotation.from_matrix(pose_to_matrix(torch.from_numpy(pose)).numpy())
    turns = turns.inv() if is_inverse else turns
    angles = -turns.as_euler(euler, degrees=True)
    table = angles[:, [euler.index(axis) for axis in "YXZ"]]
    verdict = judge(table, pose + np.random.default_rng(3).normal(0, 3, pose.shape))
    assert verdict.is_sure
    assert not verdict.is_expected
    assert ("inverse (transposed)" if is_inverse else f"in the order {euler}") in str(verdict)
    back = pose_to_matrix(torch.from_numpy(verdict.convention.read(table))).numpy()
    np.testing.assert_allclose(back, pose_to_matrix(torch.from_numpy(pose)).numpy(), atol=1e-6)


@pytest.mark.parametrize("n", [20, 54, 200, 400])
def test_right_tables_stay_silent(n: int) -> None:
    for seed in range(10):
        pose = heads(n, seed=seed)
        assert judge(pose, estimated(pose, seed + 100)).is_expected


def test_what_hardly_varies_is_not_guessed() -> None:
    pose = heads(spread=(30, 14, 1))
    said = estimated(pose)
    right, wrong = judge(pose, said), judge(pose * [-1, 1, 1], said)
    assert right.is_expected
    assert not right.is_sure
    assert not wrong.is_expected  # that yaw is wrong is clear
    assert not wrong.is_sure  # roll may be either
    assert {one.signs for one in (wrong.convention, *wrong.rivals)} == {(-1, 1, 1), (-1, 1, -1)}
    assert str(wrong).startswith("cannot tell the convention of the angles from 200 faces, which vary too little: yaw")
    frontal = judge(heads(spread=(0.5, 0.5, 0.5), seed=7), said)  # rounding, no heads
    assert frontal.is_expected
    assert not frontal.is_sure
    assert judge(pose[:9] * [-1, -1, 1], said[:9]).is_expected  # too few
    assert judge(pose, np.random.default_rng(0).normal(0, 30, pose.shape)).is_expected  # a network that sees nothing
    assert judge(np.full((50, 3), np.nan), np.zeros((50, 3))).is_expected


def test_54_faces_of_aflw2000_by_the_authors_network_and_by_landmarks(shared: Path, official: Path) -> None:
    model = load(official / "fsanet_capsule_3_16_2_21_5.h5")
    pose, said, fitted = [], [], []
    for folder in ("aflw2000_sample", "aflw2000_more"):
        faces = AFLW2000(shared / folder, max_angle=None)
        found = model([faces.image(number) for number in range(len(faces.paths))], boxes=[box[None] for box in faces.box])
        pose.append(faces.pose)
        said += [one.pose for (one,) in found]
        fitted.append(label_poses(faces.landmarks, "rigid_68").pose)
    table = np.concatenate(pose).astype(np.float64)
    assert len(table) == 54
    for reference in (np.array(said), np.concatenate(fitted)):
        for convention in CONVENTIONS:
            verdict = judge(planted(table, convention), reference)
            assert verdict.convention == convention, str(verdict)
            assert verdict.is_sure, str(verdict)
            assert verdict.is_expected == (convention == Convention())
        assert judge(np.radians(table), reference).convention == Convention(is_radians=True)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 120 rendered heads."""
    folder = tmp_path_factory.mktemp("heads")
    writer = WritePictures(folder, HeadSampler(**EXACT), num_units=120, size=128)
    for number in range(120):
        writer[number]
    writer.finish()
    return folder / "truth.csv"


def rewritten(path: Path, name: str, convention: Convention, turn: bool = False) -> Path:
    """The table in another convention, beside it."""
    rows = list(csv.DictReader(path.open()))
    pose = planted(np.array([[float(row[angle]) for angle in ANGLES] for row in rows]), convention)
    pose = np.where((pose < 0) & turn, pose + 360, pose)
    with (path.parent / name).open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        for row, values in zip(rows, pose, strict=True):
            writer.writerow(row | dict(zip(ANGLES, values.tolist(), strict=True)))
    return path.parent / name


def test_rendered_heads_by_a_real_network(official: Path, rendered: Path) -> None:
    table = CSVTable(rendered, None, "defer")
    model = load(official / "fsanet_capsule_3_16_2_21_5.h5", detector="none")
    verdict = judge_by_network(table, model)
    assert verdict.is_expected
    assert verdict.is_sure
    assert verdict.faces == 120
    wrong = judge_by_network(CSVTable(rewritten(rendered, "wrong.csv", CONVENTIONS[29]), None, "defer"), model)
    assert wrong.convention == CONVENTIONS[29]
    assert wrong.is_sure


def test_prepare_warns_and_writes_the_corrected_table(enter: Any, official: Path, rendered: Path, tmp_path: Path) -> None:
    weights = official / "fsanet_capsule_3_16_2_21_5.h5"
    wrong = rewritten(rendered, "turned.csv", Convention((1, 0, 2), (1, -1, 1)), turn=True)

    def prepare(path: Path) -> str:
        done = enter("prepare", "data=csv", "pack=loose", f"data.root={path}", "data.pack.num_workers=0",
                     f"data.pack.root={tmp_path / 'packs'}", f"weights={weights}", "hydra.run.dir=run")  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    assert (
        "data: the column pitch holds yaw, the column yaw holds pitch, pitch has the other sign, the angles run from 0"
        in prepare(wrong)
    )
    corrected = tmp_path / "run" / "data_corrected.csv"
    rows, true = (list(csv.DictReader(path.open())) for path in (corrected, rendered))
    for angle in ANGLES:
        np.testing.assert_allclose([float(row[angle]) for row in rows], [float(row[angle]) for row in true], atol=1e-3)
    assert [Path(row["path"]).name for row in rows] == [row["path"] for row in true]
    assert [row["subject"] for row in rows] == [row["subject"] for row in true]
    said = prepare(corrected)
    assert "WARNING" not in said
    assert "standard errors" not in said


def test_words() -> None:
    assert str(Convention()) == "as expected"
    assert str(Convention(signs=(-1, 1, 1))) == "yaw has the other sign"
    assert str(Convention((1, 0, 2), (1, -1, -1), True)) == (
        "the column pitch holds yaw, the column yaw holds pitch, pitch and roll have the other sign, the angles are radians"
    )


def test_labels_of_a_pack_are_judged_by_their_landmarks() -> None:
    """The picture that is kept is half as wide as the file's."""
    pose = heads(60)
    turns = pose_to_matrix(torch.from_numpy(pose)).numpy()
    points = 20 * (mean_face_68() @ turns.swapaxes(1, 2))[..., :2] * [1, -1] + 100
    index = {
        "reason": np.array([""] * 60),
        "landmarks": points * [0.5, 1],
        "box": np.tile([0, 0, 50, 100], (60, 1)),
        "source_box": np.tile([50, 50, 150, 150], (60, 1)),
    }
    assert judge_by_landmarks(index | {"pose": pose}).is_expected
    assert judge_by_landmarks(index | {"pose": pose}).is_sure
    verdict = judge_by_landmarks(index | {"pose": pose * [1, -1, 1]})
    assert str(verdict.convention) == "pitch has the other sign"
    assert judge_by_landmarks({**index, "landmarks": np.full((60, 68, 2), np.nan), "pose": -pose}).is_expected  # none known
