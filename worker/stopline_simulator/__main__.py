"""`python -m stopline_simulator`: what `stopline simulate-api` runs."""

import typer

from stopline_simulator.api import main

if __name__ == "__main__":
    cli = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    cli.command()(main)
    cli()
