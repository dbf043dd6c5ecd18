"""Convolutions that keep the size of the image, fast on a CPU also where few channels come out."""

import torch
from torch.nn.functional import conv2d

VECTOR_CHANNELS = 16
"""Single-precision values in a vector of the CPU, which computes so many output channels at a time."""


class Convolution(torch.nn.Conv2d):
    """A k x k convolution, k odd, that keeps the size of the image."""

    def __init__(
        self, n_in: int, n_out: int, kernel_size: int = 3, *, bias: bool = True, dilation: int = 1
    ) -> None:
        padding = dilation * (kernel_size // 2)
        super().__init__(n_in, n_out, kernel_size, padding=padding, dilation=dilation, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.dilation != (1, 1):
            return super().forward(x)
        return convolved(x, self.weight, self.bias)


def silence(convolution: torch.nn.Conv2d) -> None:
    """Make a new convolution give zero."""
    for parameter in convolution.parameters():
        torch.nn.init.zeros_(parameter)


def convolved(x: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """`(slice, C_out, y, x)` of `(slice, C_in, y, x)` and a kernel `(C_out, C_in, k, k)`, k odd."""
    n_out, _, size, _ = kernel.shape
    fits_a_vector = size > 1 and size * n_out <= VECTOR_CHANNELS
    if fits_a_vector and x.device.type == "cpu" and not torch.is_grad_enabled():
        return _column_by_column(x, kernel, bias)
    return conv2d(x, kernel, bias, padding=size // 2)


def _column_by_column(x: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """The columns of the kernel as channels of one convolution, then added where they belong.

    They share the vectors that two channels, real and imaginary part, would leave almost empty: half the
    time. Not where gradients are asked for: those of this form take four times as long.
    """
    n_out, n_in, size, _ = kernel.shape
    columns = kernel.permute(3, 0, 1, 2).reshape(size * n_out, n_in, size, 1)
    of_columns = torch.split(conv2d(x, columns, padding=size // 2), n_out, dim=1)
    width = x.shape[-1]
    summed = of_columns[0][..., :width]
    for number, of_column in enumerate(of_columns[1:], start=1):
        summed = summed + of_column[..., number : number + width]
    return summed if bias is None else summed + bias[:, None, None]
