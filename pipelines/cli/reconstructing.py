"""What `recon` and `replay` share: scans in files to images in files. Imported when one of them runs."""

import logging
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from time import perf_counter

import ismrmrd
import msgspec

from gadgets.mrd_images import NOTE
from gadgets.study import Studies
from pipelines.cli.terminal import print_json, scan_progress
from pipelines.outputs import OUTPUTS, write_all
from pipelines.recipe import Recipe, recipe_by_name, recipe_from_file, shipped_recipes
from pipelines.reconstruction import reconstruct_scan
from pipelines.sources import open_scan
from pipelines.studies.chosen import chosen_studies
from recon_core.errors import InputError, RecipeError, ReconstreamError

_LOGGER = logging.getLogger("reconstream")


class Outcome(msgspec.Struct, kw_only=True):
    """What became of one scan."""

    scan: Path
    recipe: str = ""
    images: int = 0
    seconds: float = 0.0
    files: list[Path] = []
    notes: list[str] = []
    """What the images say about themselves: not whitened, lines missing, ..."""
    error: str | None = None


def chosen_recipe(name_or_file: str) -> Recipe:
    """A shipped recipe by its name, else the recipe in the file of that path. Raises RecipeError."""
    known = shipped_recipes()
    if name_or_file in known:
        return recipe_by_name(name_or_file)
    if Path(name_or_file).is_file():
        return recipe_from_file(Path(name_or_file))
    raise RecipeError(
        f"recipe '{name_or_file}': expected a TOML or XML file, or one of {', '.join(known)}; correct it"
    )


def with_settings(recipe: Recipe, settings: Sequence[str] | None) -> Recipe:
    """The recipe with each `Gadget.param=value` applied; a value is TOML, a bare word a string."""
    changed = recipe.with_parameters(dict(_setting(text) for text in settings or ()))
    _ = changed.gadgets  # raises RecipeError now, before any scan is read
    return changed


def _setting(text: str) -> tuple[str, object]:
    key, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--set: expected Gadget.param=value, got '{text}'; add the value")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def chosen_formats(text: str) -> list[str]:
    """The names of a comma-separated list of formats. Raises InputError on an unknown one."""
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in OUTPUTS]:
        raise InputError(f"--format: expected some of {', '.join(OUTPUTS)}, got '{unknown[0]}'; correct it")
    return names


def reconstruct_files(
    paths: Sequence[Path],
    recipe_of: Callable[[Path], Recipe],
    out: Path,
    formats: Sequence[str],
    as_json: bool,
    studies: str,
) -> bool:
    """Reconstruct every file, going on after a failure; whether all succeeded.

    Prints the files written, or all outcomes as JSON; failures go to stderr, one line each.
    """
    _require_distinct(paths)
    outcomes = [Outcome(scan=path) for path in paths]
    with chosen_studies(studies) as study:
        for outcome in outcomes:
            began = perf_counter()
            try:
                _reconstruct_file(outcome, recipe_of(outcome.scan), out, formats, study)
            except (ReconstreamError, OSError) as error:
                _LOGGER.debug("%s failed", outcome.scan, exc_info=error)
                outcome.error = str(error)
                where = "" if str(error).startswith(f"{outcome.scan}:") else f"{outcome.scan}: "
                print(f"reconstream: {where}{error}", file=sys.stderr)
            outcome.seconds = round(perf_counter() - began, 3)
            if not as_json:
                print(*outcome.files, sep="\n", end="\n" if outcome.files else "")
    if as_json:
        print_json(outcomes)
    return all(outcome.error is None for outcome in outcomes)


def _require_distinct(paths: Sequence[Path]) -> None:
    """Images are named after their scan, so two scans of one name would overwrite each other."""
    stems = [path.stem for path in paths]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise InputError(
            f"expected files of different names, got '{twice[0]}' twice; "
            "reconstruct them one after the other, into different directories"
        )


def _reconstruct_file(
    outcome: Outcome, recipe: Recipe, out: Path, formats: Sequence[str], study: Studies
) -> None:
    """Fill in the outcome while going; raises what stopped the reconstruction."""
    path, outcome.recipe = outcome.scan, recipe.name
    scan = open_scan(path)
    if out.resolve() == path.resolve().parent:
        raise InputError(
            f"--out {out}: expected another directory than the scan's own; its images could replace it"
        )
    logger = logging.LoggerAdapter(_LOGGER, {"scan": f"{path.name}: "})
    with scan_progress(path.name, path.stat().st_size) as progress:
        items = progress.reading(scan.items())
        images = reconstruct_scan(recipe, scan.header_xml, items, study=study, is_live=False, logger=logger)
        with closing(images):
            noted = _noted(outcome, progress.receiving(images))
            outcome.files = write_all(noted, out, path.stem, scan.header_xml, formats)
    outcome.images = progress.n_images


def _noted(outcome: Outcome, images: Iterable[ismrmrd.Image]) -> Iterator[ismrmrd.Image]:
    """`images`, their notes entered in the outcome."""
    for image in images:
        notes = image.meta.get(NOTE, [])
        outcome.notes += [n for n in ([notes] if isinstance(notes, str) else notes) if n not in outcome.notes]
        yield image
