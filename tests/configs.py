"""Networks as checkpoints describe them, for tests that write some."""

from typing import Any

FSANET: dict[str, Any] = {
    "_target_": "headpose.models.fsanet.FSANet",
    "scoring": {"_target_": "headpose.models.fsanet.ConvScoring"},
    "aggregation": {"_target_": "headpose.models.fsanet.CapsuleAggregation", "_partial_": True, "routing_iterations": 2},
}
HOPENET: dict[str, Any] = {
    "_target_": "headpose.models.hopenet.Hopenet",
    "backbone": {"_target_": "headpose.models.backbones.TimmBackbone", "model_name": "resnet10t"},
    "bins": {"_target_": "headpose.geometry.bins.AngleBins", "limit": 99, "width": 3, "decoding": "left"},
    "input_size": 64,
}
