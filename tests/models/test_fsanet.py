import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from headposekit.errors import InputError
from headposekit.models.fsanet import (
    CapsuleAggregation,
    ConvScoring,
    FSANet,
    LinearAggregation,
    NetVLADAggregation,
    NoScoring,
    SeparableBlock,
    StructureMapping,
    TwoStreamBackbone,
    VarianceScoring,
    soft_stagewise_regression,
)
from headposekit.models.ssrnet import SSRNetMD
from headposekit.weights.onnx_files import PictureNetwork

NETWORKS = [
    pytest.param(lambda a=aggregation, s=scoring: FSANet(s(), a), id=f"{aggregation.__name__}-{scoring.__name__}")
    for aggregation in (CapsuleAggregation, LinearAggregation, NetVLADAggregation)
    for scoring in (ConvScoring, VarianceScoring, NoScoring)
]


def random_batch(n: int = 4) -> dict:
    generator = torch.Generator().manual_seed(0)
    return {
        "image": torch.randint(0, 256, (n, 3, 64, 64), dtype=torch.uint8, generator=generator),
        "pose": torch.randn(n, 3, generator=generator) * 30,
    }


@pytest.mark.parametrize("build", [*NETWORKS, pytest.param(SSRNetMD, id="SSRNetMD")])
def test_loss_falls_and_every_parameter_learns(build: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    model, batch = build(), random_batch(8)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    losses = []
    touched = {name: False for name, _ in model.named_parameters()}
    for _ in range(40):
        loss = (model(batch).pose - batch["pose"]).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            touched[name] |= bool(parameter.grad.any())
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])
    assert [name for name, seen in touched.items() if not seen] == []


def test_stages_read_deepest_features_first() -> None:
    shapes = [tuple(relu.shape[1:]) for relu, _ in TwoStreamBackbone()(torch.zeros(1, 3, 64, 64))]
    assert shapes == [(128, 8, 8), (64, 8, 8), (32, 16, 16)]


def test_pooling_before_tanh_is_pooling_after_tanh() -> None:
    x = torch.randn(2, 4, 6, 6)
    torch.testing.assert_close(functional.max_pool2d(x, 2).tanh(), functional.max_pool2d(x.tanh(), 2), rtol=0, atol=0)


def test_batch_normalisation_is_keras() -> None:
    norms = [module for module in FSANet(ConvScoring(), CapsuleAggregation).modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 14
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.01)}


def test_kernels_start_glorot_uniform_and_biases_at_zero() -> None:
    torch.manual_seed(0)
    for model in (FSANet(ConvScoring(), CapsuleAggregation), SSRNetMD()):
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                weight = module.weight
                area = weight[0, 0].numel() if weight.ndim == 4 else 1
                # Keras counts the fans of a depthwise kernel (3, 3, C, 1) as 9 C and 9.
                limit = np.sqrt(6 / (area * (weight.shape[0] + weight.shape[1])))
                assert weight.abs().max() <= limit
                assert weight.abs().max() > 0.6 * limit
                assert module.bias is None or not module.bias.any()


@pytest.mark.parametrize(("num_inputs", "limit"), [(21, 0.0345), (192, 0.0114)])
def test_capsule_weights_start_within_keras_limit(num_inputs: int, limit: float) -> None:
    weight = CapsuleAggregation(num_inputs).weight
    assert weight.abs().max().item() == pytest.approx(limit, rel=0.01)


def test_netvlad_starts_normal() -> None:
    torch.manual_seed(0)
    netvlad = NetVLADAggregation(21)
    assert netvlad.centers.std().item() == pytest.approx(1 / 8, rel=0.2)
    assert netvlad.assign.weight.std().item() == pytest.approx(1 / 8, rel=0.2)
    assert netvlad.project.weight.std().item() == pytest.approx(1 / np.sqrt(3), rel=0.05)
    assert netvlad.assign.bias.any()


@pytest.mark.parametrize("channels", [3, 4], ids=["dense", "separable"])
def test_separable_block_is_its_definition(channels: int) -> None:
    """Depthwise then pointwise, written as loops, whichever way the block computes it."""
    block = SeparableBlock(channels, 5).double().eval()
    x = torch.randn(1, channels, 6, 6, dtype=torch.float64)
    depthwise, pointwise, norm = block.depthwise, block.pointwise, block.norm
    padded = functional.pad(x, (1, 1, 1, 1))
    expected = torch.zeros(1, 5, 6, 6, dtype=torch.float64)
    for o in range(5):
        for i in range(6):
            for j in range(6):
                taps = [(padded[0, c, i : i + 3, j : j + 3] * depthwise.weight[c, 0]).sum() for c in range(channels)]
                expected[0, o, i, j] = sum(t * pointwise.weight[o, c, 0, 0] for c, t in enumerate(taps)) + pointwise.bias[o]
    torch.testing.assert_close(block(x), expected / np.sqrt(1 + norm.eps))


def test_variance_scoring_divides_by_the_number_of_channels() -> None:
    features = torch.arange(64.0).expand(1, 1, 1, 64)
    assert VarianceScoring()(features).item() == pytest.approx((64**2 - 1) / 12)


