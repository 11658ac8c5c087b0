"""What reads files that a stranger may have written, and small whole files of each kind to begin with.

A `Reader` writes its files into a folder, and is opened once in each worker: it returns a function that reads the folder as the
project does after one of its files was damaged. That function raises what the project raises; where the project reports
a broken file in another way (a frame with a `problem`, a run that is left out), it raises InputError with that report.
"""

import contextlib
import copy
import csv
import json
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import cv2
import h5py
import numpy as np
import PIL.features
import PIL.Image
import scipy.io
import torch
from werkzeug.test import EnvironBuilder, run_wsgi_app

import headposekit
from headposekit.data.dataset import whole_box
from headposekit.data.packed_faces import PackedFaces, read_examples
from headposekit.data.packing import FacesOnDisk, FixedPack
from headposekit.datasets.aflw import AFLW
from headposekit.datasets.aflw2000 import AFLW2000
from headposekit.datasets.afw import AFW
from headposekit.datasets.biwi import BIWI, read_detections
from headposekit.datasets.table import CSVTable
from headposekit.datasets.w300lp import W300LP
from headposekit.demo.compare import Comparison
from headposekit.demo.examples import Example
from headposekit.demo.server import Page
from headposekit.detectors.centers import CenterNetwork, load_network, save_network, without_norms
from headposekit.detectors.files import FileBoxes, read_boxes
from headposekit.detectors.whole import WholePicture
from headposekit.errors import InputError
from headposekit.geometry.crops import CropRule, FSANetCrop
from headposekit.inference.sources import count_frames, find_inputs, read_frames
from headposekit.landmarks import ThreeDDFA
from headposekit.landmarks.points import read_face_model
from headposekit.landmarks.sources import LandmarkFile
from headposekit.models.fold import fold
from headposekit.models.fsanet import NoScoring
from headposekit.pictures import as_picture, read_image
from headposekit.synthesis.sampler import HeadSampler
from headposekit.synthesis.writers import Write300WLP, WriteAFLW2000
from headposekit.synthesis.writers_aflw import WriteAFLW, WriteAFW
from headposekit.synthesis.writers_biwi import WriteBIWI
from headposekit.synthesis.writers_video import WritePictures, WriteVideo
from headposekit.training.loggers import EpochCSVLogger
from headposekit.weights.checkpoint import CARD_VERSION, build, safetensors_bytes
from headposekit.weights.onnx_files import onnx_bytes
from headposekit.weights.published import fsanet_tensors

Read = Callable[[Path], Any]
"""Called with the damaged file."""
FSANET: dict[str, Any] = {
    "_target_": "headposekit.models.fsanet.FSANet",
    "scoring": {"_target_": "headposekit.models.fsanet.NoScoring"},
    "aggregation": {"_target_": "headposekit.models.fsanet.LinearAggregation", "_partial_": True},
}
CROP = {"_target_": "headposekit.geometry.crops.FSANetCrop", "size": 64, "margin": 0.5, "aflw2000_box": "visible21"}
CARD: dict[str, Any] = {
    "format": CARD_VERSION,
    "model": FSANET,
    "crop": CROP,
    "input": {"size": 64, "channels": "RGB", "range": "0..255, normalised inside"},
    "params": 5,
    "training_data": {"dataset": "300W-LP", "protocol": "fsanet", "n": 7},
}
NAMES = ("0", "1", "2")


@dataclass(frozen=True)
class Reader:
    """Files of one kind and what reads them.

    Attributes:
        write: writes whole files below a folder. Those called `refused*` are files that no reader takes.
        open: given that folder, returns what reads one of them.
        damaged: patterns of the files that are damaged; the others only have to be there.
        is_folder: whether the reader is given a folder, which a refusal may name instead of the file in it.
    """

    write: Callable[[Path], None]
    open: Callable[[Path], Read]
    damaged: tuple[str, ...] = ("**/*",)
    is_folder: bool = False

    def files(self, folder: Path) -> list[Path]:
        """What can be damaged below a folder."""
        return sorted({path for pattern in self.damaged for path in folder.glob(pattern) if path.is_file()})


