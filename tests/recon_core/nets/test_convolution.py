import pytest
import torch
from torch.nn.functional import conv2d

from recon_core.nets.convolution import convolved


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("n_out", [1, 2, 5, 6])
def test_few_channels_come_out_as_they_do_of_a_plain_convolution(n_out: int, size: int) -> None:
    x, bias = torch.randn(2, 4, 7, 9, dtype=torch.float64), torch.randn(n_out, dtype=torch.float64)
    kernel = torch.randn(n_out, 4, size, size, dtype=torch.float64)
    expected = conv2d(x, kernel, bias, padding=size // 2)
    with torch.inference_mode():
        torch.testing.assert_close(convolved(x, kernel, bias), expected)
        torch.testing.assert_close(convolved(x, kernel), expected - bias[:, None, None])
    assert torch.equal(convolved(x, kernel, bias), expected)