def test_structure_mapping_is_its_definition() -> None:
    """S_k = C M_k built and normalised row by row."""
    torch.manual_seed(0)
    mapping = StructureMapping().double()
    u, scores = torch.randn(2, 3, 64, 64, dtype=torch.float64), torch.rand(2, 3, 64, dtype=torch.float64)
    capsules, structure = mapping(u, scores)
    for b in range(2):
        combine = torch.sigmoid(mapping.combine.weight @ scores[b].flatten() + mapping.combine.bias).view(7, 5)
        for k in range(3):
            rows = torch.sigmoid(mapping.row_map.weight @ scores[b, k] + mapping.row_map.bias).view(5, 192)
            torch.testing.assert_close(structure[b, k], rows)
            s_k = combine @ rows
            for q in range(7):
                weights = s_k[q] / s_k[q].sum()
                assert weights.sum().item() == pytest.approx(1)
                torch.testing.assert_close(capsules[b, 7 * k + q], weights @ u[b].reshape(192, 64))


@pytest.mark.parametrize("iterations", [1, 2, 3])
def test_routing_is_its_definition(iterations: int) -> None:
    """Routing by agreement, one capsule after the other."""
    torch.manual_seed(0)
    n = 6
    caps = CapsuleAggregation(n, routing_iterations=iterations).double()
    x = torch.randn(2, n, 64, dtype=torch.float64) * 20
    weight = caps.weight.view(n, 64, 3, 16)
    for b in range(2):
        u_hat = [[weight[i, :, j].T @ x[b, i] for i in range(n)] for j in range(3)]
        logits = torch.zeros(3, n, dtype=torch.float64)
        for iteration in range(iterations):
            coupling = torch.stack([torch.softmax(logits[:, i], dim=0) for i in range(n)], dim=1)
            assert torch.allclose(coupling.sum(dim=0), torch.ones(n, dtype=torch.float64))
            s = [sum(coupling[j, i] * u_hat[j][i] for i in range(n)) for j in range(3)]
            v = [CapsuleAggregation.squash(s_j) for s_j in s]
            if iteration < iterations - 1:
                logits = logits + torch.stack([torch.stack([v[j] @ u_hat[j][i] for i in range(n)]) for j in range(3)])
        torch.testing.assert_close(caps(x)[b], torch.stack(v))


def test_squash_by_hand() -> None:
    torch.testing.assert_close(CapsuleAggregation.squash(torch.tensor([3.0, 4.0])), torch.tensor([0.6, 0.8]) * 25 / 26)
    assert torch.isfinite(CapsuleAggregation.squash(torch.zeros(2))).all()


def test_netvlad_is_its_definition() -> None:
    torch.manual_seed(0)
    vlad = NetVLADAggregation(4).double()
    x = torch.randn(1, 4, 64, dtype=torch.float64)
    assignment = torch.stack([torch.softmax(vlad.assign.weight @ p + vlad.assign.bias, 0) for p in x[0]])
    assert torch.allclose(assignment.sum(dim=1), torch.ones(4, dtype=torch.float64))
    columns = [sum(assignment[i, k] * (x[0, i] - vlad.centers[:, k]) for i in range(4)) for k in range(3)]
    # The published code subtracts sum_i a_i times the centre, which is the sum of residuals.
    matrix = torch.stack([column / column.norm() for column in columns], dim=1)
    flat = matrix.flatten() / matrix.norm()
    torch.testing.assert_close(vlad(x)[0], (vlad.project.weight @ flat).view(3, 16))


def test_linear_aggregation_is_two_matrices() -> None:
    linear = LinearAggregation(21)
    x = torch.randn(2, 21, 64)
    expected = torch.stack([linear.inputs.weight @ (p @ linear.features.weight.T) for p in x])
    torch.testing.assert_close(linear(x), expected)


def test_regression_by_hand() -> None:
    """One-hot bins without shift or scale: 99 (1/3 + 1/9 + 1/27); half a bin of shift; a doubled bin width."""
    probs = torch.zeros(1, 3, 3, 3)
    probs[..., 2] = 1
    zero = torch.zeros(1, 3, 3)
    assert soft_stagewise_regression(probs, zero, zero).tolist()[0] == pytest.approx([99 * 13 / 27] * 3)
    shift = zero.clone()
    shift[0, 0, 1] = 0.5
    assert soft_stagewise_regression(probs, shift, zero)[0, 1].item() == pytest.approx(99 * (13 / 27 + 0.5 / 3))
    scale = zero.clone()
    scale[0, 0, 2] = 1.0  # the first divisor becomes 6, and the later ones 18 and 54
    assert soft_stagewise_regression(probs, zero, scale)[0, 2].item() == pytest.approx(99 * 13 / 54)


def test_input_is_bgr_inside_and_rgb_outside() -> None:
    model = FSANet(ConvScoring(), CapsuleAggregation)
    image = random_batch()["image"]
    torch.testing.assert_close(model.preprocess(image), image.flip(1).float())


def test_model_is_compiled_whole_and_exports() -> None:
    """No graph break, and one exported program for any batch size."""
    model = FSANet(VarianceScoring(), partial(CapsuleAggregation, routing_iterations=2)).eval()
    batch = {"image": random_batch(4)["image"]}
    with torch.no_grad():
        pose = model(batch).pose
        compiled = torch.compile(copy.deepcopy(model), backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(batch).pose, pose)
        pictures = batch["image"].permute(0, 2, 3, 1).contiguous()
        dynamic = ({0: torch.export.Dim("B", min=2, max=64)},)
        program = torch.export.export(PictureNetwork(model), (pictures,), dynamic_shapes=dynamic).module()
        for n in (3, 4):
            torch.testing.assert_close(program(pictures[:n])[0], model({"image": batch["image"][:n]}).pose)


@pytest.mark.parametrize("rounds", [0, 101, 10**9, 2.0])
def test_number_of_routing_rounds(rounds: Any) -> None:
    with pytest.raises(InputError, match=r"routing_iterations=.* is not a number of rounds; give 1 to 100"):
        CapsuleAggregation(4, routing_iterations=rounds)
