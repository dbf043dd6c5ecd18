"""`reconstream finetune`: a shipped network adapted to a site's own scans."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import AsJson
from pipelines.cli.training_options import FULL_PRECISION, Devices, Precision, Resume, Workers


def finetune(
    model: Annotated[str, typer.Argument(help="Name of a model, or the folder of a model package.")],
    out: Annotated[Path, typer.Option("--out", help="The new model package to write, a folder.")],
    data: Annotated[
        list[Path],
        typer.Option("--data", help="Fully sampled scan or image, or a folder of them; repeatable."),
    ],
    anatomy: Annotated[
        str, typer.Option(help="What the scans show; needed unless the package knows one anatomy only.")
    ] = "",
    contrast: Annotated[str, typer.Option(help="Their contrast.")] = "any",
    subject: Annotated[
        str, typer.Option(help="Regular expression of the part of a file's name that tells whose it is.")
    ] = "",
    epochs: Annotated[int, typer.Option(min=1, help="How often each slice is shown, on average.")] = 30,
    learning_rate: Annotated[
        float | None, typer.Option(min=0, help="1e-5 unless told; 1e-3 for a new anatomy.")
    ] = None,
    max_minutes: Annotated[
        float | None, typer.Option(min=0, help="End the training after this time.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of masks and order.")] = 0,
    resume: Resume = False,
    precision: Precision = FULL_PRECISION,
    devices: Devices = 0,
    workers: Workers = 0,
    as_json: AsJson = False,
) -> None:
    """Adapt a network to fully sampled scans of your own; a few tens of slices do.

    Prints how good it is on held-out ones before and after, and where the new package lies. A network that
    became worse is not written, and the exit code is 1.
    """
    from pipelines.cli.training import chosen_run, print_trained, require_lightning

    require_lightning("finetune")
    from msgspec import json

    from pipelines.training_sources import raw_slices, site_source
    from recon_core.engine.manifest import TrainingData
    from recon_core.engine.package import load_package
    from recon_core.engine.store import ModelStore
    from recon_core.errors import InputError
    from recon_core.training.finetune import Tuning, finetune
    from recon_core.training.run import require_new
    from recon_core.training.sources import read_slices

    store = ModelStore.default()
    is_folder = model not in store.folders() and Path(model).is_dir()
    package = load_package(Path(model)) if is_folder else store.load(model)
    known = package.manifest.ranges.anatomies
    if not anatomy and len(known) != 1:
        raise InputError(
            f"finetune: expected --anatomy, of {', '.join(known)} or a new one, got none; name what is seen"
        )
    tuning = Tuning(learning_rate=learning_rate, epochs=epochs, max_minutes=max_minutes, seed=seed)
    text = json.encode(tuning).decode()
    run = chosen_run(out, text, text, resume, precision, devices, workers)
    require_new(run)
    sources = [site_source(path, data[0], anatomy or known[0], contrast, subject) for path in data]
    folders = [path if path.is_dir() else path.parent for path in data]
    slices = [
        found
        for source, folder in zip(sources, folders, strict=True)
        for found in read_slices([source], [folder], raw_slices)
    ]
    site = TrainingData(name=sources[0].name, terms=sources[0].terms, licence=sources[0].licence)
    print_trained(finetune(package, slices, site, tuning, run), "before", as_json)
