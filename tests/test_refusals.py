"""Wrong input at the entry points: one line on standard error, exit status 1, no traceback."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from configs import train_config
from headposekit.cli.entry import one_line
from headposekit.paths import ROOT, runs_dir
from run_folders import results

DATA = "data=aflw2000"


def refusal(done) -> str:
    """The only line of standard error."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.root=nowhere"], "300W-LP not found: no folder nowhere; set its root (data.root"),
        (["data.root=empty"], "300W-LP: empty holds none of its pictures"),
        (["data.root={trees}", "data.max_angle=0.1"], "300W-LP: none of the 48 faces"),
        (["scorings=conv"], "error: no such option: scorings"),
        (["crop@data.crp=fsanet"], "error: no such option: crop@data.crp; did you mean to override crop?"),
        (["scoring=entropy"], "scoring/entropy"),
        (["model=ssrnet", "aggregation=capsule"], "no such option: aggregation; nothing that was chosen takes one"),
        (["optimizer.learning_rate=1"], "error: no such option: optimizer.learning_rate"),
        (["test=[aflw2000,aflw2000]"], "test set aflw2000 is named twice; give each once in test=[...]"),
        (["data.root={trees}", "data.batch_size=4000"], "36 training faces do not fill one batch of 4000"),
        (["data.root={trees}", "crop.size=224"], "crop.size=224, but FSANet takes 64 pixels; set crop.size=64"),
        (["data.root={trees}", "init_weights=no.h5"], "no.h5: no such weights file"),
        (["data.root={trees}", "resume=no.ckpt"], "no.ckpt: no such checkpoint"),
        (["data.root={trees}", "epochs=true"], "epochs=true is not a whole number from 1"),
        (["data.root={trees}", "seed=5000000000"], "seed=5000000000 is not a whole number from 0"),
        (["data.root={trees}", "optimizer.lr=-1"], "optimizer: Invalid learning rate: -1"),
        (["data.root={trees}", "crop.margin=wide"], "crop.margin=wide is not a number"),
        (["data.root={trees}", "hydra.run.dir=/proc/nope"], "/proc/nope"),
        pytest.param(
            ["data.root={trees}", "trainer=gpu"],
            "No supported gpu backend found!",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
        (["data.root={trees}", "test.aflw2000.perturb.low_resolution=[1,0]"], "perturb.low_resolution=0 cannot enlarge pixels"),
        (["test.aflw2000.perturb.low_resolution=[5,5]"], "names nothing, or something twice"),
        (["data=csv"], "data.root is needed; give data.root="),
        (["budget=day"], "budget=day is unknown; choose hour, laptop, paper, smoke"),
        (
            ["data=aflw2000", "budget=laptop"],
            "budget=laptop says nothing of data=aflw2000, only of 300w_lp, biwi, synthetic; leave it out and give epochs= and",
        ),
        (["model=hopenet", "backbone=timm"], "error: model.backbone.model_name is needed"),
        (["model=hopenet", "backbone=timm", "model.backbone.model_name=resnet5O", "data.root={trees}"], "nearest: resnet50"),
        (["model=hopenet", "aggregation=capsule"], "aggregation"),
        (["model=hopenet", "data.root={trees}", "loss.alpha=-2", "model.backbone.pretrained=false"], "loss.alpha=-2"),
        (["data.root={trees}", "compile=fast"], "compile=fast is unknown; choose default, reduce-overhead"),
        (["epochs=many"], "epochs=many is not a whole number from 1"),
        (["hydra.job.chdir=true"], "hydra.job.chdir=true: paths count from where the command was typed; leave it out"),
        (["callbacks=null"], "callbacks=null: callbacks needs a choice; choose default"),
        (["data.root={trees}", "+trainer.overfit_batches=1"], "trainer.overfit_batches=1: it changes which faces make a batch"),
        (["experiments=evil"], "evil.yaml"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_train_refuses(
    refused,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    w300lp_root: Path,
    aflw2000_root: Path,
    overrides: list[str],
    message: str,
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "more" / "experiments").mkdir(parents=True)
    (tmp_path / "more" / "experiments" / "evil.yaml").write_text("# @package _global_\nseed: !!python/name:os.system\n")
    monkeypatch.setenv("HEADPOSEKIT_EXTENSIONS", str(tmp_path / "more"))
    given = [override.format(trees=w300lp_root) for override in overrides]
    options = ["data=300w_lp", "data.split=photo", "data.val_fraction=0.25", "data.batch_size=8"]
    if not any(override.startswith("test=") for override in given):
        options += ["test=[aflw2000]", f"test.aflw2000.root={aflw2000_root}"]
    line = refused("train", *options, *given)
    assert line.startswith("error: ")
    assert message in line


def test_truncated_picture_in_a_worker_process(run, tmp_path: Path, aflw2000_root: Path) -> None:
    root = tmp_path / "AFLW2000"
    shutil.copytree(aflw2000_root, root)
    victim = root / "image00002.jpg"
    victim.write_bytes(victim.read_bytes()[:3000])
    done = run("train", DATA, f"data.root={root}", "test=[aflw2000]", "data.num_workers=1", "data.batch_size=2", "epochs=1")
    assert f"{victim}: cut short" in refusal(done)
    (folder,) = (tmp_path / "runs").iterdir()
    assert str(victim) in json.loads((folder / "failed.json").read_text())["reason"]
    skipped = run(
        "train",
        DATA,
        f"data.root={root}",
        "test=[aflw2000]",
        "data.bad_files=skip",
        "test.aflw2000.bad_files=skip",
        "data.batch_size=2",
        "epochs=1",
        "hydra.run.dir=ok",
    )
    assert skipped.returncode == 0, skipped.stderr
    assert "image00002 left out" in skipped.stdout + skipped.stderr
    test = results(tmp_path / "ok")["test"]["aflw2000"]
    assert (test["n"], test["skipped"], test["filtered"]) == (9, 1, 2)


def _checkpoint_with_foreign_target(path: Path) -> None:
    torch.save(
        {
            "state_dict": {},
            "headposekit": {"format": 1, "model": {"_target_": "os.system", "command": "touch ran"}, "crop": {}},
        },
        path,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no network given; give checkpoint=PATH or weights=PATH"),
        (["weights=no.h5"], "no.h5: no such weights file"),
        (["weights={official}/fsanet_var_netvlad_3_16_2_21_5.h5"], "are NaN or infinite"),
        (["weights={official}/expected.npz"], "expected.npz: not a readable file of tensors"),
        (["weights=[{official}/ssrnet_mt.h5,{official}/ssrnet_mt.h5]"], "is named twice"),
        (["checkpoint={official}/ssrnet_mt.h5"], "ssrnet_mt.h5: not a readable checkpoint"),
        (["checkpoint=evil.ckpt"], "target os.system is not one of this suite's"),
        (["weights={official}/ssrnet_mt.h5", "test=[]"], "no test set"),
        (["weights={official}/ssrnet_mt.h5", "crop={{margin: 0.4}}"], "crop={margin: 0.4} is unknown; choose fsanet"),
        (["weights={official}/ssrnet_mt.h5", "model=ssrnet", "crop=margin"], "crop= is the network's own in an evaluation"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_evaluate_refuses(
    refused, tmp_path: Path, official: Path, aflw2000_root: Path, arguments: list[str], message: str
) -> None:
    _checkpoint_with_foreign_target(tmp_path / "evil.ckpt")
    given = [argument.format(official=official) for argument in arguments]
    root = [] if "test=[]" in given else [f"test.aflw2000.root={aflw2000_root}"]
    assert message in refused("evaluate", *given, *root)
    assert not (tmp_path / "ran").exists()


def test_search_writes_nowhere_but_among_the_studies(refused, tmp_path: Path) -> None:
    for name in ("../../x", "..", "/x", ".x"):
        assert f"search.name={name} names no folder of its own" in refused("search", f"search.name={name}")
    assert not list(tmp_path.rglob("x"))


def test_empty_variables_mean_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HEADPOSEKIT_RUNS", "HEADPOSEKIT_DATASETS"):
        monkeypatch.setenv(variable, "")
    assert runs_dir() == ROOT / "runs"
    assert train_config().data.root == str(ROOT / "datasets" / "synthetic")


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: Resource temporarily unavailable (11)"),
        RuntimeError(
            "DataLoader worker is killed by signal: Bus error. Possibly dataloader's workers are out of shared memory."
        ),
    ],
)
def test_too_little_shared_memory_is_said_with_the_remedy(error: Exception) -> None:
    line = one_line(error)
    assert line is not None
    assert line.startswith("too little shared memory (/dev/shm)")
    assert "--shm-size=1g" in line
