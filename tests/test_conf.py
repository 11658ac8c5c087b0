"""Every file of conf/ composes, and mirrors the constructor it is for."""

import inspect
from pathlib import Path

import pytest
from hydra.utils import get_object, instantiate
from omegaconf import OmegaConf
from torch import nn, optim

from configs import compose_config, train_config
from headposekit.cli.options import check_values
from headposekit.models.network import count_parameters
from headposekit.paths import ROOT
from headposekit.training.protocols import settle_tests

CONF = ROOT / "conf"
GROUPS = sorted(path.relative_to(CONF) for path in CONF.glob("*/*.yaml"))
TRAINING_ONLY = {"augmentation", "split", "val_fraction", "split_seed", "seed", "num_train", "num_val", "renew"}
TEST_ONLY = {"perturb", "euler_order"}
GIVEN_BY_NEIGHBOUR = {"num_inputs", "optimizer", "params", "drop_negative_points"}
NUM_PARAMETERS = {
    "aggregation=capsule scoring=conv": 238_471,
    "aggregation=capsule scoring=variance": 238_406,
    "aggregation=capsule scoring=none": 694_563,
    "aggregation=none scoring=conv": 175_046,
    "aggregation=none scoring=variance": 174_981,
    "aggregation=none scoring=none": 106_339,
    "aggregation=netvlad scoring=conv": 183_562,
    "aggregation=netvlad scoring=variance": 183_497,
    "aggregation=netvlad scoring=none": 114_342,
    "model=ssrnet": 233_619,
    "model=threeddfa": 861_342,  # 850,398 and the running statistics
}


def choice(path: Path) -> list[str]:
    group, name = path.parent.name, path.stem
    if group == "recipe":
        model, data = name.split("_", maxsplit=1) if "_" in name else ("hopenet_regression", "biwi")
        return [f"model={model}", f"data={data}", *([] if "_" in name else ["backbone=vgg16", f"recipe={name}"])]
    if name == "csv":
        return ["data=csv" if group == "data" else "test=[csv]", f"{group}.root=x" if group == "data" else "test.csv.root=x"]
    if group == "backbone":
        return ["model=hopenet", f"backbone={name}", *(["model.backbone.model_name=resnet10t"] if name == "timm" else [])]
    if group == "loss":
        return [f"model={'hopenet' if name == 'multibin' else 'pose'}", f"loss={name}"]
    if group == "head":
        return ["model=pose", f"head={name}"]
    if group == "heads":
        return ["data=synthetic"]
    if group == "budget_data":
        budget, data = name.split("_", maxsplit=1)
        return [f"budget={budget}", f"data={data}"]
    if group == "budget_model":
        budget, model = name.split("_", maxsplit=1)
        return [f"budget={budget}", f"model={model}"]
    if group == "stability":
        return ["test=[]", f"stability={name}"]
    if group in ("smoothing", "states"):
        return [f"{group}={name}", "detector=none"]
    if group == "layout":
        return [f"layout={name}", "root=x"]
    if group == "pack":
        return ["data=aflw2000", f"pack={name}"]
    if group == "family":
        return [f"model={name}", f"family={name}"]
    if group in ("solver", "landmarks"):
        return ["model=landmarks", f"{group}={name}", *(["model.source.path=x"] if name == "file" else [])]
    if name == "threeddfa_file":
        return ["model=threeddfa_file", "model.path=x"]
    if group == "detector":
        return [f"+detector={name}"]
    if group in ("dataset", "loader"):
        return []  # parts of data/ and test/, and seen there
    if group == "perturb":
        return ["test=[aflw2000]", f"perturb@test.aflw2000.perturb={name}"]
    return [f"test=[{name}]" if group == "test" else f"{group}={name}"]


