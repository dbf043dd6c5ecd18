"""A shipped network adapted to the scans of one site, and refused where that makes it worse."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec

from recon_core.engine.manifest import Manifest, Training, TrainingData
from recon_core.engine.package import ModelPackage, write_package
from recon_core.errors import InputError, ModelError
from recon_core.training.evaluation import Table, judged, mean_score, table
from recon_core.training.examples import Batch, Examples
from recon_core.training.learning import Learning
from recon_core.training.loop import fit
from recon_core.training.losses import Loss
from recon_core.training.packaging import adapted_manifest, seen_ranges
from recon_core.training.recipe import Stage
from recon_core.training.run import Run, device_name, is_first_process, prepare
from recon_core.training.sampling import Part, Pattern, Sampling
from recon_core.training.simulation import Simulation
from recon_core.training.slices import Slice
from recon_core.training.split import Split, split_slices
from recon_core.training.stage_network import spirit_kernel_width, trained_parameters
from recon_core.training.train import Trained

N_JUDGED = 32
N_WATCHED = 4


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """How a network is adapted. After Dar et al. 2020, doi:10.1002/mrm.28148."""

    learning_rate: float | None = None
    """1e-5 unless told; 1e-3 of the parameters of an anatomy that the network did not know."""
    epochs: int = 30
    batch_size: int = 2
    max_minutes: float | None = None
    seed: int = 0
    held_out: float = 0.25
    """Share of the subjects or, of a single one, of its slices."""


def finetune(
    package: ModelPackage, slices: Sequence[Slice], data: TrainingData, tuning: Tuning, run: Run
) -> list[Trained]:
    """Adapt a package's network to the slices of one anatomy, and write it as a package of its own.

    An anatomy that a network with a switch does not have is added, and its parameters alone are trained: what
    the network does of others stays as it is. Otherwise all parameters are trained, and the new package
    states no other anatomy than this one. "before" in the scores is the package's network, of one with a
    switch the anatomy of it that does best. Of several processes, the first alone returns the package.

    Raises ModelError, and writes nothing, where the mean of any metric over the held-out slices is worse than
    before. Raises InputError for slices of several anatomies, or too few of them.
    """
    anatomies = sorted({found.anatomy for found in slices})
    if len(anatomies) != 1:
        raise InputError(
            f"fine-tuning: expected slices of one anatomy, got {', '.join(anatomies) or 'none'}; "
            "tune to one after the other"
        )
    (anatomy,) = anatomies
    prepare(run)
    manifest, network = package.manifest, package.network()
    training, held_out = split_slices(slices, Split(held_out=tuning.held_out))
    examples = _examples(manifest, training, anatomy, "train", tuning)
    shown = judged(held_out, _examples(manifest, held_out, anatomy, "test", tuning), N_JUDGED)
    known: tuple[str, ...] = getattr(network, "anatomies", ())
    before = max((table(network, _seen_as(shown, a), ()) for a in known or (anatomy,)), key=_quality)
    is_new = bool(known) and anatomy not in known
    if is_new:
        network.add_anatomy(anatomy)  # type: ignore[operator]
    stage = _stage(tuning, is_new)
    minutes = fit(
        Learning(network, stage, trained_parameters(network, stage, (anatomy,)), {}),
        stage,
        examples,
        [batch for batches in shown.values() for batch in batches[:N_WATCHED]],
        run.folder,
        n_steps=max(1, len(training) // tuning.batch_size),
        run=run,
    )
    if not is_first_process():
        return []
    judgement = _beside(table(network, shown), before)
    _require_no_worse(judgement, package)
    contrasts = tuple(dict.fromkeys(found.contrast for found in slices))
    seen = seen_ranges(examples, (anatomy,), contrasts, manifest.ranges.masks)
    history = Training(
        recipe=f"{package.id}, fine-tuned: {msgspec.json.encode(tuning).decode()}",
        command=run.command,
        seed=tuning.seed,
        minutes=round(minutes, 2),
        device=device_name(),
        data=(*(d for d in manifest.training.data if d.name != data.name), data),
    )
    adapted = adapted_manifest(manifest, data.name, anatomy if is_new else None, seen, judgement, history)
    return [Trained(write_package(run.out, network, adapted), judgement)]


def _stage(tuning: Tuning, is_new: bool) -> Stage:
    return Stage(
        name="finetune",
        trains="specific" if is_new else "all",
        loss=Loss(mae=1.0, mse=1.0),
        learning_rate=tuning.learning_rate or (1e-3 if is_new else 1e-5),
        batch_size=tuning.batch_size,
        epochs=tuning.epochs,
        max_minutes=tuning.max_minutes,
    )


def _examples(
    manifest: Manifest, slices: Sequence[Slice], anatomy: str, part: Part, tuning: Tuning
) -> Examples:
    """Examples as far within the range of the package as the data allow."""
    ranges = manifest.ranges
    patterns = msgspec.convert(ranges.masks, tuple[Pattern, ...])
    offered, simulated = Sampling(), Simulation()
    if ranges.acceleration is None or ranges.n_coils is None:
        raise InputError(
            f"finetune: expected a model of undersampled slices, got '{manifest.name}' of feature maps; "
            "train a network for them"
        )
    low, high = ranges.acceleration
    n_low, n_high = ranges.n_coils
    m_low, m_high = ranges.matrix
    return Examples(
        slices,
        (anatomy,),
        Simulation(
            matrices=tuple(m for m in simulated.matrices if m_low <= min(m) and max(m) <= m_high)
            or ((m_high, m_high),),
            n_coils=tuple(n for n in simulated.n_coils if n_low <= n <= n_high) or (n_high,),
            augment=part == "train",
        ),
        Sampling(
            patterns=patterns,
            accelerations=tuple(a for a in offered.accelerations if low <= a <= high) or (high,),
        ),
        spirit_kernel_width=spirit_kernel_width(manifest.architecture),
        batch_size=tuning.batch_size,
        part=part,
        seed=tuning.seed,
    )


def _seen_as(shown: Mapping[str, Sequence[Batch]], anatomy: str) -> dict[str, list[Batch]]:
    return {source: [replace(b, anatomy=anatomy) for b in batches] for source, batches in shown.items()}


def _beside(judgement: Table, before: Table) -> Table:
    """The scores, with those of the network as it was."""
    for source, scores in judgement.items():
        for metric, methods in scores.items():
            methods["before"] = before[source][metric]["model"]
    return judgement


def _quality(judgement: Table) -> float:
    return mean_score(judgement, "psnr", "model")


def _require_no_worse(judgement: Table, package: ModelPackage) -> None:
    for metric, sign in (("psnr", 1), ("ssim", 1), ("nmse", -1)):
        before, after = (mean_score(judgement, metric, method) for method in ("before", "model"))
        if not sign * after >= sign * before:
            raise ModelError(
                f"fine-tuning of {package.id}: expected held-out slices no worse than before, got {metric} "
                f"{after:.6g} after {before:.6g}; no package was written: give more scans, or stay with the "
                "package as it is"
            )
