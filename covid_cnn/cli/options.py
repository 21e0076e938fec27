"""Options that several commands take."""

from typing import Annotated

import typer

Model = Annotated[str, typer.Option("--model", help="Name of a model; the command models lists them.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