def write_mat(folder: Path) -> None:
    """AFLW2000 and 300W-LP, of each labels as written and labels with packed elements."""
    WriteAFLW2000(folder / "aflw2000", HeadSampler(), 3)[0]
    WriteAFLW2000(folder / "aflw2000", HeadSampler(), 3)[1]
    Write300WLP(folder / "300w_lp", HeadSampler(poses_per_identity=1), 1)[0]
    for path in (folder / "aflw2000" / "image00002.mat", folder / "300w_lp" / "AFW_Flip" / "AFW_000000_1_0.mat"):
        content = {key: value for key, value in scipy.io.loadmat(path).items() if not key.startswith("__")}
        scipy.io.savemat(path, content, do_compression=True)


def open_mat(folder: Path) -> Read:
    """By the two classes."""
    return lambda file: W300LP(folder / "300w_lp") if "300w_lp" in file.parts else AFLW2000(folder / "aflw2000", box="pt3d_68")


def write_landmarks(folder: Path) -> None:
    """CSV, .npz (also packed) and .pts of three faces."""
    points = np.random.default_rng(0).uniform(0, 100, (3, 68, 2)).round(2)
    np.savez(folder / "a.npz", names=np.array(NAMES), landmarks=points)
    np.savez_compressed(folder / "b.npz", names=np.array(NAMES), landmarks=points.astype(np.float32))
    with (folder / "c.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", *(f"{axis}{number}" for number in range(68) for axis in "xy")])
        writer.writerows([name, *row] for name, row in zip(NAMES, points.reshape(3, -1).tolist(), strict=True))
    (folder / "pts").mkdir()
    for name, face in zip(NAMES, points, strict=True):
        lines = "\n".join(f"{x} {y}" for x, y in face)
        (folder / "pts" / f"{name}.pts").write_text(f"version: 1\nn_points: 68\n{{\n{lines}\n}}\n")


def open_landmarks(folder: Path) -> Read:
    """The source of landmarks, for all three faces."""
    return lambda file: LandmarkFile(file.parent if file.suffix == ".pts" else file)({"name": list(NAMES)})  # type: ignore[typeddict-item]


def write_3ddfa(folder: Path) -> None:
    """Parameters, and what they are to be multiplied with."""
    rng = np.random.default_rng(0)
    np.savez(folder / "parameters.npz", names=np.array(NAMES), parameters=rng.normal(size=(3, 62)))
    np.savez(folder / "whitening.npz", mean=rng.normal(size=62), std=np.ones(62))


def open_3ddfa(folder: Path) -> Read:
    """The network's poses."""
    batch: Any = {"name": list(NAMES), "pose": torch.zeros(3, 3)}
    return lambda file: ThreeDDFA(folder / "parameters.npz", folder / "whitening.npz")(batch)


def write_face_model(folder: Path) -> None:
    """68 points as CSV and as .npy."""
    points = np.random.default_rng(0).normal(size=(68, 3))
    np.savetxt(folder / "face.csv", points, delimiter=",", header="x,y,z")
    np.save(folder / "face.npy", points)


def write_biwi(folder: Path) -> None:
    """One sequence of two frames, with all kinds of boxes."""
    writer = WriteBIWI(folder, HeadSampler(), 1, 2)
    writer[0]
    writer.finish()
    (folder / "Biwi_plus_non_cal.npz").unlink()


def open_biwi(folder: Path) -> Read:
    """The data set with the boxes that the damaged file belongs to, calibrated, and the depth of a frame."""

    def read(file: Path) -> None:
        if file.suffix == ".npz":
            read_detections(file)
            BIWI(folder, boxes=file, box_rule="listed")
            return
        rule = "dockerface" if file.name.startswith("dockerface") else "fsanet_protocol1"
        dataset = BIWI(folder, box_rule=rule, calibrated=True)  # type: ignore[arg-type]
        for index in range(len(dataset)):
            dataset.depth(index)

    return read


def write_aflw(folder: Path) -> None:
    """The database with its pictures, ready crops with their text, and a list of faces."""
    base, crops = (
        WriteAFLW(folder / "base", HeadSampler(), 2, "sqlite", 64),
        WriteAFLW(folder / "crops", HeadSampler(), 2, "text", 64),
    )
    names = [*base[0], *base[1]]
    crops[0], crops[1]
    (folder / "faces.txt").write_text("\n".join(names))


