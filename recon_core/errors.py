"""Every error Reconstream raises on purpose, as one tree.

::

    ReconstreamError              something the user can read and act on
    ├── InputError                the data or the parameters given cannot be used  (a ValueError too)
    │   ├── CalibrationError      no or too little data to calibrate coils from
    │   ├── StreamError           the bytes received are not a valid MRD stream
    │   └── RecipeError           a recipe names or combines gadgets wrongly
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
