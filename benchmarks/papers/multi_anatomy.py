"""One anatomy one network, one network for all, and one with parts for each anatomy (MAPN, arXiv:2206.07364).

    python -m benchmarks.papers.multi_anatomy DATA OUT [--scale 10] [--matrix 64] [--estimate]

DATA is the folder of the images. The recipes are `dccnn_oaon` and `dccnn_mapn`, once more with a U-Net in
place of the DCCNN; brain, abdomen and heart where the paper has knee, brain and heart. "MAON, longer" is not
in the paper: it is trained on from MAON for as many steps as the anatomies' own learners are, so that what
these gain is not a matter of time.
"""

from collections.abc import Mapping

import msgspec

from benchmarks.machine import write_results
from benchmarks.papers.anatomies import HEAD, SOURCES, as_in_the_papers, sides_of
from benchmarks.papers.judging import (
    Method,
    Scored,
    claims,
    held_out_batches,
    means,
    method_of,
    n_held,
    save_pictures,
    scored,
    zero_filled,
)
from benchmarks.papers.options import Options, shipped, told
from benchmarks.papers.stages import Stages
from recon_core.training.recipe import Net, Stage, TrainingRecipe

ARCHITECTURES = {"dccnn": "DCCNN", "unet": "U-Net"}
LEARNERS = ("pn1", "pn2", "pn3", "pn4")
RATES = (4, 6)
LEARNING_RATE = 2e-3
"""A fifth of the paper's, with which a few hundred steps of two slices leave some images far off."""
PICTURED = ("zero-filled", "OAON", "MAON", "MAPN PN1", "MAPN PN4")
ORDERINGS = {
    "OAON above MAON": ("OAON", "MAON"),
    **{f"MAPN {learner.upper()} above MAON": (f"MAPN {learner.upper()}", "MAON") for learner in LEARNERS},
    **{f"MAPN {learner.upper()} above OAON": (f"MAPN {learner.upper()}", "OAON") for learner in LEARNERS},
    "MAON above MAON with PN4": ("MAON", "MAON with PN4"),
    "MAPN PN4 above MAON with PN4": ("MAPN PN4", "MAON with PN4"),
    "MAPN PN4 above MAON, longer": ("MAPN PN4", "MAON, longer"),
}


def main() -> None:
    options = told(__doc__, scale=10, matrix=64)
    sides = sides_of(SOURCES, options)
    every = {a: Stages(recipe(a, options), sides.training, options) for a in ARCHITECTURES}
    for stages in every.values():
        stages.print_estimate()
    if options.estimate:
        return
    cases: dict[str, Scored] = {}
    for architecture, name in ARCHITECTURES.items():
        stages = every[architecture]
        stages.train()
        for rate in RATES:
            held_out = held_out_batches(stages.recipe, sides.held_out, rate, options.judged)
            shown = []
            for anatomy, batches in held_out.items():
                methods = methods_for(anatomy, stages)
                cases[f"{name}, {rate}x, {anatomy}"] = scored(methods, batches)
                shown.append((methods, batches[len(batches) // 2]))
            save_pictures(options.out / f"multi_anatomy_{architecture}_{rate}x.png", shown, PICTURED)
    write_results(
        "papers_multi_anatomy",
        {
            "scaled down": options.in_words,
            "data": sides.in_words,
            "values of the networks": {
                f"{ARCHITECTURES[architecture]}, {name}": n_held(stages.network(stage))
                for architecture, stages in every.items()
                for name, stage in universal_stages().items()
            },
            "cases": {case: means(found) for case, found in cases.items()},
            "orderings": {
                name: claims({c: f for c, f in cases.items() if c.startswith(name)}, ORDERINGS)
                for name in ARCHITECTURES.values()
            },
        },
    )


def recipe(architecture: str, options: Options) -> TrainingRecipe:
    """`dccnn_mapn` with every learner, and the stages of `dccnn_oaon`."""
    mapn = shipped("dccnn_mapn")
    mixed, warm_up, everything = mapn.stages
    stages = [
        *(_changed(stage, config=mixed.config) for stage in shipped("dccnn_oaon").stages),
        _changed(mixed),
        _changed(mixed, name="mixed_longer", start="mixed"),
        _changed(mixed, name="mixed_pn4", config={"learner": "pn4_shared", "anatomies": []}),
    ]
    for learner in LEARNERS:
        own = {"learner": learner}
        stages += [
            _changed(warm_up, name=f"{learner}_warm_up", config=own),
            _changed(everything, name=learner, start=f"{learner}_warm_up", config=own),
        ]
    made = msgspec.structs.replace(
        mapn,
        network=Net(architecture=architecture, config=mapn.network.config),
        sources=(*SOURCES, HEAD),
        stages=tuple(stages),
    )
    return as_in_the_papers(made, options)


def universal_stages() -> dict[str, str]:
    """The stage of each method that has one network for all anatomies."""
    return {
        "MAON": "mixed",
        "MAON, longer": "mixed_longer",
        "MAON with PN4": "mixed_pn4",
        **{f"MAPN {learner.upper()}": learner for learner in LEARNERS},
    }


def methods_for(anatomy: str, stages: Stages) -> Mapping[str, Method]:
    """Every method, the other anatomies' own networks last."""
    others = [other for other in stages.recipe.anatomies if other != anatomy]
    of_stage = {
        "OAON": anatomy,
        **universal_stages(),
        **{f"OAON of {other}": other for other in others},
    }
    return {
        "zero-filled": zero_filled,
        **{name: method_of(stages.network(stage)) for name, stage in of_stage.items()},
    }


def _changed(stage: Stage, **changes: object) -> Stage:
    return msgspec.structs.replace(stage, ships=False, learning_rate=LEARNING_RATE, **changes)


if __name__ == "__main__":
    main()
