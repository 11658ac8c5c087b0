"""Options of another type than is taken, in one line."""

import pytest

from configs import compose_config
from headposekit.cli.options import check_values
from headposekit.errors import InputError

PREDICT = ("input=x",)
LAYOUT = ("layout=pictures", "root=x")


@pytest.mark.parametrize("program", ["evaluate", "predict", "export", "report", "dashboard", "benchmark", "demo"])
def test_no_default_of_a_program_is_refused(program: str) -> None:
    check_values(compose_config(program))


@pytest.mark.parametrize(
    ("program", "options", "message"),
    [
        ("train", ["data.val_fraction=abc"], "data.val_fraction=abc is not a number"),
        ("train", ["data.num_train=1e9"], "data.num_train=1000000000.0 is not a whole number or null from 1 to"),
        ("train", ["data.num_train=0"], "data.num_train=0 is not a whole number or null from 1 to"),
        ("train", ["data.max_angle=[1]"], "data.max_angle=[1] is not a number or null"),
        ("train", ["data.heads.hair=5"], "data.heads.hair=5 is not true or false"),
        ("train", ["data.heads.perspective=[1,2,3]"], "data.heads.perspective=[1, 2, 3] is not [a number, a number] or null"),
        ("train", ["data.side=left"], "data.side=left is unknown; choose train, test"),
        ("train", ["data.root=5"], "data.root=5 is not a path; as text it is written 'data.root=\"5\"'"),
        ("train", ["optimizer.lr=nan"], "optimizer.lr=nan is not a number"),
        ("train", ["optimizer.lr=fast"], "optimizer.lr=fast is not a number"),
        ("train", ["crop.size=64.0"], "crop.size=64.0 is not a whole number; write 64"),
        ("train", ["crop.margin={a: 1}"], "crop.margin={'a': 1} is not a number"),
        ("train", ["model.scoring=5"], "model.scoring=5 is not"),
        ("train", ["+crop.margins=1"], "no such option: crop.margins; choose from size"),
        ("train", ["trainer.max_epochs=many"], "trainer.max_epochs=many is not a whole number or null"),
        ("train", ["pool.patience=abc"], "pool.patience=abc is not a number from 0.001"),
        ("train", ["epochs=true"], "epochs=true is not a whole number from 1 to 1000000"),
        ("train", ["resume=5"], "resume=5 is not a text or null"),
        ("evaluate", ["checkpoint=5"], "checkpoint=5 is not a text or a list of a text"),
        ("evaluate", ["checkpoint=[null]"], "checkpoint=[None] is not"),
        ("evaluate", ["weights=[[]]"], "weights=[[]] is not"),
        ("predict", ["input=[]"], "input=[] is empty; name at least one"),
        ("predict", [*PREDICT, "field_of_view=abc"], "field_of_view=abc is not a number or null from 0 to 360"),
        ("predict", [*PREDICT, "box_lag=abc"], "box_lag=abc is not a number from 0"),
        ("predict", [*PREDICT, "recursive=maybe"], "recursive=maybe is not true or false"),
        ("predict", [*PREDICT, "tracker.min_overlap=abc"], "tracker.min_overlap=abc is not a number"),
        ("demo", ["host=256"], "host=256 is not a text"),
        ("prepare", [*LAYOUT, "num_workers=-1"], "num_workers=-1 is not a whole number or null from 0 to"),
        ("prepare", [*LAYOUT, "layout.size=wide"], "layout.size=wide is not a whole number"),
        ("benchmark", ["stages=[]"], "stages=[] is empty"),
        ("benchmark", ["scaling=[0]"], "scaling=[0] is not a list of a whole number from 1 to"),
        ("benchmark", ["num_steps=0"], "num_steps=0 is not a whole number from 1 to"),
        ("benchmark", ["num_blocks=0"], "num_blocks=0 is not a whole number from 1 to"),
        ("dashboard", ["wandb.upload=maybe"], "wandb.upload=maybe is not true or false"),
        ("search", ["search.num_trials=0"], "search.num_trials=0 is not a whole number from 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_value_of_another_type_is_refused_with_what_is_taken(program: str, options: list[str], message: str) -> None:
    with pytest.raises(InputError) as refused:
        check_values(compose_config(program, *options))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("program", "option", "key"),
    [
        ("train", "+foo=1", "foo"),
        ("train", "++foo.bar=1", "foo.bar"),
        ("train", "+pool.foo=1", "pool.foo"),
        ("train", "+callbacks.mine=1", "callbacks.mine"),
        ("predict", "+foo=1", "foo"),
        ("search", "+search.foo=1", "search.foo"),
    ],
)
def test_added_option_that_nothing_reads(refused, program: str, option: str, key: str) -> None:
    needed = ["input=x"] if program == "predict" else []
    assert refused(program, *needed, option) == f"error: no such option: {key}; see docs/config.md, or leave it out"
