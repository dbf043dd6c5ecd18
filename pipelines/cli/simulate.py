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
Anatomy = Annotated[
    Path | None,
    typer.Option("--anatomy", help="Numpy archive of labelled short axes, or a cine; else it is drawn."),
]
Spokes = Annotated[int, typer.Option("--spokes", min=1, max=65535, help="Imaging spokes.")]
Coils = Annotated[int, typer.Option("--coils", min=1, max=64, help="Receiver channels.")]
Snr = Annotated[float, typer.Option("--snr", help="Signal over the noise of a fully sampled image.")]
Matrix = Annotated[int, typer.Option("--matrix", min=16, max=512, help="Of the images.")]
Seed = Annotated[int, typer.Option("--seed", help="Another seed is another subject, motion and noise.")]
NoiseSeed = Annotated[int, typer.Option("--seed", help="Of the noise.")]


@app.command()
def multitasking(
    out: Out,
    seed: Seed = 0,
    anatomy: Anatomy = None,
    spokes: Spokes = 9976,
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
    from pipelines.mrd_hdf5_writer import write_scan
    from pipelines.multitasking_scan import multitasking_scan
    from pipelines.multitasking_subject import side_by_side, simulated_subject
    from pipelines.simulated_truth import write_truth
    from recon_core.dynamic.multitasking import Protocol

    protocol = Protocol(
        matrix=matrix,
        n_coils=coils,
        n_spokes=spokes,
        snr=snr,
        has_heartbeat=not no_heartbeat,
        has_arrhythmia=arrhythmia,
    )
    simulation = simulated_subject(protocol, seed, anatomy, field_strength)
    with side_by_side() as n_threads:
        scan = multitasking_scan(
            simulation, field_strength_t=field_strength, with_ecg=ecg, n_threads=n_threads
        )
        write_scan(scan, out)
    truth = out.with_suffix(".truth.npz")
    write_truth(simulation, truth)
    print(out)
    print(truth)


@app.command("feature-maps")
def feature_maps(
    out: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where the archives go; made when missing.")],
    subjects: Annotated[int, typer.Option(min=1, help="How many.")] = 10,
    rank: Annotated[int, typer.Option(min=1, help="Coefficients of the temporal basis.")] = 32,
    seed: Annotated[int, typer.Option(help="Of the first subject; each has the next.")] = 0,
    anatomy: Anatomy = None,
    spokes: Spokes = 9976,
    matrix: Matrix = 160,
    coils: Coils = 10,
    snr: Snr = 20.0,
) -> None:
    """Backprojected and true feature maps of multitasking scans, for networks to learn from.

    Each subject becomes FOLDER/subject_SEED.npz: `backprojection` and `truth`, (1, rank, y, x). Those that
    are there already are left alone.
    """
    from pipelines.multitasking_subject import simulated_subject, write_feature_maps
    from recon_core.dynamic.multitasking import Protocol

    protocol = Protocol(matrix=matrix, n_coils=coils, n_spokes=spokes, snr=snr)
    for number in range(seed, seed + subjects):
        path = out / f"subject_{number}.npz"
        if not path.exists():
            write_feature_maps(simulated_subject(protocol, number, anatomy), rank, path)
        print(path)


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
