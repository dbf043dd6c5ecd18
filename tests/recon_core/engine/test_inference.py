"""A slice's image does not depend on its company, and comes even where memory is short."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from recon_core.engine import inference
from recon_core.engine.inference import Inference, is_out_of_memory
from recon_core.engine.slices import joined, likeness, single_slices
from recon_core.errors import EngineError
from recon_core.nets.undersampled import Undersampled
from tests.recon_core.engine.tiny import Tiny, slices, tiny_network, tiny_package

CPU = torch.device("cpu")
CPU_FULL = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"
)
GPU_FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")  # fmt: skip


def at_most(
    monkeypatch: pytest.MonkeyPatch, fits: Callable[[torch.Tensor], bool], error: Exception
) -> list[int]:
    """Let the convolutions run out of memory where `fits` is False of what they get; the sizes of that."""
    sizes = []

    def forward(self: torch.nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        if not fits(x):
            raise error
        return self._conv_forward(x, self.weight, self.bias)

    monkeypatch.setattr(torch.nn.Conv2d, "forward", forward)
    return sizes


def expected(batch: Undersampled) -> torch.Tensor:
    with torch.inference_mode():
        return tiny_network()(batch)


def test_slices_taken_apart_and_joined_are_the_same() -> None:
    batch = slices(3)
    again = joined(single_slices(batch))
    for name in ("kspace", "sampled", "coil_maps", "noise_std"):
        assert torch.equal(getattr(again, name), getattr(batch, name))
    assert again.spirit_kernel is None
    assert likeness(slices(1)) == likeness(slices(3)) != likeness(slices(1, shape=(20, 24)))


@pytest.mark.parametrize("shape", [(64, 48), (61, 47)])
def test_a_slice_has_the_same_bits_in_any_company(tmp_path: Path, shape: tuple[int, int]) -> None:
    run = Inference(tiny_package(tmp_path / "tiny"), CPU, batch_size=4)
    every = single_slices(slices(7, shape=shape))
    alone = [run([one], None).images for one in every]
    for group in ([0, 1, 2, 3], [3, 6, 0, 1], [5, 4], [2, 2, 2], range(7)):
        done = run([every[i] for i in group], None)
        assert len(done.images) == len(group)
        for i, image in zip(group, done.images, strict=True):
            assert torch.equal(image, alone[i][0])
    torch.testing.assert_close(torch.cat(alone), expected(joined(every)), rtol=0, atol=1e-5)


def test_slices_go_one_by_one_where_their_place_in_a_batch_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Inference(tiny_package(tmp_path / "tiny"), CPU, batch_size=4)
    assert run(single_slices(slices(3)), None).batch_size == 4
    forward = Tiny.forward

    def uneven(self: Tiny, undersampled: Undersampled, anatomy: str | None = None) -> torch.Tensor:
        images = forward(self, undersampled, anatomy)
        images[-1] *= 1 + 1e-6 * (len(images) > 1)
        return images

    monkeypatch.setattr(Tiny, "forward", uneven)
    batch = slices(3, shape=(32, 24))
    done = run(single_slices(batch), None)
    assert done.batch_size == 1
    torch.testing.assert_close(done.images, expected(batch), rtol=0, atol=1e-5)


@pytest.mark.parametrize("error", [CPU_FULL, GPU_FULL, MemoryError()], ids=lambda e: type(e).__name__)
def test_less_memory_means_smaller_batches_and_the_same_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    run = Inference(tiny_package(tmp_path / "tiny"), CPU, batch_size=8)
    batch = slices(5)
    wanted = expected(batch)
    sizes = at_most(monkeypatch, lambda x: len(x) <= 2, error)
    done = run(single_slices(batch), None)
    assert (done.how, done.batch_size) == ("batch", 2)
    torch.testing.assert_close(done.images, wanted, rtol=0, atol=1e-6)
    sizes.clear()
    run(single_slices(batch), None)
    assert set(sizes) == {2}, "what did not fit is not tried again at once"


def test_after_a_while_the_full_batch_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Inference(tiny_package(tmp_path / "tiny"), CPU, batch_size=4)
    with monkeypatch.context() as full:
        at_most(full, lambda x: len(x) <= 1, CPU_FULL)
        assert run(single_slices(slices(4)), None).batch_size == 1
    assert run(single_slices(slices(4)), None).batch_size == 1
    monkeypatch.setattr(inference, "monotonic", lambda: float("inf"))
    assert run(single_slices(slices(4)), None).batch_size == 4


def test_a_slice_too_large_goes_in_tiles_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Inference(tiny_package(tmp_path / "tiny"), CPU, batch_size=2)
    batch = slices(3, shape=(91, 20))
    wanted = expected(batch)
    at_most(monkeypatch, lambda x: x.shape[-2] < 91, GPU_FULL)
    done = run(single_slices(batch), None)
    assert (done.how, done.batch_size) == ("tiles", 1)
    torch.testing.assert_close(done.images, wanted, rtol=0, atol=1e-6)


def test_memory_that_does_not_suffice_for_tiles_is_an_error_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Inference(tiny_package(tmp_path / "tiny"), CPU, batch_size=2)
    at_most(monkeypatch, lambda _: False, CPU_FULL)
    with pytest.raises(EngineError, match="out of memory for a slice of 24 x 20, 3 coils, even in tiles"):
        run(single_slices(slices(1)), None)


def test_where_a_device_is_full_the_cpu_computes(tmp_path: Path) -> None:
    package = tiny_package(tmp_path / "tiny")
    run = Inference(package, torch.device("meta"), batch_size=2)  # stands for a device that is full
    build = package.network

    def network(device: torch.device) -> torch.nn.Module:
        if device.type == "meta":
            raise GPU_FULL
        return build(device)

    object.__setattr__(package, "network", network)
    done = run(single_slices(slices(2)), None)
    assert (done.how, done.batch_size, done.precision) == ("cpu", 1, "float32")
    torch.testing.assert_close(done.images, expected(slices(2)), rtol=0, atol=1e-6)


def test_other_failures_are_not_taken_for_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Inference(tiny_package(tmp_path / "tiny"), CPU, batch_size=2)
    sizes = at_most(monkeypatch, lambda _: False, RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        run(single_slices(slices(1)), None)
    assert len(sizes) == 1


def test_torch_says_that_memory_ran_out_in_words_we_know() -> None:
    with pytest.raises(RuntimeError) as full:
        torch.empty(1 << 46)
    assert is_out_of_memory(full.value)
    assert is_out_of_memory(RuntimeError("cuFFT error: CUFFT_ALLOC_FAILED"))
    assert not is_out_of_memory(RuntimeError("size mismatch"))


def test_mixed_precision_is_used_only_where_the_package_allows_it_and_stays_close(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="expected a precision of float32, got bfloat16"):
        Inference(tiny_package(tmp_path / "full"), CPU, 1, "bfloat16")
    package = tiny_package(tmp_path / "mixed", precision=("float32", "bfloat16"))
    seen = []
    batch = single_slices(slices(2))
    exact = Inference(package, CPU, 1)(batch, None)
    hook = torch.nn.modules.module.register_module_forward_hook(
        lambda _module, _inputs, o: seen.append(o.dtype)
    )
    mixed = Inference(package, CPU, 1, "bfloat16")(batch, None)
    hook.remove()
    assert torch.bfloat16 in seen
    assert (exact.precision, mixed.precision) == ("float32", "bfloat16")
    assert mixed.images.dtype == torch.complex64
    error = (mixed.images - exact.images).norm() / exact.images.norm()
    assert 0 < error < 2e-3


def test_weights_lie_channels_last(tmp_path: Path) -> None:
    run = Inference(tiny_package(tmp_path / "tiny", config={"n_features": 4}), CPU, 1)
    seen: list[bool] = []

    def note(module: torch.nn.Module, *_: Any) -> None:
        if isinstance(module, Tiny):
            weight = module.convolutions[0].weight
            seen.append(weight.is_contiguous(memory_format=torch.channels_last))

    hook = torch.nn.modules.module.register_module_forward_hook(note)
    run(single_slices(slices(1)), None)
    hook.remove()
    assert seen == [True]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_slice_has_the_same_bits_in_any_company_on_a_gpu(tmp_path: Path) -> None:
    run = Inference(tiny_package(tmp_path / "tiny"), torch.device("cuda"), batch_size=4)
    every = single_slices(slices(5, shape=(230, 180)))
    alone = [run([one], None).images for one in every]
    for group in ([0, 1, 2, 3], [3, 4, 0], [2, 1]):
        done = run([every[i] for i in group], None)
        assert done.how == "batch"
        assert all(torch.equal(im, alone[i][0]) for i, im in zip(group, done.images, strict=True))
    torch.testing.assert_close(torch.cat(alone), expected(joined(every)), rtol=0, atol=1e-5)
