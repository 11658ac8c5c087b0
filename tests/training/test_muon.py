import copy

import pytest
import torch
from timm.optim.muon import zeropower_via_newtonschulz
from torch import nn

from headposekit.models.fsanet import CapsuleAggregation, ConvScoring, FSANet
from headposekit.training.muon import NEWTON_SCHULZ, Muon, is_matrix, orthogonalise, orthogonalise_all


@pytest.mark.parametrize("shape", [(40, 24), (24, 40), (3, 16, 20)])
def test_orthogonalised_matrices_keep_their_singular_vectors(shape: tuple[int, ...]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    inner = u.mT @ orthogonalise(matrices) @ v.mT
    values = inner.diagonal(dim1=-2, dim2=-1)
    assert values.min() > 0.6
    assert values.max() < 1.3
    torch.testing.assert_close(inner, torch.diag_embed(values), atol=1e-6, rtol=0)


def test_it_is_timms_iteration() -> None:
    matrix = torch.randn(32, 48, generator=torch.Generator().manual_seed(1))
    theirs = zeropower_via_newtonschulz(matrix, 5, [NEWTON_SCHULZ], dtype=torch.float32)
    torch.testing.assert_close(orthogonalise(matrix), theirs, atol=1e-5, rtol=1e-4)


def test_padding_changes_nothing() -> None:
    generator = torch.Generator().manual_seed(2)
    sides = [(16, 3), (32, 16), (64, 32), (32, 64), (64, 64), (3, 64, 48), (128, 64), (960, 64), (35, 192), (300, 256)]
    matrices = [torch.randn(shape, generator=generator) for shape in sides]
    steps = orthogonalise_all(matrices, padded=True)
    for matrix, step, plain in zip(matrices, steps, orthogonalise_all(matrices, padded=False), strict=True):
        torch.testing.assert_close(step, plain, atol=1e-5, rtol=0)
        torch.testing.assert_close(step, orthogonalise(matrix), atol=1e-5, rtol=0)


def test_what_counts_as_a_matrix() -> None:
    model = FSANet(ConvScoring(), CapsuleAggregation)
    chosen = {name for name, parameter in model.named_parameters() if is_matrix(parameter)}
    assert "aggregation.weight" in chosen
    assert "mapping.row_map.weight" in chosen
    assert "backbone.relu_stream.1.0.pointwise.weight" in chosen
    assert "backbone.relu_stream.0.0.pointwise.weight" in chosen  # 16 × 3; without it the error is .4 higher
    assert not [name for name in chosen if "depthwise" in name or "norm" in name or name.endswith("bias")]
    assert not [name for name in chosen if name.startswith("heads")]
    assert is_matrix(torch.empty(64, 32, 3, 3))


def test_a_step_of_each_kind_by_hand() -> None:
    torch.manual_seed(0)
    layer, reference = nn.Linear(16, 32), nn.Linear(16, 32)
    reference.load_state_dict(layer.state_dict())
    optimizer = Muon(layer.parameters(), lr=0.1, adamw_lr=0.01, momentum=0.9, weight_decay=0.5)
    adamw = torch.optim.AdamW([reference.bias], lr=0.01, weight_decay=0.5)
    mean = torch.zeros_like(layer.weight)
    expected = layer.weight.detach().clone()
    for seed in range(3):
        gradient = torch.randn(32, 16, generator=torch.Generator().manual_seed(seed))
        layer.weight.grad, layer.bias.grad = gradient.clone(), gradient[:, 0].clone()
        reference.bias.grad = gradient[:, 0].clone()
        optimizer.step()
        adamw.step()
        mean = 0.9 * mean + 0.1 * gradient
        expected = expected * (1 - 0.1 * 0.5) - 0.1 * 2**0.5 * orthogonalise(0.1 * gradient + 0.9 * mean)
        torch.testing.assert_close(layer.weight.detach(), expected)
        torch.testing.assert_close(layer.bias, reference.bias)


def test_groups_keep_their_options_and_state_comes_back() -> None:
    layers = nn.Linear(16, 16), nn.Linear(16, 16)
    groups = [{"params": layers[0].parameters(), "lr": 0.5}, {"params": list(layers[1].parameters())}]
    optimizer = Muon(groups, lr=0.02, adamw_lr=0.004)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.5, 0.02, 0.004]
    for parameter in [*layers[0].parameters(), *layers[1].parameters()]:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    copies = copy.deepcopy(layers)
    again = Muon([{"params": copies[0].parameters(), "lr": 0.5}, {"params": copies[1].parameters()}])
    again.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for each in (optimizer, again):
        for parameter in [parameter for group in each.param_groups for parameter in group["params"]]:
            parameter.grad = torch.linspace(-1, 1, parameter.numel()).reshape(parameter.shape)
        each.step()
    for layer, twin in zip(layers, copies, strict=True):
        assert torch.equal(layer.weight, twin.weight)
        assert torch.equal(layer.bias, twin.bias)


@pytest.mark.parametrize("option", [{"lr": -1.0}, {"momentum": 1.0}, {"adamw_lr": -1.0}, {"weight_decay": -1.0}], ids=str)
def test_options_out_of_range_are_refused(option: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="Invalid"):
        Muon(nn.Linear(16, 16).parameters(), **option)
