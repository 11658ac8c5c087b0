"""Training of FSA-Net."""

from torch import Tensor

from headposekit.models.fsanet import FSANet, FSANetOutput
from headposekit.training.module import HeadPoseModule


class FSANetModule(HeadPoseModule):
    """FSA-Net: recipe of section 4 of the paper in `conf/recipe/fsanet_300w_lp.yaml`."""

    architecture = FSANet

    def diagnostics(self, output: FSANetOutput) -> dict[str, Tensor]:
        """Mean |delta| and |eta| (near 1 the tanh is saturated and learns no more), mean bin weight (0 is a dead stage)."""
        return {
            "scale": output.scale.abs().mean(),
            "shift": output.shift.abs().mean(),
            "stage_probs": output.stage_probs.mean(),
        }
