"""`reconstream simulate`: scans of objects that are known."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipelines.sources import Scan
    from recon_core.simulate import SimulatedScan
    from recon_core.simulate_off_grid import OffGridScan

app = typer.Typer(no_args_is_help=True, help="Scans of objects that are known, as ISMRMRD, and the truth.")

Out = Annotated[Path, typer.Argument(metavar="OUT.h5", help="ISMRMRD HDF5 file to write.")]
Coils = Annotated[int, typer.Option("--coils", min=1, max=64, help="Receiver channels.")]
Snr = Annotated[float, typer.Option("--snr", help="Signal over the noise of a fully sampled image.")]
Matrix = Annotated[int, typer.Option("--matrix", min=16, max=512, help="Of the images.")]
Seed = Annotated[int, typer.Option("--seed", help="Another seed is another subject, motion and noise.")]
NoiseSeed = Annotated[int, typer.Option("--seed", help="Of the noise.")]


@app.command()
def multitasking(
    out: Out,
    seed: Seed = 0,
    anatomy: Annotated[
        Path | None,
        typer.Option(help="Numpy archive of labelled short-axis images, or a cine; else drawn by formulas."),
    ] = None,
    spokes: Annotated[int, typer.Option(min=1, max=65535, help="Imaging spokes.")] = 9976,
    matrix: Matrix = 160,
    coils: Coils = 10,
    snr: Snr = 20.0,
    field_strength: Annotated[float, typer.Option(help="1.5 or 3 tesla, for T1.")] = 3.0,
    arrhythmia: Annotated[bool, typer.Option("--arrhythmia", help="With premature beats.")] = False,
    no_heartbeat: Annotated[bool, typer.Option("--no-heartbeat", help="A heart that stands still.")] = False,
    ecg: Annotated[bool, typer.Option("--ecg", help="With an electrocardiogram as waveforms.")] = False,
) -> None:
    """A beating, breathing chest: inversion recovery, golden-angle spokes, navigators in between.

    The truth, of which any frame can be computed, goes to OUT.truth.npz.
    """
    import os

    import torch

    from pipelines.anatomy_file import read_anatomy
    from pipelines.mrd_hdf5_writer import write_scan
    from pipelines.multitasking_scan import multitasking_scan
    from pipelines.simulated_truth import write_truth
    from recon_core.dynamic.chest_phantom import chest_phantom
    from recon_core.dynamic.moving_chest import FINER
    from recon_core.dynamic.multitasking import MultitaskingScan, Protocol, random_subject
    from recon_core.training.draws import Draws

    protocol = Protocol(
        matrix=matrix,
        n_coils=coils,
        n_spokes=spokes,
        snr=snr,
        has_heartbeat=not no_heartbeat,
        has_arrhythmia=arrhythmia,
    )
    n = FINER * matrix
    subject = (
        chest_phantom(n, Draws(seed, "chest"), field_strength_t=field_strength)
        if anatomy is None
        else read_anatomy(anatomy, n, seed, field_strength)
    )
    simulation = MultitaskingScan(random_subject(protocol, seed, subject), protocol, seed)
    n_threads = os.cpu_count() or 1
    scan = multitasking_scan(simulation, field_strength_t=field_strength, with_ecg=ecg, n_threads=n_threads)
    torch_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # readouts are made side by side instead
    try:
        write_scan(scan, out)
    finally:
        torch.set_num_threads(torch_threads)
    truth = out.with_suffix(".truth.npz")
    write_truth(simulation, truth)
    print(out)
    print(truth)


@app.command()
def radial(
    out: Out,
    spokes: Annotated[int, typer.Option(min=1, max=65535, help="Spokes, at the golden angle.")] = 402,
    matrix: Matrix = 256,
    coils: Coils = 16,
    snr: Snr = 40.0,
    seed: NoiseSeed = 0,
) -> None:
    """A still head along spokes. The truth goes to OUT.truth.npz: ground_truth, coil_maps, covariance."""
    from pipelines.off_grid_scan import golden_spokes, radial_scan
    from recon_core.simulate_off_grid import simulate_off_grid

    simulation = simulate_off_grid(golden_spokes(spokes, matrix), matrix, coils, snr=snr, seed=seed)
    _write(out, radial_scan(simulation), simulation)


@app.command()
def spiral(
    out: Out,
    interleaves: Annotated[int, typer.Option(min=1, max=65535, help="Arms.")] = 24,
    matrix: Matrix = 256,
    coils: Coils = 16,
    snr: Snr = 40.0,
    seed: NoiseSeed = 0,
) -> None:
    """A still head along spirals. The truth goes to OUT.truth.npz: ground_truth, coil_maps, covariance."""
    from pipelines.off_grid_scan import spiral_scan, spirals
    from recon_core.simulate_off_grid import simulate_off_grid

    simulation = simulate_off_grid(spirals(interleaves, matrix), matrix, coils, snr=snr, seed=seed)
    _write(out, spiral_scan(simulation), simulation)


@app.command()
def cartesian(
    out: Out,
    acceleration: Annotated[int, typer.Option(min=1, help="Acquire every so manieth line.")] = 1,
    slices: Annotated[int, typer.Option(min=1, max=64, help="Axial slices.")] = 1,
    matrix: Matrix = 256,
    coils: Coils = 16,
    snr: Snr = 40.0,
    seed: NoiseSeed = 0,
) -> None:
    """A still head line by line. The truth goes to OUT.truth.npz: ground_truth, coil_maps, covariance."""
    from pipelines.simulated_scan import simulated_scan
    from recon_core.simulate import simulate_acquisition

    simulation = simulate_acquisition((matrix, matrix), coils, n_slices=slices, snr=snr, seed=seed)
    _write(out, simulated_scan(simulation, acceleration=acceleration), simulation)


def _write(out: Path, scan: "Scan", simulation: "OffGridScan | SimulatedScan") -> None:
    import numpy as np

    from pipelines.mrd_hdf5_writer import write_scan

    write_scan(scan, out)
    truth = out.with_suffix(".truth.npz")
    names = "ground_truth", "coil_maps", "covariance"
    np.savez_compressed(truth, allow_pickle=False, **{name: getattr(simulation, name) for name in names})
    print(out)
    print(truth)
