"""Every error Reconstream raises on purpose, as one tree.

::

    ReconstreamError              something the user can read and act on
    ├── InputError                the data or the parameters given cannot be used  (a ValueError too)
    │   ├── CalibrationError      no or too little data to calibrate coils from
    │   ├── StreamError           the bytes received are not a valid MRD stream
    │   ├── RecipeError           a recipe names or combines gadgets wrongly
    │   └── ModelError            a model package is damaged, incomplete or unknown
    ├── EngineError               a network gave no image; carries the model and the reason
    │   └── OutOfRange            the slices are none that the model was trained on
    ├── GadgetError               a gadget failed; carries recipe, gadget and scan counter
    └── SessionError              a peer vanished, timed out or refused the work

The message follows one form: *where: expected X, got Y; do Z.*
"""


class ReconstreamError(Exception):
    """Something the user can read and act on."""


class InputError(ReconstreamError, ValueError):
    """The data or the parameters given cannot be used."""


class CalibrationError(InputError):
    """There is no, or too little, data to calibrate the coils from."""


class StreamError(InputError):
    """The bytes received are not a valid MRD stream."""


class RecipeError(InputError):
    """A recipe names gadgets or parameters that do not exist, or combines gadgets that do not fit."""


class ModelError(InputError):
    """A model package is damaged, incomplete, not as its manifest says, or unknown."""


class EngineError(ReconstreamError):
    """A network gave no image that could be shown. `reason` says why in words for the image's meta."""

    def __init__(self, model: str, reason: str) -> None:
        self.model, self.reason = model, reason
        super().__init__(f"model '{model}': {reason}")


class OutOfRange(EngineError):  # noqa: N818 - an answer of the gate, which the fallback takes up
    """The slices lie outside what the model was trained on."""


class GadgetError(ReconstreamError):
    """A gadget failed while a recipe was running."""

    def __init__(
        self, recipe: str, gadget: str, scan_counter: int | None, where: str, reason: BaseException | str
    ) -> None:
        self.recipe, self.gadget, self.scan_counter = recipe, gadget, scan_counter
        reason = str(reason).removeprefix(f"{gadget}: ")  # many begin with the gadget's name themselves
        super().__init__(f"recipe '{recipe}', gadget {gadget}{where and f', {where}'}: {reason}")


class SessionError(ReconstreamError):
    """The peer vanished, timed out, or refused the work."""
