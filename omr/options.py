"""Options that mean the same in every command."""

from typing import Annotated, TypeAlias

import typer

AsJson: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print the result on stdout, for machines.")
]
Device: TypeAlias = Annotated[
    str, typer.Option(help="cpu, 0, 0,1 ...", show_default="the first GPU, or the CPU")
]
