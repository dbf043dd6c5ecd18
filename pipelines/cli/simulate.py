"""`reconstream simulate`: scans of objects that are known."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Scans of objects that are known, as ISMRMRD, and the truth.")

Out = Annotated[Path, typer.Argument(metavar="OUT.h5", help="ISMRMRD HDF5 file to write.")]
Coils = Annotated[int, typer.Option("--coils", min=1, max=64, help="Receiver channels.")]
Snr = Annotated[float, typer.Option("--snr", help="Signal over the noise of a fully sampled image.")]
Seed = Annotated[int, typer.Option("--seed", help="Another seed is another subject, motion and noise.")]


@app.command()
def multitasking(
    out: Out,
    seed: Seed = 0,
    anatomy: Annotated[
        Path | None,
        typer.Option(help="Numpy archive of labelled short-axis images, or a cine; else drawn by formulas."),
    ] = None,
    spokes: Annotated[int, typer.Option(min=1, max=65535, help="Imaging spokes.")] = 9976,
    matrix: Annotated[int, typer.Option(min=16, max=512, help="Of the images.")] = 160,
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
