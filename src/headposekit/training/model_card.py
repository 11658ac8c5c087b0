"""The model card of a training: what its checkpoints are, how good, and what may be done with them, in Markdown."""

from typing import Any

from headposekit.geometry.conventions import ERRORS
from headposekit.training.rules import describe_rules

RESEARCH = "for research only; ask its authors for anything else, also for what may be done with weights trained on it"
LICENCES = {
    "synthetic": "heads drawn by this program; no photograph, and no terms of others",
    "csv": "your own pictures; their terms are known to you",
    "300w_lp": f"300W-LP: {RESEARCH}",
    "aflw2000": f"AFLW2000-3D: {RESEARCH}",
    "biwi": f"BIWI: {RESEARCH}",
    "aflw": f"AFLW: {RESEARCH}",
    "points68": f"300-W, if these are its pictures: {RESEARCH}",
    "panoptic": f"CMU Panoptic: {RESEARCH}",
    "agora": f"AGORA: {RESEARCH}",
    "dad3dheads": f"DAD-3DHeads: CC BY-NC-SA 4.0; {RESEARCH}",
    "pointing04": "Pointing'04: for any purpose, if Gourier et al. (2004) are cited",
}
"""Terms of what a network may have seen, by the name of the data set."""


def describe_training(results: dict[str, Any], card: dict[str, Any]) -> str:
    """The card as Markdown, of a finished training's results.json and the `headposekit` entry of its checkpoints."""
    train, data, model = results["train"], card["training_data"], card["model"]
    backbone = model.get("backbone") or {}
    terms = [LICENCES.get(data["dataset"], f"{data['dataset']}: ask its authors")]
    if backbone.get("pretrained") or backbone.get("checkpoint_path"):
        terms.append("ImageNet, on which the trunk was trained before: for research only")
    if results["config"].get("init_weights") is not None:
        terms.append("whatever the weights had seen that the training began with (`init_weights=`)")
    cells = [
        (test, weights, *(f"{entry[weights][angle]:.2f}" for angle in ERRORS), f"{entry['n']:,}", str(entry["skipped"]))
        for test, entry in results["test"].items()
        for weights in ("last", "best")
        if weights in entry
    ]
    rows = "\n".join(f"| {' | '.join(row)} |" for row in cells)
    rules = data.get("rules") or {"dataset": data["protocol"]}  # an older version wrote a sentence
    best = "" if train.get("best_epoch") is None else f"; `best.ckpt` is of epoch {train['best_epoch'] + 1}"
    side = card["input"]["size"]
    return f"""\
# {_class_name(model)}, head pose from a face crop

Yaw, pitch and roll of a head; {results["params"]:,} parameters, training `{results["train_id"]}`, commit {results["commit"]}. \
`last.ckpt` is of the last of {train["epochs"]} epochs{best} (chosen on held-out training faces, never on a test set).

```python
from headposekit import load
model = load("last.ckpt")
poses = model("picture.jpg")  # one a face: box, yaw, pitch, roll in degrees
```

| | |
|---|---|
| network | {_options(model)} |
| input | {side}×{side} {card["input"]["channels"]}, {card["input"]["range"]} |
| crop of a tight box | {_options(card["crop"])} |
| output | {card["convention"]} |
| trained on | {describe_rules(rules)}: {data["n"]:,} faces |
| terms of what it saw | {"; ".join(terms)} |

Mean absolute errors in degrees:

| test set | weights | yaw | pitch | roll | MAE | geodesic | faces | skipped |
|---|---|---|---|---|---|---|---|---|
{rows}
"""


def _options(config: dict[str, Any]) -> str:
    """A configuration in words: the class, and its options in brackets."""
    options = [
        f"{key} {_options(value) if isinstance(value, dict) else value}"
        for key, value in config.items()
        if not key.startswith("_") and value is not None
    ]
    return f"{_class_name(config)} ({', '.join(options)})" if options else _class_name(config)


def _class_name(config: dict[str, Any]) -> str:
    return str(config.get("_target_", "")).rsplit(".", maxsplit=1)[-1]
