import pytest
import torch

from headpose.errors import InputError
from headpose.models.ssrnet import SSRNetMD
from headpose.running.networks import compile_network


def test_compiling_keeps_the_names_of_the_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(torch, "compile", lambda call, mode: asked.append(mode) or call)
    network, plain = SSRNetMD(), SSRNetMD()
    compile_network(network, "reduce-overhead")
    assert asked == ["reduce-overhead"]
    assert list(network.state_dict()) == list(plain.state_dict())
    compile_network(network, None)
    assert len(asked) == 1


def test_unknown_mode_is_refused() -> None:
    with pytest.raises(InputError, match="compile=quick is unknown; choose default"):
        compile_network(SSRNetMD(), "quick")
