import functools
from pathlib import Path

import pytest
from omegaconf import DictConfig

from configs import train_config
from headposekit.cli.options import check_values
from headposekit.errors import InputError
from headposekit.training.identity import absent_files, differences, id_of_test, train_id
from headposekit.training.protocols import settle_tests


def config(*overrides: str) -> DictConfig:
    """A training on 300W-LP, where no other data set is given."""
    given = any(override.startswith("data=") for override in overrides)
    return train_config(*overrides) if given else train_config("data=300w_lp", *overrides)


@functools.cache
def default_id() -> str:
    return train_id(config())


@pytest.fixture
def alike(tmp_path: Path) -> list[Path]:
    """Three files, of which the first two hold the same."""
    for name, text in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / name).write_text(text)
    return [tmp_path / name for name in "abc"]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (("data=300w_lp",), "0a9b77aa87bb"),
        (("model=hopenet", "data=300w_lp"), "2077c30766af"),
        (("model=hopenet_regression", "data=biwi"), "d80b8e34b417"),
        (("model=ssrnet", "data=aflw"), "6c44fa509fee"),
        (("model=landmarks",), "f4aa8ad8ec91"),
    ],
    ids=str,
)
def test_ids_stay_what_they_are(overrides: tuple[str, ...], expected: str) -> None:
    """What is finished in somebody's pool stays finished, however the code is named."""
    assert train_id(train_config(*overrides)) == expected


@pytest.mark.parametrize(
    "override",
    [
        "data.root=/elsewhere",
        "data.num_workers=4",
        "test=[]",
        "trainer=cpu",
        "trainer=ddp",
        "logger=tensorboard",
        "callbacks.progress.leave=true",
        "data.num_test=3",
    ],
)
def test_what_does_not_count(override: str) -> None:
    assert train_id(config(override)) == default_id()


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "epochs=5",
        "scoring=variance",
        "model.aggregation.routing_iterations=3",
        "model=ssrnet",
        "crop.margin=0.5",
        "augmentation=none",
        "augmentation.pipeline.0.max_shift=5",
        "optimizer.lr=0.01",
        "optimizer=adamw",
        "scheduler=cosine",
        "data=aflw2000",
        "data.batch_size=32",
        "data.split=photo",
        "data.num_train=100",
        "data.max_angle=60",
        "trainer.precision=bf16-mixed",
        "trainer.accumulate_grad_batches=2",
        "trainer.max_epochs=3",
        "trainer.gradient_clip_val=0.1",
        "+trainer.limit_train_batches=2",
        "data.seed=5",
        "data.augmentation=null",
        "pack=loose",
    ],
)
def test_what_counts(override: str) -> None:
    assert train_id(config(override)) != default_id()


def test_what_counts_of_packs() -> None:
    plain = config("test=[aflw2000]")
    fixed, loose, larger = (
        config("test=[aflw2000]", f"pack@test.aflw2000.pack={pack}", *more)
        for pack, more in (("fixed", []), ("loose", []), ("loose", ["test.aflw2000.pack.size=100"]))
    )
    ids = [id_of_test(each, "aflw2000") for each in (plain, fixed, loose, larger)]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3
    assert len({train_id(each) for each in (plain, fixed, loose, larger)}) == 1
    places = [train_id(config(f"pack={pack}", f"data.pack.root=/{place}")) for pack in ("fixed", "loose") for place in "ab"]
    assert places[0] == places[1] == default_id()
    assert places[2] == places[3] == train_id(config("pack=loose"))
    assert train_id(config("pack=loose", "data.pack.margin=1")) != places[2]


def test_initial_weights_count_by_content(alike: list[Path]) -> None:
    ids = [train_id(config(f"init_weights={path}")) for path in alike]
    assert ids[0] == ids[1] != ids[2]
    assert default_id() not in ids


@pytest.mark.parametrize(("dataset", "option"), [("biwi", "boxes"), ("aflw", "faces")])
def test_lists_beside_a_dataset_count_by_content(alike: list[Path], dataset: str, option: str) -> None:
    ids = [train_id(config(f"data={dataset}", f"data.{option}={path}")) for path in alike]
    assert ids[0] == ids[1] != ids[2]
    ids = [id_of_test(config(f"test=[{dataset}]", f"test.{dataset}.{option}={path}"), dataset) for path in alike]
    assert ids[0] == ids[1] != ids[2]


def test_differences_name_the_key() -> None:
    assert differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}) == ["a.c: 2 here, 3 there"]
    assert differences({"a": 1}, {"a": 1}) == []


def test_other_heads_make_another_training_and_another_test(monkeypatch: pytest.MonkeyPatch) -> None:
    def ids() -> list[str]:
        drawn, smoke = config("data=synthetic"), config("data=300w_lp", "test=[aflw2000]", "budget=smoke")
        real = config("data=300w_lp", "test=[aflw2000]")
        return [train_id(drawn), id_of_test(drawn, "synthetic"), train_id(smoke), id_of_test(smoke, "aflw2000"),
                train_id(real), id_of_test(real, "aflw2000")]  # fmt: skip

    before = ids()
    monkeypatch.setattr("headposekit.synthesis.sampler.GENERATOR_VERSION", 10**6)
    assert [a == b for a, b in zip(before, ids(), strict=True)] == [False] * 4 + [True] * 2


