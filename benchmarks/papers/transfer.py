"""A network of natural images, fine-tuned to T1 heads with ever more of them (doi:10.1002/mrm.28148).

    python -m benchmarks.papers.transfer DATA OUT [--scale 5] [--matrix 96] [--estimate]

DATA is the folder of the images. The recipe is `calibrated_cascade`: sub-networks one after the other on
natural images, then end to end on some heads; "trained on heads" has seen no other images at all. All these
are of one subject, a block of whose slices is held out ("same subject"); "other subjects" are four slices
each of two, and the whole head of a third. L1-SPIRiT and wavelets have, for each rate, the regularisation
that is best on slices to learn from.
"""

from collections.abc import Sequence
from dataclasses import replace

import msgspec

from benchmarks.machine import write_results
from benchmarks.papers.anatomies import Sides
from benchmarks.papers.classical import tuned_methods
from benchmarks.papers.judging import (
    Scored,
    claims,
    held_out_batches,
    means,
    method_of,
    n_held,
    save_pictures,
    scored,
)
from benchmarks.papers.options import Options, shipped, told
from benchmarks.papers.stages import Stages
from gadgets.spirit import ACCELERATIONS, ITERATIONS
from recon_core.training.recipe import Stage, TrainingRecipe
from recon_core.training.slices import Slice
from recon_core.training.sources import Source, read_slices
from recon_core.training.split import split_slices

TARGET = "brain"
N_TUNED = (10, 20, 40, 60)
TUNED_EPOCHS = 12
"""In place of 100, of as many images each as there are steps."""
FASTER = 10
"""Times the recipe's learning rates, for there are few steps."""
N_CALIBRATION = 20
N_CLASSICAL = 3
"""Slices that classical methods are tuned on."""
OTHERS = (
    Source(
        name="other_head",
        files=("brain_multicontrast_t1_pd_mt.npz",),
        arrays="T1w",
        anatomy="other",
        licence="MIT",
        terms="permissive",
    ),
    Source(
        name="other_heads_3t",
        files=("brain_3t_*.npz",),
        arrays="T1",
        anatomy="other",
        licence="CC0",
        terms="permissive",
    ),
)
TUNED = {f"fine-tuned, {n}": f"tuned_{n}" for n in N_TUNED}
OF_STAGE = {"natural images only": "subnetwork_5", **TUNED, "trained on heads": "target_tuned"}
BEST = f"fine-tuned, {N_TUNED[-1]}"
ORDERINGS = {
    "fine-tuned, 60 above natural images only": (BEST, "natural images only"),
    "fine-tuned, 60 above 10": (BEST, f"fine-tuned, {N_TUNED[0]}"),
    "trained on heads above natural images only": ("trained on heads", "natural images only"),
    "trained on heads above fine-tuned, 60": ("trained on heads", BEST),
    "fine-tuned, 60 above L1-SPIRiT": (BEST, "L1-SPIRiT"),
    "L1-SPIRiT above wavelets": ("L1-SPIRiT", "wavelets"),
}


def main() -> None:
    options = told(__doc__, scale=5)
    sides = heads_and_natural_images(options)
    stages = Stages(recipe(options), sides.training, options)
    stages.print_estimate()
    if options.estimate:
        return
    stages.train()
    networks = {name: method_of(stages.network(stage)) for name, stage in OF_STAGE.items()}
    cases: dict[str, Scored] = {}
    regularisation: dict[str, dict[str, float]] = {}
    for rate, n_iterations in zip(ACCELERATIONS, ITERATIONS, strict=True):
        heads = [found for found in sides.training if found.anatomy == TARGET]
        (to_tune_on,) = held_out_batches(stages.recipe, heads, rate, N_CLASSICAL).values()
        weights, classical = tuned_methods(to_tune_on, n_iterations)
        regularisation[f"R = {rate}"] = weights
        methods = {**classical, **networks}
        shown = []
        for anatomy, batches in held_out_batches(stages.recipe, sides.held_out, rate, options.judged).items():
            whose = "same subject" if anatomy == TARGET else "other subjects"
            cases[f"{whose}, R = {rate}"] = scored(methods, batches)
            shown.append((methods, batches[len(batches) // 2]))
        save_pictures(options.out / f"transfer_R{rate}.png", shown, tuple(methods))
    write_results(
        "papers_transfer",
        {
            "scaled down": options.in_words,
            "data": sides.in_words,
            "values of the network": n_held(stages.network("subnetwork_5")),
            "regularisation": regularisation,
            "cases": {case: means(found) for case, found in cases.items()},
            "orderings": {
                whose: claims({c: f for c, f in cases.items() if c.startswith(whose)}, ORDERINGS)
                for whose in ("same subject", "other subjects")
            },
        },
    )


def recipe(options: Options) -> TrainingRecipe:
    """`calibrated_cascade`, its first five stages on heads too, and its last on ever more of them."""
    cascade = shipped("calibrated_cascade")
    change = msgspec.structs.replace
    *one_by_one, tuned = (
        change(stage, learning_rate=FASTER * stage.learning_rate) for stage in cascade.stages
    )
    tuned = change(tuned, epochs=TUNED_EPOCHS)
    natural, head = cascade.sources
    return change(
        cascade,
        sources=(natural, change(head, every=1), *OTHERS),
        split=change(cascade.split, fold=2),
        simulation=change(cascade.simulation, matrices=((options.matrix, options.matrix),), augment=False),
        sampling=change(cascade.sampling, calibration=(N_CALIBRATION,)),
        stages=(
            *one_by_one,
            *(_on_heads(stage) for stage in one_by_one),
            *(change(tuned, name=f"tuned_{n}", anatomies=(pool(n),)) for n in N_TUNED),
            _on_heads(tuned),
        ),
    )


def _on_heads(stage: Stage) -> Stage:
    start = stage.start and f"target_{stage.start}"
    return msgspec.structs.replace(stage, name=f"target_{stage.name}", start=start, anatomies=(TARGET,))


def pool(n_images: int) -> str:
    """What so many of the heads are called. The network has no use for an anatomy's name."""
    return f"{TARGET}_{n_images}"


def heads_and_natural_images(options: Options) -> Sides:
    """Natural images, all heads to learn from and some of them, and the heads that are held out."""
    made = recipe(options)
    learnt = [source for source in made.sources if source not in OTHERS]
    training, held_out = split_slices(read_slices(learnt, [options.data]), made.split)
    heads = [found for found in training if found.anatomy == TARGET]
    for n in N_TUNED:
        training += [replace(found, anatomy=pool(n)) for found in spread(heads, n)]
    return Sides(
        training=training,
        held_out=[
            *(found for found in held_out if found.anatomy == TARGET),
            *read_slices(OTHERS, [options.data]),
        ],
    )


def spread(slices: Sequence[Slice], n: int) -> list[Slice]:
    """So many of them, evenly."""
    return [slices[i * len(slices) // n] for i in range(n)]


if __name__ == "__main__":
    main()
