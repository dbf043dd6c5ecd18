"""Networks in the temporal feature space: what they hold, what they keep, and what they refuse."""

from functools import partial
from typing import Any

import pytest
import torch

from recon_core.density_compensation import swept_density
from recon_core.errors import InputError
from recon_core.nets.feature_maps import FeatureMaps, instance_normalised, to_channels, to_maps
from recon_core.nets.registry import build
from recon_core.subspace import SubspaceOperator, subspace_backprojection
from recon_core.trajectories import directions, golden_angle, radial
from tests.recon_core.nets.counts import n_held

SMALL = {"n_maps": 3, "growth": 4}
NETWORKS = ("dense_unet", "mdcn", "subspace_cascade")


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def slices(shape: tuple[int, int] = (21, 18), n_slices: int = 2) -> FeatureMaps:
    maps = random(n_slices, 3, *shape)
    normals = tuple(partial(torch.mul, 2.0 + number) for number in range(n_slices))
    return FeatureMaps(maps=maps, adjoint=random(*maps.shape, seed=1), normals=normals)


def n_of_block(n_in: int, growth: int) -> int:
    """Of four 3 x 3 convolutions, each of everything before."""
    return sum(9 * (n_in + i * growth) * growth + growth for i in range(4))


def test_channels_are_real_and_imaginary_part_of_map_after_map() -> None:
    maps = random(2, 3, 5, 4)
    channels = to_channels(maps)
    torch.testing.assert_close(channels[:, 2], maps[:, 1].real)
    torch.testing.assert_close(channels[:, 3], maps[:, 1].imag)
    torch.testing.assert_close(to_maps(channels), maps)


def test_a_network_that_changes_nothing_gives_its_maps_back() -> None:
    maps = 40 * random(2, 3, 5, 4) + 7
    torch.testing.assert_close(instance_normalised(lambda x: x, maps), maps)
    torch.testing.assert_close(instance_normalised(torch.zeros_like, maps, residual=True), maps)


def test_a_network_sees_each_slice_with_mean_zero_and_standard_deviation_one() -> None:
    seen: list[torch.Tensor] = []

    def network(channels: torch.Tensor) -> torch.Tensor:
        seen.append(channels)
        return channels

    instance_normalised(network, torch.stack([random(3, 5, 4), 9 * random(3, 5, 4)]) + 4)
    torch.testing.assert_close(seen[0].mean((1, 2, 3)), torch.zeros(2), rtol=0, atol=1e-6)
    torch.testing.assert_close(seen[0].std((1, 2, 3)), torch.ones(2))


def test_normalised_maps_have_a_root_mean_square_of_one_and_keep_the_scan_s_equation() -> None:
    scan = slices()
    normalised, scale = scan.normalised()
    power = normalised.maps.abs().square().mean((1, 2, 3)) / 2
    torch.testing.assert_close(power, torch.ones(2))
    assert normalised.adjoint is not None
    assert scan.adjoint is not None
    torch.testing.assert_close(normalised.adjoint * scale[:, None, None, None], scan.adjoint)


def test_mdcn_has_a_stem_eight_blocks_behind_compressors_and_their_direct_combination() -> None:
    width, n_out = 256, 256 + 4 * 128
    stem = 9 * 64 * width + width
    compressors = sum((width + i * n_out) * width + width for i in range(8))
    last = (width + 8 * n_out) * 64 + 64
    expected = stem + compressors + 8 * n_of_block(width, 128) + last
    assert n_held(build("mdcn", {})) == expected == 23_107_904


def test_dense_unet_has_the_same_blocks_on_four_levels_and_is_larger() -> None:
    width, added = 256, 4 * 128
    n_down = [width + level * added for level in range(4)]
    n_up = [2 * width + level * added for level in (3, 2, 1)]
    blocks = sum(n_of_block(n, 128) for n in (*n_down, *n_up))
    before_transposed = [n_down[-1] + added, n_up[0] + added, n_up[1] + added]
    transposed = sum(4 * n * width + width for n in before_transposed)
    stem_and_last = 9 * 64 * width + width + (n_up[2] + added) * 64 + 64
    n = n_held(build("dense_unet", {}))
    assert n == blocks + transposed + stem_and_last == 53_629_504
    assert n > n_held(build("mdcn", {}))


@pytest.mark.parametrize(("dilations", "reach"), [((1, 1, 1, 1), 4), ((1, 2, 4, 1), 8), ((1, 4, 8, 1), 14)])
def test_dilations_widen_what_a_block_sees(dilations: tuple[int, ...], reach: int) -> None:
    network = build("mdcn", SMALL | {"n_blocks": 1, "dilations": dilations}).eval()
    block = network.get_submodule("backbone.blocks.0")
    x = torch.zeros(1, 8, 41, 41, requires_grad=True)
    block(x)[0, -4:, 20, 20].sum().backward()
    assert x.grad is not None
    rows = torch.nonzero(x.grad.abs().sum((0, 1, 3))).flatten()
    assert (int(rows[0]), int(rows[-1])) == (20 - reach, 20 + reach)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shape", [(16, 16), (21, 18), (9, 7)])
