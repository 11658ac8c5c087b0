from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from headpose.running.entry import ROOT, register_resolvers
from headpose.running.identity import differences, id_of_test, train_id


def config(*overrides: str):
    register_resolvers()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose(
            "train", ["data=300w_lp", *overrides] if not any(o.startswith("data=") for o in overrides) else list(overrides)
        )


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
    assert train_id(config(override)) == train_id(config())


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
        "augmentation.pipeline.transforms.0.max_shift=5",
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
    ],
)
def test_what_counts(override: str) -> None:
    assert train_id(config(override)) != train_id(config())


def test_initial_weights_count_by_content(tmp_path: Path) -> None:
    for name, text in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / name).write_text(text)
    ids = [train_id(config(f"init_weights={tmp_path / name}")) for name in "abc"]
    assert ids[0] == ids[1] != ids[2]
    assert train_id(config()) not in ids


def test_id_is_twelve_hex_digits() -> None:
    assert len(train_id(config())) == 12
    int(train_id(config()), 16)


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
    monkeypatch.setattr("headpose.synthesis.sampler.GENERATOR_VERSION", 10**6)
    assert [a == b for a, b in zip(before, ids(), strict=True)] == [False] * 4 + [True] * 2


def test_boxes_count_by_content(tmp_path: Path) -> None:
    for name, text in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / name).write_text(text)
    ids = [train_id(config("data=biwi", f"data.boxes={tmp_path / name}")) for name in "abc"]
    assert ids[0] == ids[1] != ids[2]
    ids = [id_of_test(config("test=[biwi]", f"test.biwi.boxes={tmp_path / name}"), "biwi") for name in "abc"]
    assert ids[0] == ids[1] != ids[2]


def test_lists_of_faces_count_by_content(tmp_path: Path) -> None:
    for name, text in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / name).write_text(text)
    ids = [train_id(config("data=aflw", f"data.faces={tmp_path / name}")) for name in "abc"]
    assert ids[0] == ids[1] != ids[2]
    ids = [id_of_test(config("test=[aflw]", f"test.aflw.faces={tmp_path / name}"), "aflw") for name in "abc"]
    assert ids[0] == ids[1] != ids[2]
