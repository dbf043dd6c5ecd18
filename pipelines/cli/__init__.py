"""The `reconstream` command: one file each command, whose heavy imports wait until it runs."""

import logging
import os
import sys
from importlib.metadata import version
from types import TracebackType
from typing import Annotated

import typer

from pipelines.cli.anonymize import anonymize
from pipelines.cli.demo import demo
from pipelines.cli.doctor import doctor
from pipelines.cli.finetune import finetune
from pipelines.cli.gadgets import app as gadgets_app
from pipelines.cli.importing import import_
from pipelines.cli.inspecting import inspect
from pipelines.cli.models import app as models_app
from pipelines.cli.recipes import app as recipes_app
from pipelines.cli.recon import recon
from pipelines.cli.replay import replay
from pipelines.cli.send import send
from pipelines.cli.send_dicom import send_dicom
from pipelines.cli.serve import serve
from pipelines.cli.simulate import app as simulate_app
from pipelines.cli.studies import app as studies_app
from pipelines.cli.terminal import StderrHandler
from pipelines.cli.train import train
from pipelines.process import prepare_process
from recon_core.errors import ReconstreamError

app = typer.Typer(
    name="reconstream",
    help="MRI reconstruction: ISMRMRD readouts in, images out, inline or offline.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(recon)
app.command()(serve)
app.command()(send)
app.command()(send_dicom)
app.command()(replay)
app.command()(inspect)
app.add_typer(recipes_app, name="recipes")
app.add_typer(gadgets_app, name="gadgets")
app.add_typer(models_app, name="models")
app.add_typer(studies_app, name="studies")
app.command()(train)
app.command()(finetune)
app.command("import")(import_)
app.command()(anonymize)
app.add_typer(simulate_app, name="simulate")
app.command()(doctor)
app.command()(demo)

DEBUG_VARIABLE = "RECONSTREAM_DEBUG"


def _print_version(is_asked: bool) -> None:
    if is_asked:
        print(f"reconstream {version('reconstream')}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[
        bool,
        typer.Option("--debug", envvar=DEBUG_VARIABLE, help="Log everything, and show where errors arose."),
    ] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """MRI reconstruction: ISMRMRD readouts in, images out, inline or offline."""
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"
    handler = StderrHandler()
    handler.setFormatter(
        logging.Formatter("%(asctime)s %(levelname)s %(scan)s%(message)s", defaults={"scan": ""})
    )
    logging.basicConfig(handlers=[handler])
    logging.getLogger("reconstream").setLevel(logging.DEBUG if debug else logging.WARNING)


def main() -> None:
    """Run the command. A failure is one line on stderr and exit code 1; only with `--debug` a traceback."""
    sys.excepthook = _report_bug
    prepare_process()
    try:
        typer.main.get_command(app)()  # called itself, `app` would put its own hook in place of ours
    except (ReconstreamError, OSError) as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        print(f"reconstream: {error}", file=sys.stderr)
        sys.exit(1)


def _report_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if os.environ.get(DEBUG_VARIABLE):
        sys.__excepthook__(kind, error, trace)
    else:
        print(
            f"reconstream: internal error: {kind.__name__}: {error}; `reconstream --debug` shows where",
            file=sys.stderr,
        )
