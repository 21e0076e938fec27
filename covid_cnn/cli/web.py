"""``app``: the web app is started."""

import contextlib
import importlib.util
import os
import subprocess
import sys
from typing import Annotated

import typer

from covid_cnn.common import paths
from covid_cnn.common.errors import CovidCnnError


def start_app(
    address: Annotated[
        str,
        typer.Option(
            help="Where to listen; 0.0.0.0 lets every computer of the network in.", envvar="STREAMLIT_SERVER_ADDRESS"
        ),
    ] = "localhost",
    demo: Annotated[
        bool, typer.Option("--demo", help="For a class or a hosted page: visitors try, and change nothing.")
    ] = False,
    admin_token: Annotated[
        str, typer.Option(help="The key to all that visitors of a demo may not do; by default one is made and printed.")
    ] = "",
) -> None:
    """Open the web app: streamlit run streamlit_app.py, reachable from this computer alone unless asked otherwise.

    COVID_CNN_DEMO=1 and COVID_CNN_ADMIN_TOKEN do the same as the two options, and keep the key out of the list of
    processes.
    """
    if importlib.util.find_spec("streamlit") is None:
        raise CovidCnnError("The app needs Streamlit, which is not installed: run pip install 'covid-cnn[app]'.")
    command = [sys.executable, "-m", "streamlit", "run", str(paths.front_door()), f"--server.address={address}"]
    chosen = {"COVID_CNN_DEMO": "1" if demo else "", "COVID_CNN_ADMIN_TOKEN": admin_token}
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C ends the app, and that is all
        raise typer.Exit(
            subprocess.call(command, env=os.environ | {name: value for name, value in chosen.items() if value})
        )
