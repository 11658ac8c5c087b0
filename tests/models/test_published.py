import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from headpose.errors import InputError
from headpose.models.fusion import LateFusion
from headpose.models.published import load_published
from headpose.models.ssrnet import SSRNetMD

FILES = ["fsanet_capsule_3_16_2_21_5", "fsanet_noS_metric_3_16_2_192_5", "fsanet_netvlad_3_16_2_21_5", "ssrnet_mt"]
GOLDEN = [(33.338, -4.456, -3.807), (60.972, -10.399, -9.918), (52.064, -6.146, -0.198), (13.913, 5.660, -2.039)]


def to_batch(bgr: np.ndarray) -> dict:
    return {"image": torch.from_numpy(np.ascontiguousarray(bgr[..., ::-1])).permute(0, 3, 1, 2)}


@pytest.mark.parametrize("name", FILES)
def test_outputs_are_the_authors_codes(official: Path, expected: dict[str, np.ndarray], name: str) -> None:
    model, _ = load_published(official / f"{name}.h5")
    with torch.no_grad():
        for inputs, outputs in (("random_bgr", "random"), ("aflw2000_crops_bgr", "aflw2000")):
            pose = model(to_batch(expected[inputs])).pose.numpy()
            np.testing.assert_allclose(pose, expected[f"{name}/{outputs}"], atol=1e-3)


@pytest.mark.parametrize(("name", "golden"), list(zip(FILES, GOLDEN, strict=True)), ids=FILES)
def test_golden_outputs_in_float64(official: Path, name: str, golden: tuple[float, ...]) -> None:
    i, j, c = np.ogrid[:64, :64, :3]
    bgr = ((64 * i + j + 85 * c) % 256).astype(np.uint8)[None]
    model, _ = load_published(official / f"{name}.h5")
    with torch.no_grad():
        np.testing.assert_allclose(model.double()(to_batch(bgr)).pose[0].numpy(), golden, atol=6e-4)


def test_fusion_of_three_is_the_mean_of_the_authors_outputs(official: Path, expected: dict[str, np.ndarray]) -> None:
    three = FILES[:3]
    fusion = LateFusion([load_published(official / f"{name}.h5")[0] for name in three])
    with torch.no_grad():
        output = fusion(to_batch(expected["aflw2000_crops_bgr"]))
    np.testing.assert_allclose(output.pose.numpy(), np.mean([expected[f"{n}/aflw2000"] for n in three], axis=0), atol=1e-3)
    assert output.member_pose.shape == (3, 8, 3)


def test_file_of_nan_is_refused_by_what_it_is(official: Path) -> None:
    with pytest.raises(InputError, match=r"181,811 of its 183,497 weights are NaN"):
        load_published(official / "fsanet_var_netvlad_3_16_2_21_5.h5")


def test_truncated_file(official: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.h5"
    path.write_bytes((official / "ssrnet_mt.h5").read_bytes()[:500_000])
    with pytest.raises(InputError, match=r"half\.h5: not a readable HDF5 file, or cut short"):
        load_published(path)


def test_file_that_lost_a_layer(official: Path, tmp_path: Path) -> None:
    path = tmp_path / "less.h5"
    shutil.copyfile(official / f"{FILES[0]}.h5", path)
    with h5py.File(path, "r+") as file:
        del file["ssr_F_Cap_model"]["dense_4"]
    with pytest.raises(InputError, match="dense_4/bias is missing"):
        load_published(path)


def test_file_of_wrong_shape(official: Path, tmp_path: Path) -> None:
    path = tmp_path / "odd.h5"
    shutil.copyfile(official / f"{FILES[0]}.h5", path)
    with h5py.File(path, "r+") as file:
        del file["ssr_Cap_model/caps/W:0"]
        file["ssr_Cap_model/caps/W:0"] = np.zeros((3, 20, 16, 64), np.float32)
    with pytest.raises(InputError, match=r"caps/W has shape \(3, 20, 16, 64\)"):
        load_published(path)


def _no_keras(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = 1


def _other_keras(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["dense_1"]
        file["dense_1/dense_1/kernel:0"] = np.zeros((2, 2))


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "no such weights file"),
        (lambda path: path.write_bytes(b"not hdf5"), "not a readable HDF5 file"),
        (_no_keras, "not of Keras weights"),
        (_other_keras, "neither of FSA-Net nor of SSR-Net-MD"),
    ],
    ids=["missing", "text", "other hdf5", "other keras"],
)
def test_other_files_are_named(tmp_path: Path, write, message: str) -> None:
    path = tmp_path / "file.h5"
    write(path)
    with pytest.raises(InputError, match=message) as error:
        load_published(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_networks_of_different_sizes_do_not_fuse() -> None:
    large = SSRNetMD()
    large.input_size = 224
    with pytest.raises(InputError, match="different input sizes"):
        LateFusion([SSRNetMD(), large])
