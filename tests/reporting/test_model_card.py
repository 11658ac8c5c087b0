from headpose.reporting.model_card import describe_training

ERRORS = {"yaw": 4.0, "pitch": 6.5, "roll": 5.25, "mae": 5.25, "geodesic": 8.0}
RESULTS = {
    "train_id": "05725c53b3d7",
    "params": 238471,
    "commit": "83ae66d",
    "config": {"init_weights": None},
    "train": {"epochs": 10, "best_epoch": 8},
    "test": {"synthetic": {"n": 1024, "skipped": 3, "last": ERRORS, "best": {**ERRORS, "mae": 5.1}}},
}
CARD = {
    "model": {"_target_": "headpose.models.fsanet.FSANet", "scoring": {"_target_": "headpose.models.fsanet.ConvScoring"}},
    "crop": {"_target_": "headpose.geometry.crops.FSANetCrop", "size": 64, "margin": 0.6},
    "input": {"size": 64, "channels": "BGR", "range": "0..255, normalised inside"},
    "convention": "yaw, pitch, roll in degrees",
    "training_data": {"dataset": "synthetic", "rules": {"dataset": "synthetic heads", "people": "of training"}, "n": 7680},
}


def test_everything_one_needs_to_know() -> None:
    page = describe_training(RESULTS, CARD)
    for line in (
        "| network | FSANet (scoring ConvScoring) |",
        "| input | 64×64 BGR, 0..255, normalised inside |",
        "| crop of a tight box | FSANetCrop (size 64, margin 0.6) |",
        "| trained on | synthetic heads, people of training: 7,680 faces |",
        "| synthetic | last | 4.00 | 6.50 | 5.25 | 5.25 | 8.00 | 1,024 | 3 |",
        "| synthetic | best | 4.00 | 6.50 | 5.25 | 5.10 | 8.00 | 1,024 | 3 |",
        "| terms of what it saw | heads drawn by this program; no photograph, and no terms of others |",
    ):
        assert line in page.splitlines()
    assert "`best.ckpt` is of epoch 9" in page


def test_terms_add_up() -> None:
    trunk = {"_target_": "headpose.models.backbones.TimmBackbone", "model_name": "resnet50", "pretrained": True}
    card = {
        **CARD,
        "model": {"_target_": "headpose.models.hopenet.Hopenet", "backbone": trunk},
        "training_data": {**CARD["training_data"], "dataset": "300w_lp"},  # type: ignore[dict-item]
    }
    page = describe_training({**RESULTS, "config": {"init_weights": "0123"}, "train": {"epochs": 1, "best_epoch": None}}, card)
    (terms,) = [line for line in page.splitlines() if line.startswith("| terms")]
    assert "300W-LP: for research only" in terms
    assert "ImageNet" in terms
    assert "init_weights=" in terms
    assert "best.ckpt" not in page
