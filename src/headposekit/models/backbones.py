"""Trunks of Hopenet: pictures to one vector of features, ImageNet weights or none."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from headposekit.errors import InputError, refusing

OFFLINE = "give model.backbone.checkpoint_path=FILE, or model.backbone.pretrained=false to start from random weights"


class TimmBackbone(nn.Module):
    """Any network of timm without its classifier.

    Args:
        model_name: as timm spells it, with the training run after a dot where that matters (resnet50.tv_in1k).
        pretrained: start from its ImageNet weights, fetched from the model hub.
        checkpoint_path: or from a local file of them (.safetensors, or .pth of tensors); its classifier is not used.
        channels: of a ResNet, the widths of its four stages instead of its own; such a one has no ImageNet weights.

    Attributes:
        num_features: length of the vector.
        stem: names of the parameters before the first block, which Hopenet's code keeps frozen.

    Raises:
        InputError: unknown name, weights that cannot be fetched or do not fit.
    """

    files = ("checkpoint_path",)
    neutral: ClassVar[dict[str, Any]] = {"channels": None}

    def __init__(
        self,
        model_name: str,
        pretrained: bool = False,
        checkpoint_path: str | Path | None = None,
        channels: Sequence[int] | None = None,
    ) -> None:
        import timm  # takes a second or two, which only its networks should cost

        super().__init__()
        widths: dict[str, Any] = {} if channels is None else {"channels": tuple(channels)}
        known = timm.list_models() + timm.list_pretrained()
        if model_name not in known:  # nor any hub address: a checkpoint's card must not make us fetch things
            near = difflib.get_close_matches(model_name, known, n=3, cutoff=0) or known[:3]
            raise InputError(f"backbone {model_name} is unknown to timm; nearest: {', '.join(near)}")
        if widths and (pretrained or checkpoint_path is not None or len(widths["channels"]) != 4):
            raise InputError("model.backbone.channels= takes four widths, and no ImageNet weights; leave one of them out")
        with refusing(f"backbone {model_name}", "it or its ImageNet weights cannot be fetched", OFFLINE):
            try:
                trunk: Any = timm.create_model(model_name, pretrained and checkpoint_path is None, num_classes=0, **widths)
            except TypeError as error:
                raise InputError(f"model.backbone.channels= is for ResNets, not for {model_name}; leave it out") from error
        if not pretrained:
            for layer in trunk.modules():  # timm starts the last one of a residual block at 0, the published code all at 1
                if isinstance(layer, nn.BatchNorm2d):
                    nn.init.ones_(layer.weight)
        if checkpoint_path is not None:
            _fill(trunk, Path(checkpoint_path))
        self.trunk = trunk
        first_conv = trunk.pretrained_cfg.get("first_conv") or ""
        self.stem = tuple(
            name for name, _ in trunk.named_parameters() if name.startswith((f"{first_conv}.", "bn1.", "norm1.", "stem."))
        )

    @property
    def num_features(self) -> int:
        """Length of the vector."""
        return int(self.trunk.head_hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) normalised as for ImageNet to (B, num_features)."""
        features: Tensor = self.trunk(x)
        return features


class AlexNetBackbone(nn.Module):
    """torchvision's AlexNet without its last layer, as in Hopenet's AlexNet rows.

    Args:
        pretrained, checkpoint_path: see `TimmBackbone`.
    """

    files = ("checkpoint_path",)
    num_features = 4096
    stem = ("features.0.weight", "features.0.bias")

    def __init__(self, pretrained: bool = False, checkpoint_path: str | Path | None = None) -> None:
        import torchvision  # takes as long as torch itself

        super().__init__()
        network = torchvision.models.alexnet()
        self.features, self.avgpool, self.classifier = network.features, network.avgpool, network.classifier[:-1]
        if checkpoint_path is not None:
            _fill(self, Path(checkpoint_path))
        elif pretrained:
            weights = torchvision.models.AlexNet_Weights.IMAGENET1K_V1
            with refusing("backbone AlexNet", "its ImageNet weights cannot be fetched", OFFLINE):
                state = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
            self.load_state_dict({key: value for key, value in state.items() if key in self.state_dict()})

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) normalised as for ImageNet to (B, 4096); S of at least 63."""
        features: Tensor = self.classifier(self.avgpool(self.features(x)).flatten(1))
        return features


def _fill(network: nn.Module, path: Path) -> None:
    """Load a file of ImageNet weights; what is left over may only be the classifier's."""
    import timm

    if not path.is_file():
        raise InputError(f"model.backbone.checkpoint_path={path}: no such file; check the path")
    with refusing(path, "not a readable file of weights", "fetch it again"), torch.no_grad():
        try:
            odd = timm.models.load_checkpoint(network, str(path), strict=False, weights_only=True)
        except RuntimeError as error:
            if "size mismatch" not in str(error):
                raise
            raise InputError("weights of another network than model.backbone; choose its own file") from error
    last = {key.split(".")[0] for key in odd.unexpected_keys}
    if odd.missing_keys or len(last) > 1:
        wrong = (odd.missing_keys or odd.unexpected_keys)[0]
        raise InputError(f"{path}: weights of another network than model.backbone ({wrong} does not fit); choose its own file")