def open_aflw(folder: Path) -> Read:
    """The data set in the form of the damaged file."""

    def read(file: Path) -> None:
        AFLW(
            folder / ("crops" if "crops" in file.parts else "base"),
            faces=folder / "faces.txt" if file.name == "faces.txt" else None,
        )

    return read


def write_afw(folder: Path) -> None:
    """Two photographs with a line of text each."""
    writer = WriteAFW(folder, HeadSampler(), 2)
    writer[0], writer[1]


def write_tables(folder: Path) -> None:
    """Pictures with a table that has boxes, and one that has none."""
    writer = WritePictures(folder, HeadSampler(), 3, 48)
    for number in range(3):
        writer[number]
    writer.finish()
    with (folder / "truth.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    with (folder / "crops.csv").open("w", newline="") as file:
        csv.writer(file).writerows(row[:4] for row in rows)


def open_tables(folder: Path) -> Read:
    """The data set, its pictures and its people."""

    def read(file: Path) -> None:
        for table in [file] if file.suffix == ".csv" else [folder / "crops.csv", folder / "truth.csv"]:
            dataset = CSVTable(table)
            for index, name in enumerate(dataset.names):
                dataset.image(index), dataset.photo_of(name)

    return read


def write_pack(folder: Path) -> None:
    """Ready crops of three pictures."""
    write_tables(folder.parent / "pictures")
    source = FacesOnDisk(CSVTable, folder.parent / "pictures" / "truth.csv", {}, cast(CropRule, FSANetCrop(64)))
    FixedPack(folder / "packs", 1).prepare(source)
    shutil.rmtree(folder.parent / "pictures")


def open_pack(folder: Path) -> Read:
    """The pack without its files: labels, pictures, and a sheet of examples."""

    def read(file: Path) -> None:
        dataset = PackedFaces(file.parent, "table", 99.0, "raise")
        for index, name in enumerate(dataset.names):
            dataset.image(index), dataset.photo_of(name)
        read_examples(file.parent, 2)

    return read


def write_pictures(folder: Path) -> None:
    """A small picture in every format and in many of its forms."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    smooth = np.asarray(cv2.resize(pixels, (40, 30)))
    picture, turned = PIL.Image.fromarray(smooth), PIL.Image.Exif()
    turned[0x0112] = 6
    picture.save(folder / "baseline.jpg")
    picture.save(folder / "progressive.jpg", progressive=True)
    picture.save(folder / "turned.jpg", exif=turned)
    picture.convert("L").save(folder / "grey.jpg")
    picture.convert("CMYK").save(folder / "cmyk.jpg")
    picture.save(folder / "colour.png")
    picture.convert("P").save(folder / "palette.png")
    picture.convert("RGBA").save(folder / "alpha.png", exif=turned)
    cv2.imwrite(str(folder / "deep.png"), smooth.astype(np.uint16) * 256)
    for compression in ("raw", "tiff_lzw", "tiff_deflate", "jpeg", "packbits"):
        picture.save(folder / f"{compression}.tif", compression=compression)
    PIL.Image.fromarray(smooth[..., 0].astype(np.uint16)).save(folder / "deep.tiff")
    picture.save(folder / "colour.bmp")
    picture.convert("P").save(folder / "palette.bmp")
    picture.save(folder / "lossy.webp")
    picture.save(folder / "lossless.webp", lossless=True, exif=turned)
    picture.save(folder / "one.gif")
    picture.save(folder / "several.gif", save_all=True, append_images=[picture.rotate(90)])
    picture.save(folder / "colour.ppm")
    picture.convert("L").save(folder / "grey.pgm")
    if PIL.features.check("avif"):
        picture.save(folder / "colour.avif")


def open_pictures(folder: Path) -> Read:
    """As a file, as PIL has it, without decoding it, and as an input of a prediction."""

    def read(file: Path) -> None:
        refusals = []
        for one in (read_image, whole_box, _as_pil, _all_frames):
            try:
                one(file)
            except InputError as error:
                refusals.append(error)
        if refusals:
            raise refusals[0]

    return read


def _as_pil(file: Path) -> None:
    try:
        picture = PIL.Image.open(file)
    except Exception:  # the caller's own
        return
    with picture:
        as_picture(picture)


def _all_frames(file: Path) -> None:
    (source,) = find_inputs(str(file))
    count_frames(source)
    for frame in read_frames([source]):
        if frame.problem:
            raise InputError(frame.problem)


def write_videos(folder: Path) -> None:
    """Eight frames as .mp4 and as .avi."""
    WriteVideo(folder, HeadSampler(), 1, 1, 8, 25.0, 64)[0]
    (folder / "video_00.csv").unlink()
    for name, code in (("motion.avi", "MJPG"), ("short.mov", "mp4v"), ("free.mkv", "XVID")):
        video = cv2.VideoWriter(str(folder / name), cv2.VideoWriter.fourcc(*code), 20.0, (64, 48))
        for number in range(6):
            video.write(np.full((48, 64, 3), 30 * number, np.uint8))
        video.release()
        if not (folder / name).stat().st_size:
            (folder / name).unlink()


def write_checkpoint(folder: Path) -> None:
    """An untrained FSA-Net with what Lightning keeps beside it, and a fusion of two."""
    torch.manual_seed(0)
    lightning = {
        "epoch": 3,
        "global_step": 40,
        "optimizer_states": [{"state": {}, "param_groups": [{"lr": 0.1, "params": [0]}]}],
    }
    for name, config in (
        ("net.ckpt", FSANET),
        ("fusion.ckpt", {"_target_": "headposekit.models.fusion.LateFusion", "members": [FSANET, copy.deepcopy(FSANET)]}),
    ):
        state = {f"model.{key}": value for key, value in build(config).state_dict().items()}
        torch.save({**lightning, "state_dict": state, "headposekit": {**CARD, "model": config}}, folder / name)


def open_network(folder: Path) -> Read:
    """Loaded for use, and used."""
    picture = np.random.default_rng(0).integers(0, 256, (80, 70, 3), dtype=np.uint8)

    def read(file: Path) -> None:
        target = file.with_suffix(".safetensors") if file.suffix == ".json" else file
        headposekit.load(target, detector="none", device="cpu")(picture)

    return read


def write_safetensors(folder: Path) -> None:
    """A network and its description."""
    torch.manual_seed(0)
    (folder / "net.safetensors").write_bytes(safetensors_bytes(build(FSANET)))
    (folder / "net.json").write_text(json.dumps(CARD))


def write_onnx(folder: Path) -> None:
    """An exported network."""
    torch.manual_seed(0)
    (folder / "net.onnx").write_bytes(onnx_bytes(fold(build(FSANET).eval()), CARD))


def write_published(folder: Path) -> None:
    """FSA-Net's layers in a Keras file, and state dicts of both formats: a whole Hopenet's, and one that is of no network."""
    torch.manual_seed(0)
    network = build(FSANET)
    state = network.state_dict()
    back = {
        "same": lambda w: w,
        "dense": lambda w: w.T,
        "conv": lambda w: w.transpose(2, 3, 1, 0),
        "pixelwise": lambda w: w.T[None, None],
        "depthwise": lambda w: w.transpose(2, 3, 0, 1),
    }
    with h5py.File(folder / "net.h5", "w") as file:
        file.attrs["layer_names"] = [b"x"]
        for name, ((layer, weight), rule) in (
            (name, (source.split("/"), rule)) for name, (source, rule) in fsanet_tensors(NoScoring, "mat_mul_layer_1")
        ):
            file[f"{layer}/{layer}/{weight}:0"] = back[rule](state[name].numpy())
    small = {"layer1.0.conv3.weight": torch.zeros(4, 4), "fc_yaw.weight": torch.zeros(66, 8), "fc_yaw.bias": torch.zeros(66)}
    torch.save(small, folder / "refused_new.pkl")
    torch.save(small, folder / "refused_old.pth", _use_new_zipfile_serialization=False)
    alexnet_like = {f"layer{layer}.{block}.conv1.weight": torch.zeros(2, 2) for layer in range(1, 5) for block in range(2)}
    torch.save({**small, **alexnet_like}, folder / "refused_resnet.pkl")


def write_detector(folder: Path) -> None:
    """An untrained detector."""
    torch.manual_seed(0)
    save_network(without_norms(CenterNetwork()), folder / "centers.npz", {"seed": 0})


def write_boxes(folder: Path) -> None:
    """A detector's table of boxes."""
    with (folder / "boxes.csv").open("w", newline="") as file:
        rows = [["a.jpg", 0.9, 1, 2, 30, 40], ["a.jpg", 0.5, 5, 5, 9, 9], ["b", 0.7, 0, 0, 12.5, 13]]
        csv.writer(file).writerows([["name", "confidence", "x0", "y0", "x1", "y1"], *rows])


def open_boxes(folder: Path) -> Read:
    """As a table, as BIWI's boxes, and as a detector."""

    def read(file: Path) -> None:
        read_boxes(file)
        read_detections(file)
        FileBoxes(file)(np.zeros((9, 9, 3), np.uint8), "a.jpg")

    return read


def write_uploads(folder: Path) -> None:
    """Pictures, and a request to send one with."""
    write_pictures(folder)
    for path in folder.glob("*.p[pg]m"):
        path.rename(path.with_name(f"refused_{path.name}"))
    request = {
        "QUERY_STRING": "detector=none&draw=axes&name=a.jpg&field_of_view=60",
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/poses",
        "HTTP_HOST": "127.0.0.1",
        "HTTP_ORIGIN": "http://127.0.0.1",
        "CONTENT_TYPE": "application/octet-stream",
        "CONTENT_LENGTH": str((folder / "baseline.jpg").stat().st_size),
        "HTTP_TRANSFER_ENCODING": "",
    }
    (folder / "request.json").write_text(json.dumps(request))


def open_uploads(folder: Path) -> Read:
    """The page's answer; a fault of the program, which it logs, is raised."""
    network = headposekit.load(_checkpoint_beside(folder), detector="none", device="cpu")
    page = Page(Comparison({"net": network}, {"none": WholePicture()}), [Example(np.zeros((9, 9, 3), np.uint8), [])])
    faults: list[BaseException] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info and record.exc_info[1]:
                faults.append(record.exc_info[1])

    logging.getLogger("headposekit.demo.server").addHandler(Keep())

    def read(file: Path) -> None:
        faults.clear()
        is_request = file.suffix == ".json"
        body = (folder / "baseline.jpg" if is_request else file).read_bytes()
        environ = EnvironBuilder("/poses?detector=none", method="POST", base_url="http://127.0.0.1/", data=body).get_environ()
        if is_request:
            try:
                changed = json.loads(file.read_bytes())
                environ |= {str(key): str(value).encode().decode("latin-1") for key, value in changed.items()}
            except (ValueError, AttributeError, RecursionError):  # no request that a server would hand on
                return
        content, status, _ = run_wsgi_app(page, environ)
        text = b"".join(content).decode()
        if faults:
            raise faults[0]
        if not status.startswith("200"):
            raise InputError(f"{file.name}: {json.loads(text)['error']}")

    return read


def _checkpoint_beside(folder: Path) -> Path:
    path = folder.parent / "net.ckpt"
    if not path.is_file():
        write_checkpoint(folder.parent)
    return path


def write_runs(folder: Path) -> None:
    """A finished training with all its files, and a failed one."""
    from headposekit.sweeps.compose import compose_training
    from headposekit.sweeps.resolvers import register_resolvers
    from headposekit.training.identity import id_of_test, identity, train_id

    register_resolvers()
    options = ["experiments=fsanet/table4", "aggregation=capsule", "scoring=conv", "seed=0"]
    config = compose_training(options)
    run = folder / train_id(config)
    (run / ".hydra").mkdir(parents=True)
    errors = {"yaw": 1.0, "pitch": 1.0, "roll": 1.0, "mae": 1.0, "geodesic": 1.5}
    entry = {"protocol": "p", "crop": "fsanet", "n": 2, "skipped": 0, "last": errors, "best": errors}
    entry["of_protocol"] = {"name": "p", "hash": "x", "complete": True}
    tested = {name: {**entry, "test_id": id_of_test(config, name)} for name in config.test}
    training = {"dataset": "300W-LP", "protocol": "p", "n": 9, "n_val": 1, "epochs": 2, "seconds": 3.0, "best_epoch": 1}
    results = {
        "status": "finished", "train_id": train_id(config), "config": identity(config), "params": 1, "size_mb": 0.95,
        "commit": "abc", "versions": {"torch": "2"}, "train": training, "test": tested,
        "cells": [{"experiment": "fsanet/table4", "cell": options[1:3], "options": []}],
    }  # fmt: skip
    (run / "results.json").write_text(json.dumps(results))
    (run / ".hydra" / "overrides.yaml").write_text("".join(f"- {option}\n" for option in options))
    (run / "metrics.csv").write_text("epoch,lr,train/loss,val/mae\n0,0.1,5.0,3.5\n1,0.1,4.0,3.0\n")
    angles = ("yaw", "pitch", "roll")
    for name in tested:
        with (run / f"predictions_{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["name", *(f"{kind}_{angle}" for kind in ("true", "predicted") for angle in angles), "geodesic"])
            writer.writerows([["a", 10, 5, 0, 11, 6, 1, 1.5], ["b", -40, 0, 9, -41, 1, 8, 1.5]])
    failed = folder / "failed_run"
    failed.mkdir()
    (failed / "train.log").touch()
    (failed / "failed.json").write_text(json.dumps({"status": "failed", "reason": "cut short"}))


def open_runs(folder: Path) -> Read:
    """As the report, a sweep and a training that goes on read them."""
    from headposekit.reporting.leaderboard import boards, networks, score
    from headposekit.sweeps.cells import recorded_options
    from headposekit.sweeps.compose import compose_training
    from headposekit.sweeps.pool import cell_state, finished_results, untested
    from headposekit.sweeps.resolvers import register_resolvers
    from headposekit.training.runs import pool_of, read_metrics, read_predictions, read_runs

    register_resolvers()
    config = compose_training(["experiments=fsanet/table4", "aggregation=capsule", "scoring=conv", "seed=0"])

    def read(file: Path) -> None:
        run = next(path for path in folder.iterdir() if path.name != "failed_run")
        cell_state(config, run), cell_state(config, folder / "failed_run")
        if results := finished_results(config, run):
            untested(config, results)
        EpochCSVLogger(run)
        runs, left_out = read_runs(folder)
        pool_of(runs), recorded_options(runs, [])
        for one in runs:
            read_metrics(one.folder, "val/mae")
            for test in one.results["test"]:
                read_predictions(one, test)
        scores, refused = score(networks(runs))
        boards(scores)
        reasons = {**{name: f"{folder / name}: {reason}" for name, reason in left_out.items() if name != "failed_run"}}
        reasons |= {name: f"{folder / name}: {reason}" for (name, _), reason in refused.items()}
        for reason in (*reasons.values(), *(reason for name, reason in left_out.items() if name == "failed_run")):
            if len(reason.splitlines()) > 1:
                raise InputError(reason)
        if reasons:
            raise InputError(next(iter(reasons.values())))

    return read


def write_overview_runs(folder: Path) -> None:
    """The runs, and beside them the experiments of the page: two instead of all, whose figures would take most of the time."""
    write_runs(folder)
    write_experiments(folder.parent)


def open_overview(folder: Path) -> Read:
    """The page of all that has run."""
    from headposekit.reporting.annotations import Annotations
    from headposekit.reporting.overview import write_overview
    from headposekit.sweeps import compose
    from headposekit.sweeps.resolvers import register_resolvers

    register_resolvers()
    setattr(compose, "EXPERIMENTS", folder.parents[1] / "whole" / "experiments")  # noqa: B010  # damage is to the runs only
    os.environ["HEADPOSEKIT_RUNS"] = str(folder)
    return lambda file: write_overview(folder.parent / "index.html", Annotations(None), "none")


def write_experiments(folder: Path) -> None:
    """Two experiments of the project, and the published numbers."""
    from headposekit.paths import ROOT

    (folder / "experiments" / "fsanet").mkdir(parents=True)
    for name in ("published_results.csv", "fsanet/table4.yaml", "fsanet/figure5.yaml"):
        shutil.copyfile(ROOT / "experiments" / name, folder / "experiments" / name)


def open_experiments(folder: Path) -> Read:
    """The experiment's table with one run, its sweep's options and what is missing, refused as an entry point refuses."""
    from headposekit.cli import entry
    from headposekit.cli.options import check_values
    from headposekit.reporting import experiments
    from headposekit.sweeps import compose
    from headposekit.sweeps.resolvers import register_resolvers
    from headposekit.training.runs import read_pool

    register_resolvers()
    runs = folder.parent / "runs"
    if not runs.is_dir():
        write_runs(runs)
    pool = read_pool(runs)
    setattr(compose, "EXPERIMENTS", folder / "experiments")  # noqa: B010  # what these modules import
    setattr(experiments, "PUBLISHED", folder / "experiments" / "published_results.csv")  # noqa: B010
    last: list[Path] = []  # which is whole again

    def read(file: Path) -> None:
        register_resolvers()
        os.environ["HEADPOSEKIT_ROOT"] = str(folder)
        changed = {file, *last}
        last[:] = [file]
        if any(one.suffix == ".yaml" for one in changed):  # the published numbers are in none of these
            for cached in (compose._composed, compose.raw_experiment, compose.experiment_names, experiments._choices):
                cached.cache_clear()
        name = f"fsanet/{file.stem}" if file.suffix == ".yaml" else "fsanet/table4"
        try:
            config = compose.compose_training([f"experiments={name}"], "report")
            check_values(config)
            table = experiments.experiment_table(config, [f"experiments={name}"], pool)
            with contextlib.suppress(InputError):  # the run has no checkpoint for them
                list(experiments.draw_figures(config, table))
            experiments.still_missing(name, config, [f"experiments={name}"], table, [])
            table.markdown(), table.csv(), table.latex()
        except Exception as error:
            if (line := entry.one_line(error)) is None:
                raise
            raise InputError(f"{folder}: {line}") from error

    return read


def _files(read: Callable[[Path], Any]) -> Callable[[Path], Read]:
    return lambda folder: read


READERS: dict[str, Reader] = {
    "mat": Reader(write_mat, open_mat, ("**/*.mat",)),
    "landmarks": Reader(write_landmarks, open_landmarks),
    "3ddfa": Reader(write_3ddfa, open_3ddfa),
    "face_model": Reader(write_face_model, _files(read_face_model)),
    "biwi": Reader(write_biwi, open_biwi, ("*.npz", "01/*.txt", "01/*.cal", "01/*.bin", "01/*.csv"), is_folder=True),
    "aflw": Reader(write_aflw, open_aflw, ("*.txt", "base/*.sqlite", "crops/**/*.txt", "crops/**/*.jpg"), is_folder=True),
    "afw": Reader(write_afw, lambda folder: lambda file: AFW(folder), ("*.txt",)),
    "table": Reader(write_tables, open_tables, ("*.csv", "*.csv", "00000.jpg"), is_folder=True),
    "pack": Reader(write_pack, open_pack, ("packs/*/manifest.json", "packs/*/*.np[yz]"), is_folder=True),
    "pictures": Reader(write_pictures, open_pictures),
    "videos": Reader(write_videos, _files(_all_frames)),
    "checkpoint": Reader(write_checkpoint, open_network),
    "safetensors": Reader(write_safetensors, open_network, is_folder=True),
    "onnx": Reader(write_onnx, open_network),
    "published": Reader(write_published, open_network),
    "detector": Reader(write_detector, _files(load_network)),
    "boxes": Reader(write_boxes, open_boxes),
    "uploads": Reader(write_uploads, open_uploads, is_folder=True),
    "runs": Reader(write_runs, open_runs, is_folder=True),
    "overview": Reader(write_overview_runs, open_overview, is_folder=True),
    "experiments": Reader(write_experiments, open_experiments, is_folder=True),
}