def test_what_a_perturbation_leaves_alone_does_not_count() -> None:
    def id_of(*overrides: str) -> str:
        return id_of_test(config("test=[aflw2000]", *overrides), "aflw2000")

    key = "test.aflw2000.perturb"
    plain = id_of()
    assert plain == id_of("seed=1") == id_of(f"{key}.seed=5") == id_of(f"{key}=null") == id_of(f"{key}.jitter=0")
    shaken = id_of(f"{key}.jitter=0.1")
    assert shaken == id_of(f"{key}.jitter=0.1", "seed=1")  # repetitions of a training are told apart by their train_id
    others = [
        id_of(f"{key}.{option}") for option in ("jitter=0.2", "jitter_pixels=1", "shift=0.1", "padding=0.1", "low_resolution=5")
    ]
    others.append(id_of(f"{key}.jitter=0.1", f"{key}.seed=5"))
    assert len({plain, shaken, *others}) == 8


def test_ids_of_tests_are_those_of_before_there_were_perturbations() -> None:
    """What is finished in somebody's pool stays finished."""
    settled = config("protocol=fsanet1")
    settle_tests(settled)
    assert id_of_test(settled, "aflw2000") == "ef1632f12deb"


def test_lists_make_a_test_set_of_each_value() -> None:
    settled = config(
        "test=[aflw2000]", "test.aflw2000.perturb.jitter=[0,0.02]", "test.aflw2000.perturb.seed=[0,3]",
        "test.aflw2000.perturb.shift=${.jitter}",
    )  # fmt: skip
    settle_tests(settled)
    found = {name: (t.perturb.jitter, t.perturb.shift, t.perturb.seed) for name, t in settled.test.items()}
    assert found == {
        "aflw2000_jitter0_seed0": (0, 0, 0),
        "aflw2000_jitter0_seed3": (0, 0, 3),
        "aflw2000_jitter0.02_seed0": (0.02, 0.02, 0),
        "aflw2000_jitter0.02_seed3": (0.02, 0.02, 3),
    }
    for wrong in ("[0,x]", "[]", "[1,1.0]"):
        with pytest.raises(InputError, match=r"test\.aflw2000\.perturb\.jitter"):
            settle_tests(config("test=[aflw2000]", f"test.aflw2000.perturb.jitter={wrong}"))


def test_a_model_that_learns_nothing_is_its_configuration_and_its_seed(tmp_path: Path) -> None:
    def id_of(*overrides: str) -> str:
        return train_id(config("model=landmarks", *overrides))

    plain = id_of()
    same = ("data=aflw2000", "epochs=7", "crop.size=32", "protocol=hopenet_300w_lp", "data.root=/elsewhere")
    assert {id_of(option) for option in same} == {plain}
    others = [
        id_of(o)
        for o in (
            "seed=1",
            "model.points=14",
            "solver=perspective",
            "model.width=1.2",
            "landmarks=fan",
            "model.use_behind=true",
        )
    ]
    assert len({plain, *others}) == 7
    for name, text in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "face.pts").write_text(text)
        (tmp_path / f"{name}.csv").write_text(text)
    for suffix in ("", ".csv"):  # by content, be it a folder or a file
        ids = [id_of("landmarks=file", f"model.source.path={tmp_path / name}{suffix}") for name in "abc"]
        assert ids[0] == ids[1] != ids[2]


def test_a_recipe_that_is_not_there_is_said() -> None:
    with pytest.raises(InputError, match="choose recipe=, see conf/recipe/"):
        train_id(config("recipe=nothing"))


@pytest.mark.parametrize("declares", [True, False])
def test_a_file_that_a_reader_of_ones_own_takes_counts_by_content(
    alike: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, declares: bool
) -> None:
    name = f"listed_{declares}".lower()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / f"{name}.py").write_text(f"""
from headposekit.data.datamodule import FolderDataModule
from headposekit.data.dataset import FolderDataset

class Listed(FolderDataset):
    title, layout, files = "Listed", "NAME.png", {("my_list",) if declares else ()}

    def __init__(self, root, max_angle=99.0, bad_files="raise", my_list=None, word="a", frame="camera", field_of_view=None):
        super().__init__(root, max_angle, bad_files)

class ListedDataModule(FolderDataModule):
    dataset_name, reader = "listed", Listed
""")
    monkeypatch.setenv("HEADPOSEKIT_EXTENSIONS", str(tmp_path / "mine"))
    monkeypatch.syspath_prepend(tmp_path / "mine")

    def ids(path: object, *more: str) -> list[str]:
        target = f"{name}.ListedDataModule"
        listed = config("data=csv", "data.root=/pictures", f"data._target_={target}", f"+data.my_list={path}", *more,
                        "recipe=fsanet_csv", "test=[csv]", "test.csv.root=x", f"test.csv._target_={target}",
                        f"+test.csv.my_list={path}")  # fmt: skip
        check_values(listed)
        absent = [str(path)] if declares and not Path(str(path)).exists() else []
        assert absent_files(listed.data) == absent_files(listed.test.csv) == absent
        return [train_id(listed), id_of_test(listed, "csv")]

    a, b, c = map(ids, alike)
    assert a == b
    assert not set(a) & set(c)
    alike[0].write_text("3")
    assert not set(ids(alike[0])) & {*a, *c}
    assert ids(alike[1], "data.root=/elsewhere") == b
    alike[2].unlink()
    assert not set(ids(alike[2])) & {*a, *b, *c}


def test_a_word_counts_as_itself_though_a_file_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = train_id(config("data.split=random"))
    (tmp_path / "random").write_text("x")
    assert train_id(config("data.split=random")) == before
