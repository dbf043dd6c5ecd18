"""Options that `train` and `finetune` share."""

from typing import Annotated

import typer

Resume = Annotated[bool, typer.Option("--resume", help="Go on with a training that was interrupted.")]
Precision = Annotated[str, typer.Option(help="32-true, bf16-mixed or 16-mixed.")]
Devices = Annotated[int, typer.Option(min=0, help="GPUs, or processes on a CPU; 0 for all GPUs there are.")]
Workers = Annotated[int, typer.Option(min=0, help="Processes that make examples.")]
FULL_PRECISION = "32-true"
