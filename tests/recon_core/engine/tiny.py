"""A network small enough to reason about, in packages whose ranges the slices made here lie within."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch

from recon_core import fourier
from recon_core.engine.manifest import Manifest, Ranges, Training, TrainingData
from recon_core.engine.package import ModelPackage, write_package
from recon_core.nets.undersampled import Undersampled

SHAPE = (24, 20)
N_COILS = 3


class Tiny(torch.nn.Module):
    """The zero-filled image and a small correction from two convolutions."""

    def __init__(self, n_features: int = 4) -> None:
        super().__init__()
        self.convolutions = torch.nn.Sequential(
            torch.nn.Conv2d(2, n_features, 3, padding=1),
            torch.nn.LeakyReLU(),
            torch.nn.Conv2d(n_features, 2, 3, padding=1, dilation=1),
        )

    def forward(self, undersampled: Undersampled, anatomy: str | None = None) -> torch.Tensor:
        image = undersampled.zero_filled()
        two_channels = torch.view_as_real(image).movedim(-1, 1)
        correction = self.convolutions(two_channels).float().movedim(1, -1).contiguous()
        return image + 0.1 * torch.view_as_complex(correction)


def build(architecture: str, config: Mapping[str, Any]) -> torch.nn.Module:
    assert architecture == "tiny"
    return Tiny(**config)


def tiny_network(seed: int = 0) -> Tiny:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Tiny()


def tiny_manifest(**changes: Any) -> Manifest:
    manifest = Manifest(
        name="tiny",
        version="1",
        about="A correction of the zero-filled image",
        architecture="tiny",
        config={"n_features": 4},
        precision=("float32",),
        licence="MIT",
        terms="permissive",
        ranges=Ranges(
            anatomies=("brain",),
            contrasts=("T1", "T2"),
            masks=("equispaced_lines",),
            acceleration=(1.5, 4),
            matrix=(16, 32),
            n_coils=(1, 8),
            noise_level=(0, 0.5),
            intensity=(1, 20),
        ),
        metrics={"held-out heads": {"psnr": {"model": 31.5, "fallback": 30.0}}},
        training=Training(
            recipe="none",
            command="reconstream train tiny",
            seed=0,
            minutes=0.5,
            device="CPU, 1 thread",
            data=(TrainingData(name="phantoms", terms="permissive", licence="MIT"),),
        ),
    )
    return msgspec.structs.replace(manifest, **changes)


def tiny_package(folder: Path, seed: int = 0, **changes: Any) -> ModelPackage:
    return write_package(folder, tiny_network(seed), tiny_manifest(**changes))


def slices(n_slices: int = 1, seed: int = 0, shape: tuple[int, int] = SHAPE) -> Undersampled:
    """Noise-like images seen by `N_COILS` coils, every other line and four central ones sampled."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(n_slices, 1, *shape, dtype=torch.complex64, generator=generator)
    maps = torch.randn(n_slices, N_COILS, *shape, dtype=torch.complex64, generator=generator)
    maps = maps / maps.abs().square().sum(1, keepdim=True).sqrt()
    lines = torch.zeros(shape[0], dtype=torch.bool)
    lines[::2] = lines[shape[0] // 2 - 2 : shape[0] // 2 + 2] = True
    sampled = lines[:, None].expand(n_slices, *shape)
    kspace = fourier.fft(maps * image, (-2, -1)) * sampled[:, None]
    return Undersampled(
        kspace=kspace, sampled=sampled, coil_maps=maps, noise_std=torch.full((n_slices,), 0.01)
    )