def test_maps_of_any_shape_keep_it_and_every_parameter_learns(name: str, shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = build(name, SMALL)
    for _ in range(2):  # what starts at zero passes gradients on once it is none
        network.zero_grad()
        maps = network(slices(shape).normalised()[0])
        (maps - random(*maps.shape, seed=2)).abs().mean().backward()
        with torch.no_grad():
            for parameter in network.parameters():
                assert parameter.grad is not None
                parameter -= 1e-3 * parameter.grad.sign()
    assert maps.shape == (2, 3, *shape)
    assert maps.dtype == torch.complex64
    assert all(bool(parameter.grad.any()) for parameter in network.parameters() if parameter.grad is not None)


@pytest.mark.parametrize("name", NETWORKS)
def test_intensity_of_the_maps_follows_that_of_the_data(name: str) -> None:
    network, scan = build(name, SMALL).eval(), slices()
    assert scan.adjoint is not None
    brighter = FeatureMaps(maps=300 * scan.maps, adjoint=300 * scan.adjoint, normals=scan.normals)
    with torch.inference_mode():
        maps, scaled = (
            network(normalised) * scale[:, None, None, None]
            for normalised, scale in map(FeatureMaps.normalised, (scan, brighter))
        )
    torch.testing.assert_close(scaled, 300 * maps, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("name", NETWORKS)
def test_half_precision_of_convolutions_leaves_complex64_maps_nearby(name: str) -> None:
    network, scan = build(name, SMALL).eval(), slices().normalised()[0]
    with torch.inference_mode():
        maps = network(scan)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rounded = network(scan)
    assert rounded.dtype == torch.complex64
    assert 0 <= (rounded - maps).norm() < 0.05 * maps.norm()


def test_a_new_cascade_solves_for_the_maps_that_explain_the_data() -> None:
    """Without what networks add, each step is (I + λN) U = U + λ Eᴴd; many of them leave N U = Eᴴd."""
    matrix = random(12, 12).to(torch.complex128)
    matrix = matrix @ matrix.mH + 3 * torch.eye(12)

    def normal(maps: torch.Tensor) -> torch.Tensor:
        return (matrix @ maps.flatten()).reshape(maps.shape)

    truth = random(3, 2, 2, seed=3).to(torch.complex128)
    scan = FeatureMaps(
        maps=random(1, 3, 2, 2).to(torch.complex128), adjoint=normal(truth)[None], normals=(normal,)
    )
    network = build("subspace_cascade", SMALL | {"n_cascades": 30, "consistency_iterations": 12}).double()
    with torch.no_grad():
        torch.testing.assert_close(network(scan)[0], truth, rtol=1e-3, atol=1e-3)


def test_a_new_cascade_explains_the_readouts_of_a_golden_angle_scan_better_than_their_backprojection() -> (
    None
):
    trajectory = radial(directions(torch.arange(60) * golden_angle()), 32, spacing=0.5)
    rows = torch.randn(60, 3, generator=torch.Generator().manual_seed(1))
    basis = torch.linalg.qr(rows)[0].T.to(torch.complex64)
    maps = torch.nn.functional.normalize(random(4, 1, 16, 16, seed=4), dim=0)
    encoding = SubspaceOperator(trajectory, basis, maps)
    readouts = encoding(random(3, 1, 16, 16, seed=5))
    weights = swept_density(trajectory)
    backprojected = subspace_backprojection(readouts, trajectory, basis, maps, weights=weights)
    scan = FeatureMaps(
        maps=backprojected[None, :, 0],
        adjoint=encoding.adjoint(readouts)[None, :, 0],
        normals=(encoding.normal,),
    )
    network = build("subspace_cascade", SMALL | {"n_cascades": 4})
    normalised, scale = scan.normalised()
    with torch.no_grad():
        explained = encoding(network(normalised)[0, :, None] * scale)
        best_fit = encoding(backprojected)
    best_fit *= torch.vdot(best_fit.flatten(), readouts.flatten()) / best_fit.norm() ** 2
    assert (explained - readouts).norm() < 0.5 * (best_fit - readouts).norm()


@pytest.mark.parametrize("name", NETWORKS)
def test_another_rank_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="expected 5 feature maps, got 3"):
        build(name, SMALL | {"n_maps": 5})(slices())


def test_a_cascade_without_the_data_is_refused() -> None:
    with pytest.raises(InputError, match="normal operator"):
        build("subspace_cascade", SMALL)(FeatureMaps(maps=slices().maps))


@pytest.mark.parametrize(
    "changes",
    [
        {"maps": random(3, 5, 4)},
        {"maps": torch.ones(2, 3, 5, 4)},
        {"adjoint": random(2, 3, 5, 5)},
        {"normals": (torch.zeros_like,)},
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(changes: dict[str, Any]) -> None:
    good = {"maps": random(2, 3, 5, 4), "adjoint": random(2, 3, 5, 4), "normals": (torch.zeros_like,) * 2}
    FeatureMaps(**good).require_fitting()  # type: ignore[arg-type]
    with pytest.raises(InputError, match="feature maps: expected"):
        FeatureMaps(**(good | changes)).require_fitting()
