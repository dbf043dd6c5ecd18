"""The engine of a process: one for all its scans."""

import logging
import threading
from functools import cache

import torch

from pipelines.recipe import recipe_by_name, shipped_recipes
from recon_core.engine.engine import Engine
from recon_core.errors import EngineError, ModelError

_LOGGER = logging.getLogger("reconstream")
_MAKING = threading.Lock()


def device() -> torch.device:
    """Where scans are reconstructed."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def process_engine() -> Engine:
    """The engine of those who bring none: made when first asked for, there until the process ends."""
    with _MAKING:  # a cache alone lets two threads make one each
        return _made()


@cache
def _made() -> Engine:
    return Engine(device())


def warm_up(engine: Engine) -> None:
    """Load the shipped recipes' models and run each once; the log says of which that is not possible."""
    recipes = map(recipe_by_name, shipped_recipes())
    for model in dict.fromkeys(m for recipe in recipes for m in recipe.models):
        try:
            engine.warm_up(model)
            _LOGGER.info("model %s is ready", engine.package(model).id)
        except (EngineError, ModelError) as error:
            _LOGGER.warning("%s; recipes that use it fall back", error)
