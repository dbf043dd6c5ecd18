"""Readout oversampling, removed from all that knows of it."""

import torch

from gadgets.accumulate import Accumulate
from gadgets.remove_oversampling import RemoveOversampling
from recon_core.fourier import fft, ifft, resize
from tests.gadgets.head_images import ENCODING, KSPACE, N, kspace_of
from tests.gadgets.small_scan import context, encoding, flagged, random_complex, readouts, with_header


def test_oversampling_is_removed_from_data_calibration_and_encoding() -> None:
    wide = fft(resize(ifft(KSPACE), (1, N, 2 * N)))
    scan = context(encoding((2 * N, N, 1), recon=(N, N, 1)))
    block = flagged(readouts(wide.numpy()), slice(20, 44), "IS_PARALLEL_CALIBRATION_AND_IMAGING")
    (kspace,) = RemoveOversampling()(Accumulate()([block], scan), scan)
    assert kspace.encoding.encoded_matrix == (N, N, 1)
    assert kspace.encoding.encoded_fov_mm == (N, N, 1)
    assert torch.allclose(kspace.data, KSPACE, atol=1e-4)
    assert kspace.calibration is not None
    assert torch.allclose(kspace.calibration, KSPACE[:, :, 20:44], atol=1e-4)


def test_without_oversampling_nothing_happens() -> None:
    kspace = kspace_of()
    assert list(RemoveOversampling()([kspace], context(ENCODING))) == [kspace]


def test_an_asymmetric_echo_stays_unsampled_when_oversampling_is_removed() -> None:
    block = with_header(readouts(random_complex((2, 1, 8, 52))), center_sample=20)
    scan = context(encoding((64, 8, 1), recon=(32, 8, 1)))
    (kspace,) = RemoveOversampling()(Accumulate()([block], scan), scan)
    assert kspace.sampled[0, 0].nonzero().flatten().tolist() == list(range(6, 32))
    assert not kspace.data[..., :6].any()
