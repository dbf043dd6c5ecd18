"""`reconstream doctor`: is this machine ready?"""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import DEFAULT_PORT, AsJson


def doctor(
    port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port that the server is to use.")
    ] = DEFAULT_PORT,
    journal: Annotated[Path, typer.Option(help="Directory that is to hold journals.")] = Path(),
    as_json: AsJson = False,
) -> None:
    """Check versions, clashes of package names, GPU, port and disk.

    The exit code is 1 when something would keep a reconstruction from running.
    """
    from pipelines.cli.terminal import print_json
    from pipelines.doctor import examine

    findings = examine(port, journal)
    if as_json:
        print_json(findings)
    else:
        for finding in findings:
            print(f"{finding.verdict:4}  {finding.subject:10}  {finding.text}")
    if any(finding.verdict == "bad" for finding in findings):
        raise typer.Exit(1)
