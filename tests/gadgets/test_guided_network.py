"""A network that takes a guide is given the study's image of the same anatomy, and says so."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from gadgets.encoding import Encoding
from gadgets.gadget import Context
from gadgets.guide_search import GUIDE
from gadgets.mrd_images import FALLBACK
from gadgets.network_reconstruction import NetworkReconstruction
from gadgets.records import HEADER_DTYPE, ImageSeries, KSpace
from gadgets.study import StudyStore
from recon_core.engine.engine import Engine
from recon_core.engine.store import ModelStore
from recon_core.fourier import fft
from recon_core.masks import random_lines
from recon_core.rigid_registration import in_plane_motion
from tests.gadgets.earlier_scans import TARGET, keep_stack, scan
from tests.model_packages import network_package
from tests.recon_core.tissue import T2, tissue


def kspace() -> KSpace:
    """One coil, a third of the lines."""
    n_x, n_y, n_z = TARGET.matrix
    header = np.zeros(1, HEADER_DTYPE)
    header["position"] = TARGET.centre_mm
    for name, direction in zip(("read_dir", "phase_dir", "slice_dir"), TARGET.directions, strict=True):
        header[name] = direction
    sampled = random_lines((n_y, n_x), 3, n_calibration=12)[None]
    return KSpace(
        data=fft(tissue(TARGET, T2).to(torch.complex64)[None]) * sampled,
        sampled=sampled,
        header=header[0],
        encoding=Encoding(
            encoded_matrix=(n_x, n_y, n_z),
            encoded_fov_mm=TARGET.fov_mm,
            recon_matrix=(n_x, n_y, n_z),
            recon_fov_mm=TARGET.fov_mm,
            limits={},
        ),
    )


def image(context: Context, folder: Path) -> ImageSeries:
    with Engine(store=ModelStore(folder, folder)) as engine:
        gadget = NetworkReconstruction(model="guided_cascade", anatomy="brain")
        (series,) = gadget([kspace()], replace(context, engine=engine))
    assert series.meta[FALLBACK] == "false"
    return series


def test_the_guide_of_the_patients_study_reaches_the_network_and_no_other_does(tmp_path: Path) -> None:
    network_package(tmp_path, "guided_cascade", weights=lambda drawn: drawn + 0.05, masks=("random_lines",))
    study = StudyStore()
    unguided = image(scan(study, "alone"), tmp_path)
    keep_stack(scan(study, "first", protocol="t1_se"), in_plane_motion(TARGET, 4.0, (-5.0, 6.0)))
    guided = image(scan(study, "second"), tmp_path)
    another_patients = image(scan(study, "third", patient="q"), tmp_path)
    assert str(guided.meta[GUIDE]).startswith("t1_se, moved by -5.")
    assert not torch.allclose(guided.data, unguided.data, rtol=1e-3)
    assert unguided.meta[GUIDE] == another_patients.meta[GUIDE] == "none"
    assert another_patients.notes[-1] == "no earlier image of this study and frame of reference"
    assert torch.equal(another_patients.data, unguided.data)
