"""`python src/export.py` as a user calls it, and what may be done with its files."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from configs import FSANET, write_checkpoint
from headposekit.weights.checkpoint import build, load_checkpoint, load_safetensors
from headposekit.weights.onnx_files import load_onnx
from run_folders import results

EXAMPLE = Path(__file__).resolve().parents[1] / "docs" / "onnx_example.py"
VARIANCE = {**FSANET, "scoring": {"_target_": "headposekit.models.fsanet.VarianceScoring"}}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "net.ckpt", VARIANCE, train_id="0123456789ab")


def test_export_evaluate_and_example(run, checkpoint: Path, aflw2000_root: Path, tmp_path: Path) -> None:
    faces = ("test=[aflw2000]", f"test.aflw2000.root={aflw2000_root}")
    out = tmp_path / "out"
    done = run("export", f"checkpoint={checkpoint}", *faces, "int8=true", "output=small.onnx", f"hydra.run.dir={out}")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    export = json.loads((out / "export.json").read_text())
    assert export["random"] == 256
    assert export["faces"] > 1
    assert export["degrees_from_network"]["max"] <= 1e-3
    assert export["int8"]["degrees_from_float"]["mean"] > 0
    assert export["milliseconds"]["int8"]["median"] > 0
    assert "int8" in done.stdout
    _, card = load_onnx(tmp_path / "small.onnx")
    assert card["crop"]["detector_margin"] == 0.4
    assert card["sources"][0]["train_id"] == "0123456789ab"
    assert load_onnx(tmp_path / "small_int8.onnx")[1]["int8"]["measured_on"] == export["int8"]["measured_on"]

    means = []
    for number, given in enumerate((f"checkpoint={checkpoint}", "weights=small.onnx")):
        tested = run("evaluate", given, *faces, f"hydra.run.dir={tmp_path}/test{number}")
        assert tested.returncode == 0, tested.stderr
        content = results(tmp_path / f"test{number}")
        means.append((content["test"]["aflw2000"]["last"]["mae"], content["params"]))
    assert means[0][0] == pytest.approx(means[1][0], abs=1e-3)
    assert means[0][1] == means[1][1]

    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "face.png"), picture)
    example = subprocess.run(
        [sys.executable, str(EXAMPLE), "small.onnx", "face.png"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    words = example.stdout.splitlines()[-1].split()
    rgb = torch.from_numpy(picture[..., ::-1].copy()).permute(2, 0, 1)[None]
    with torch.no_grad():
        expected = load_checkpoint(checkpoint).model({"image": rgb}).pose[0]
    assert [float(words[i]) for i in (1, 3, 5)] == pytest.approx(expected.tolist(), abs=2e-3)
    assert "300W-LP" in example.stdout


def test_safetensors_hold_the_very_weights(run, checkpoint: Path, tmp_path: Path) -> None:
    done = run("export", f"checkpoint={checkpoint}", "format=safetensors", "output=net.safetensors")
    assert done.returncode == 0, done.stderr
    before, after = load_checkpoint(checkpoint), load_safetensors(tmp_path / "net.safetensors")
    states = before.model.state_dict(), after.model.state_dict()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert vars(build(before.crop_config)) == vars(build(after.crop_config))
    assert after.card["sources"][0]["train_id"] == "0123456789ab"


def test_example_needs_twenty_lines() -> None:
    assert len(EXAMPLE.read_text().splitlines()) <= 20


def test_published_fusion_through_torch_export(run, official: Path, tmp_path: Path) -> None:
    files = f"weights=[{official}/ssrnet_mt.h5,{official}/fsanet_noS_metric_3_16_2_192_5.h5]"
    done = run("export", files, "format=torch_export", f"hydra.run.dir={tmp_path}/out")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    export = json.loads((tmp_path / "out" / "export.json").read_text())
    assert Path(export["file"]) == tmp_path / "out" / "fusion.pt2"
    assert Path(export["file"]).stat().st_size == export["bytes"]
    assert export["degrees_from_network"]["max"] <= 1e-3
    assert export["headposekit"]["model"]["_target_"].endswith("LateFusion")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["checkpoint=[]"], "no network given; give checkpoint=PATH or weights=PATH"),
        (["checkpoint=no.ckpt"], "no.ckpt: no such checkpoint"),
        (["format=tflite"], "format=tflite is unknown; choose onnx, torch_export, safetensors"),
        (["format=safetensors", "checkpoint=[net.ckpt,other.ckpt]"], "format=safetensors holds the weights of one network"),
        (["output=nowhere/net.onnx"], "output=nowhere/net.onnx: no folder nowhere"),
        (["output=net.pt"], "a file of format=onnx is named *.onnx"),
        (["output=folder.onnx"], "output=folder.onnx: a folder"),
        (["output=/proc/net.onnx"], "/proc/net.onnx"),
        (["int8=true"], "int8=true needs faces to set its ranges by; give some, such as test=[synthetic]"),
        (["int8=true", "format=torch_export"], "int8=true is onnxruntime's, and needs format=onnx"),
        (["int8=perhaps"], "int8=perhaps is not true or false"),
        (["crop=margin"], "no such option: crop"),
        (["checkpoint=[]", "weights=other.onnx"], "other.onnx: not a readable ONNX file, or cut short"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_refusals(refused, checkpoint: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "folder.onnx").mkdir()
    shutil.copy(checkpoint, tmp_path / "other.ckpt")
    (tmp_path / "other.onnx").write_bytes(b"no protobuf")
    given = [] if any(argument.startswith("checkpoint") for argument in arguments) else [f"checkpoint={checkpoint}"]
    assert message in refused("export", *given, *arguments)
