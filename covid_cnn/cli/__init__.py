"""The command line: ``python -m covid_cnn``, a module a command.

Each command imports what it needs when it runs: predicting must start in a fraction of a second, and only ``train``
and ``models add`` may load TensorFlow.
"""

import io
import sys

import typer

import covid_cnn
from covid_cnn.cli.data import data_app
from covid_cnn.cli.evaluate import evaluate
from covid_cnn.cli.models import models_app
from covid_cnn.cli.predict import predict
from covid_cnn.cli.train import train
from covid_cnn.cli.web import start_app
from covid_cnn.common.errors import CovidCnnError

app = typer.Typer(help=covid_cnn.__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for command in (predict, train, evaluate):
    app.command()(command)
app.add_typer(models_app, name="models")
app.command(name="app")(start_app)
app.add_typer(data_app, name="data")


def main() -> None:
    """Run the command line. Whatever a user can cause ends in one sentence and exit status 1."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file name may have what the terminal cannot show
    try:
        app()
    except CovidCnnError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    except OSError as error:  # a place to write to that cannot be written
        place = f"{error.filename} cannot be used" if error.filename else "What was to be written cannot be"
        print(f"{place}: {error.strerror or error}.", file=sys.stderr)
        sys.exit(1)


@app.command()
def version() -> None:
    """Print the version."""
    print(covid_cnn.__version__)
