"""Independent networks, a shared one, and one with instance norms of each anatomy (arXiv:2103.05214).

    python -m benchmarks.papers.universal DATA OUT [--scale 8] [--matrix 96] [--estimate]

DATA is the folder of the images. The recipe is `d5c5_aspin`: brain and abdomen (knee in the paper) make the
universal network, heart and prostate, of which there are few slices, are added to it by their own
norms alone. "ASPIN, longer" is not in the paper: trained on for as many steps as distillation takes, without
a teacher, so that what distillation gains is not a matter of time.
"""

from collections.abc import Mapping, Sequence

import msgspec
import torch

from benchmarks.machine import write_results
from benchmarks.papers.anatomies import HEAD, PROSTATE, SOURCES, as_in_the_papers, sides_of
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
from recon_core.training.examples import Batch
from recon_core.training.losses import Loss
from recon_core.training.recipe import TrainingRecipe

BASE, NEW = ("brain", "abdomen"), ("cardiac", "prostate")
UNIVERSAL = {"ASPIN": "universal", "ASPIN, longer": "longer", "ASPIN, distilled": "distilled"}
RATES = (4, 6)
ORDERINGS = {
    "Independent above Shared": ("Independent", "Shared"),
    "ASPIN above Shared": ("ASPIN", "Shared"),
    "ASPIN above Independent": ("ASPIN", "Independent"),
    "distilled above ASPIN": ("ASPIN, distilled", "ASPIN"),
    "distilled above ASPIN, longer": ("ASPIN, distilled", "ASPIN, longer"),
    "distilled above Independent": ("ASPIN, distilled", "Independent"),
}


def main() -> None:
    options = told(__doc__, scale=8)
    sides = sides_of((*SOURCES, PROSTATE), options)
    stages = Stages(recipe(options), sides.training, options)
    stages.print_estimate()
    if options.estimate:
        return
    stages.train()
    cases: dict[str, Scored] = {}
    unchanged: dict[str, str] = {}
    for rate in RATES:
        held_out = held_out_batches(stages.recipe, sides.held_out, rate, options.judged)
        shown = []
        for anatomy, batches in held_out.items():
            methods = methods_for(anatomy, stages)
            cases[f"{rate}x, {anatomy}"] = scored(methods, batches)
            shown.append((methods, batches[len(batches) // 2]))
        save_pictures(options.out / f"universal_{rate}x.png", shown, tuple(shown[0][0]))
        for new in NEW:
            known = [batch for anatomy in BASE for batch in held_out[anatomy]]
            unchanged[f"{rate}x, {new} added"] = same_images(stages, f"distilled_{new}", known)
    write_results(
        "papers_universal",
        {
            "scaled down": options.in_words,
            "data": sides.in_words,
            "values of the networks": {
                "D5C5": n_held(stages.network("shared")),
                "two anatomies": n_held(stages.network("universal")),
                "three anatomies": n_held(stages.network(f"universal_{NEW[0]}")),
            },
            "cases": {case: means(found) for case, found in cases.items()},
            "orderings": {
                kind: claims({c: f for c, f in cases.items() if c.endswith(anatomies)}, ORDERINGS)
                for kind, anatomies in {"known anatomies": BASE, "new anatomies": NEW}.items()
            },
            "slices of known anatomies that a new one leaves bit for bit the same": unchanged,
        },
    )


def recipe(options: Options) -> TrainingRecipe:
    """`d5c5_aspin`, with networks of its own for every anatomy, a shared one, and two new anatomies."""
    aspin = shipped("d5c5_aspin")
    by_name = {stage.name: stage for stage in aspin.stages}
    change = msgspec.structs.replace
    alone, universal, added = (by_name[name] for name in ("independent_brain", "universal", "cardiac"))
    stages = [
        *(change(alone, name=f"independent_{anatomy}", anatomies=(anatomy,)) for anatomy in (*BASE, *NEW)),
        change(universal, name="shared", config=alone.config),
        universal,
        by_name["distilled"],
        change(by_name["distilled"], name="longer", teachers={}, loss=Loss(mae=1.0)),
    ]
    for start in UNIVERSAL.values():
        for anatomy in NEW:
            config = {"anatomies": [*BASE, anatomy]}
            stages.append(
                change(added, name=f"{start}_{anatomy}", start=start, anatomies=(anatomy,), config=config)
            )
    made = change(aspin, sources=(*SOURCES, HEAD, PROSTATE), stages=tuple(stages))
    return as_in_the_papers(made, options)


def methods_for(anatomy: str, stages: Stages) -> Mapping[str, Method]:
    """Every method, with the norms of the anatomy where it has some."""
    added = f"_{anatomy}" if anatomy in NEW else ""
    of_stage = {
        "Independent": f"independent_{anatomy}",
        "Shared": "shared",
        **{name: f"{stage}{added}" for name, stage in UNIVERSAL.items()},
    }
    return {
        "zero-filled": zero_filled,
        **{name: method_of(stages.network(stage)) for name, stage in of_stage.items()},
    }


def same_images(stages: Stages, added: str, batches: Sequence[Batch]) -> str:
    """How many images of anatomies that were there before are the same with a new one, bit for bit."""
    before, after = method_of(stages.network("distilled")), method_of(stages.network(added))
    n_same = sum(torch.equal(before(batch), after(batch)) for batch in batches)
    return f"{n_same} of {len(batches)}"


if __name__ == "__main__":
    main()
