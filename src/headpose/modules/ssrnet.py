"""Training of SSR-Net-MD."""

from torch import Tensor

from headpose.models.ssrnet import SSRNetMD, SSRNetOutput
from headpose.modules.base import HeadPoseModule


class SSRNetModule(HeadPoseModule):
    """SSR-Net-MD: recipe in `conf/recipe/fsanet_300w_lp.yaml`, with batch 8."""

    architecture = SSRNetMD

    def diagnostics(self, output: SSRNetOutput) -> dict[str, Tensor]:
        """Mean bin weight of each stage: the deeper ones should refine, so theirs should not outgrow the first's."""
        weights = output.stage_probs.mean(dim=(0, 2, 3))
        return {f"stage{number}_probs": weight for number, weight in enumerate(weights, start=1)}
