import pytest
import torch

from recon_core.nets.instance_norm import instance_norm_


@pytest.mark.parametrize("n_slices", [1, 3])
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("with_gradient", [False, True])
def test_instance_norm_is_that_of_torch(
    n_slices: int, order: torch.memory_format, with_gradient: bool
) -> None:
    features = torch.randn(n_slices, 4, 5, 6).to(memory_format=order)
    weight, bias = torch.rand(4), torch.rand(4)
    expected = torch.nn.functional.instance_norm(features, weight=weight, bias=bias)
    with torch.set_grad_enabled(with_gradient):
        torch.testing.assert_close(instance_norm_(features, weight, bias), expected)
