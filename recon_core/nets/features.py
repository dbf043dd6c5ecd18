"""The border between complex images and the real channels that convolutions work on.

Channels come last in memory there: what a complex image has between its real and imaginary parts is then the
same memory, seen as two channels, and nothing is copied on the way in or out.
"""

import torch


def to_channels(image: torch.Tensor) -> torch.Tensor:
    """Complex `(slice, y, x)` to real `(slice, 2, y, x)`: real and imaginary part."""
    return torch.view_as_real(image.resolve_conj()).permute(0, 3, 1, 2)


def to_image(channels: torch.Tensor) -> torch.Tensor:
    """Real `(slice, 2, y, x)` of any precision to complex `(slice, y, x)` of single precision or more."""
    if channels.dtype not in (torch.float32, torch.float64):
        channels = channels.float()
    return torch.view_as_complex(channels.permute(0, 2, 3, 1).contiguous())


def channels_last(network: torch.nn.Module) -> None:
    """Keep the weights of convolutions in that order too, so that none is reordered in a call."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
