"""Coil maps, weights and kernels of external calibration data: computed once in a study, the same bits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gadgets import coil_maps, grappa, spirit
from gadgets.accumulate import Accumulate
from gadgets.coil_maps import CoilMaps
from gadgets.gadget import Gadget
from gadgets.grappa import Grappa
from gadgets.spirit import Spirit
from gadgets.study import Kind, Studies, StudyStore
from pipelines.studies.folder import StudyFolder
from tests.gadgets.small_scan import encoding, head_kspace, identified_context, readouts

N = 48
LINES = [(0, ky) for ky in range(N) if ky % 2 == 0]


def images(gadget: Gadget, study: Studies, mode: str = "external", brightness: float = 1.0) -> list[Any]:
    """What a gadget makes of an accelerated scan that an earlier one of its study calibrates."""
    kspace = brightness * head_kspace(8, (N, N))[0].numpy()
    scan = identified_context(encoding((N, N, 1)), "calibration", study)
    list(Accumulate(keep_calibration=True)([readouts(kspace)], scan))
    external = encoding((N, N, 1), acceleration=(2, 1)).replace(
        "</parallelImaging>", f"<calibrationMode>{mode}</calibrationMode></parallelImaging>"
    )
    scan = identified_context(external, "accelerated", study)
    lines = LINES if mode == "external" else None
    return list(gadget(Accumulate()([readouts(kspace, lines)], scan), scan))


CASES = pytest.mark.parametrize(
    ("module", "function", "gadget", "result"),
    [
        (coil_maps, "espirit", CoilMaps(), lambda kspace: kspace.coil_maps),
        (grappa, "grappa_weights", Grappa(), lambda series: series.data),
        (grappa, "grappa_weights", Grappa(combine="rss"), lambda series: series.data),
        (spirit, "spirit_kernel", Spirit(n_iterations=3), lambda series: series.data),
        (spirit, "spirit_kernel", Spirit(n_iterations=3, combine="rss"), lambda series: series.data),
    ],
    ids=["maps", "weights", "weights alone", "kernel", "kernel alone"],
)


@CASES
def test_the_next_scan_takes_the_first_ones_result(
    module: Any,
    function: str,
    gadget: Gadget,
    result: Callable[[Any], torch.Tensor],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    with StudyFolder(tmp_path) as study:
        (first,) = images(gadget, study)

    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("computed again")

    with StudyFolder(tmp_path) as study, monkeypatch.context() as patched:
        patched.setattr(module, function, forbidden)
        (second,) = images(gadget, study)
        assert torch.equal(result(first), result(second))
        with pytest.raises(AssertionError, match="computed again"):
            images(gadget, study, brightness=2.0)


@pytest.mark.parametrize(
    ("gadget", "kind"), [(CoilMaps(), "coil_maps"), (Grappa(), "grappa_weights"), (Spirit(), "spirit_kernel")]
)
def test_results_depend_on_the_parameters_and_are_kept_of_external_calibration_only(
    gadget: Gadget, kind: Kind
) -> None:
    def n_kept(study: Studies) -> int:
        return len(study.find(kind, identified_context(encoding((N, N, 1)), "later", study).scan))

    study = StudyStore()
    images(gadget, study, mode="embedded")
    assert n_kept(study) == 0
    images(gadget, study)
    images(gadget, study)
    assert n_kept(study) == 1
    width = {"kernel": (2, 2, 5)} if isinstance(gadget, Grappa) else {"kernel_width": 5}
    images(type(gadget)(**width), study)
    assert n_kept(study) == 2
