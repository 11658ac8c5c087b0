import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from headposekit.errors import InputError
from headposekit.geometry.bins import AngleBins
from headposekit.models.backbones import TimmBackbone
from headposekit.models.fusion import LateFusion
from headposekit.models.hopenet import Hopenet
from headposekit.models.ssrnet import SSRNetMD
from headposekit.weights.published import load_published

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
        (_other_keras, "neither of FSA-Net, SSR-Net-MD nor WHENet"),
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


def _linked(path: Path, link: object) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["dense_1"]
        file["dense_1/other"] = link


def _dataset(path: Path, **options: object) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["dense_1"]
        file.create_dataset("dense_1/kernel:0", **options)


def _virtual(path: Path) -> None:
    layout = h5py.VirtualLayout((2,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (2,))
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = ["dense_1"]
        file.create_virtual_dataset("dense_1/kernel:0", layout)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: _linked(path, h5py.ExternalLink("other.h5", "/x")), "other is a link to another place"),
        (lambda path: _linked(path, h5py.SoftLink("/x")), "other is a link to another place"),
        (lambda path: _dataset(path, shape=(4,), dtype="u1", external=[("/etc/hostname", 0, 4)]), "lies in other files"),
        (_virtual, "lies in other files"),
        (lambda path: _dataset(path, data=np.zeros(10**6), compression="gzip"), "is compressed"),
        (lambda path: _dataset(path, shape=(10**12,), dtype="f4"), "larger than what is stored of it"),
        (lambda path: _dataset(path, shape=(10**12,), dtype="f4", chunks=(100,)), "larger than what is stored of it"),
        (lambda path: _dataset(path, data=["text"]), "something else than numbers"),
    ],
    ids=["external link", "soft link", "external", "virtual", "compressed", "huge", "huge chunks", "text"],
)
def test_arrays_that_are_not_all_in_the_file(tmp_path: Path, write: Callable, message: str) -> None:
    write(tmp_path / "file.h5")
    with pytest.raises(InputError, match=message) as error:
        load_published(tmp_path / "file.h5")
    assert str(error.value).startswith(f"{tmp_path / 'file.h5'}: ")


def test_whole_keras_model_gives_its_weights(official: Path, tmp_path: Path) -> None:
    with h5py.File(official / "ssrnet_mt.h5", "r") as weights, h5py.File(tmp_path / "model.h5", "w") as model:
        model.attrs["model_config"] = "{}"
        model["optimizer_weights/x"] = np.zeros(3)
        group = model.create_group("model_weights")
        group.attrs["layer_names"] = weights.attrs["layer_names"]
        for layer in weights:
            weights.copy(layer, group)
    expected, found = (load_published(path)[0].state_dict() for path in (official / "ssrnet_mt.h5", tmp_path / "model.h5"))
    assert all(torch.equal(found[key], value) for key, value in expected.items())


@pytest.mark.parametrize(
    ("wrap", "is_zip"),
    [
        (lambda state: {f"module.{key}": value for key, value in state.items()}, True),
        (lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}, "epoch": 3}, True),
        (lambda state: {"model_state_dict": state}, True),
        (lambda state: {"ema": {f"_orig_mod.{key}": value for key, value in state.items()}}, True),
        (lambda state: {"model": {"state_dict": {f"model.module.{key}": value for key, value in state.items()}}}, True),
        (lambda state: state, False),
    ],
    ids=["module", "state_dict", "model_state_dict", "compiled", "twice", "old form"],
)
def test_hopenet_in_other_wrappings(tmp_path: Path, wrap: Callable, is_zip: bool) -> None:
    network = Hopenet(TimmBackbone("resnet18.tv_in1k"), AngleBins())
    state = {key.removeprefix("backbone.trunk."): value for key, value in network.state_dict().items()}
    torch.save(wrap(state), tmp_path / "net.pth", _use_new_zipfile_serialization=is_zip)
    model, _ = load_published(tmp_path / "net.pth")
    assert all(torch.equal(model.state_dict()[key], value) for key, value in network.state_dict().items())


def test_whole_pickled_network_says_what_to_do(tmp_path: Path) -> None:
    torch.save(SSRNetMD(), tmp_path / "net.pkl")
    with pytest.raises(
        InputError, match=r"pickled objects \(headposekit.models.ssrnet.SSRNetMD\).*save\(network.state_dict\(\), FILE"
    ):
        load_published(tmp_path / "net.pkl")


def test_checkpoint_under_another_name(tmp_path: Path) -> None:
    torch.save({"headposekit": {}, "state_dict": {}}, tmp_path / "net.pth")
    with pytest.raises(InputError, match=r"a checkpoint of this suite; name it \*\.ckpt"):
        load_published(tmp_path / "net.pth")


def test_networks_of_different_sizes_do_not_fuse() -> None:
    large = SSRNetMD()
    large.input_size = 224
    with pytest.raises(InputError, match="different input sizes"):
        LateFusion([SSRNetMD(), large])


@pytest.mark.parametrize("start", [b"\x89HDF\r\n\x1a\n", b"PK"], ids=["h5", "torch"])
def test_a_file_larger_than_any_network_is_not_read(tmp_path: Path, start: bytes) -> None:
    with (tmp_path / "net.h5").open("wb") as file:
        file.write(start)
        file.truncate(2**40)  # takes no room on the disk
    with pytest.raises(InputError, match=r"net\.h5: 1,099,511,627,776 bytes, more than the"):
        load_published(tmp_path / "net.h5")