@pytest.mark.parametrize("path", GROUPS, ids=str)
def test_every_file_composes_and_mirrors_its_constructor(path: Path) -> None:
    group = path.parent.name
    programs = {"layout": "prepare", "search": "search", "smoothing": "predict", "states": "predict", "stability": "evaluate"}
    entry = programs.get(group, "train")
    config = compose_config(entry, *choice(path))
    if group == "perturb":  # lists make several test sets
        settle_tests(config)
    check_values(config)  # no default is of another type than its constructor takes
    where = {
        "scoring": "model.scoring",
        "aggregation": "model.aggregation",
        "backbone": "model.backbone",
        "head": "model.head",
        "test": f"test.{path.stem}",
        "heads": "data.heads",
        "solver": "model.solver",
        "landmarks": "model.source",
        "perturb": f"test.{next(iter(config.get('test') or {}), None)}.perturb",
        "pack": "data.pack",
    }.get(group, group)
    if group == "model":
        targets_of_module = set(inspect.signature(get_object(config.module._target_)).parameters)
        assert {key for key in config.module if not key.startswith("_")} == targets_of_module
    whole = (
        "recipe",
        "budget",
        "budget_data",
        "budget_model",
        "family",
        "module",
        "dataset",
        "loader",
    )  # or seen with each model
    node = OmegaConf.select(config, where) if group not in whole else None
    targets = (
        [node] if node is not None and "_target_" in node else list(node.values()) if group in ("logger", "callbacks") else []
    )
    for part in targets:
        name = part["_target_"]
        constructor = get_object(name).__init__
        if constructor not in (nn.Module.__init__, object.__init__) and not constructor.__module__.startswith("headposekit."):
            continue  # other people's constructors have more options than we set
        parameters = inspect.signature(get_object(name)).parameters.values()
        signature = {p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
        keys = {key for key in part if not key.startswith("_")}
        expected = signature - GIVEN_BY_NEIGHBOUR - {"test": TRAINING_ONLY, "data": TEST_ONLY}.get(group, set())
        assert keys == expected, name


@pytest.mark.parametrize("path", [path for path in GROUPS if path.parent.name == "test"], ids=str)
def test_test_sets_carry_their_package(path: Path) -> None:
    assert (CONF / path).read_text().splitlines()[0] == f"# @package test.{path.stem}"


def test_two_test_sets_stand_side_by_side() -> None:
    config = train_config("test=[aflw2000,w300lp]")
    assert set(config.test) == {"aflw2000", "w300lp"}
    assert config.test.w300lp._target_ != config.test.aflw2000._target_


@pytest.mark.parametrize("model", ["fsanet", "ssrnet"])
def test_recipe_of_300w_lp_is_the_papers(model: str) -> None:
    """Checked on optimiser and scheduler themselves, epoch by epoch."""
    config = train_config(f"model={model}", "data=300w_lp")
    module = instantiate(config.module, _convert_="all")
    built = module.configure_optimizers()
    optimizer, scheduler = built["optimizer"], built["lr_scheduler"]["scheduler"]
    assert type(optimizer) is optim.Adam
    (group,) = optimizer.param_groups
    assert group["eps"] == 1e-7
    assert tuple(group["betas"]) == (0.9, 0.999)
    assert group["weight_decay"] == 0
    assert {id(p) for p in group["params"]} == {id(p) for p in module.model.parameters()}
    rates = []
    for _ in range(config.epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert len(rates) == 90
    assert [rates[epoch] for epoch in (0, 29, 30, 59, 60, 89)] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])
    assert config.data.batch_size == {"fsanet": 16, "ssrnet": 8}[model]
    assert (config.data.split, config.data.val_fraction, config.data.max_angle) == ("random", 0.2, 99)
    assert (config.crop.margin, config.crop.size) == (0.6, 64)
    assert [t["_target_"].split(".")[-1] for t in config.augmentation.pipeline] == ["FourWayCrop", "RandomZoom"]


@pytest.mark.parametrize(("options", "expected"), NUM_PARAMETERS.items(), ids=NUM_PARAMETERS)
def test_parameter_count_is_the_published_one(options: str, expected: int) -> None:
    assert count_parameters(instantiate(train_config(*options.split()).model)) == expected


def test_recipe_yields_to_the_command_line() -> None:
    config = train_config("data=300w_lp", "epochs=2", "scheduler=cosine", "data.batch_size=4")
    assert (config.epochs, config.data.batch_size) == (2, 4)
    assert config.scheduler._target_.endswith("CosineAnnealingLR")


def test_same_dataset_is_looked_for_where_training_finds_it() -> None:
    config = train_config("data=aflw2000", "data.root=/there", "test=[aflw2000,w300lp]")
    assert config.test.aflw2000.root == "/there"
    assert config.test.w300lp.root.endswith("300W_LP")
