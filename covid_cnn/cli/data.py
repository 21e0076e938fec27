"""``data``: the datasets are listed, added and audited."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from covid_cnn.cli.options import Json
from covid_cnn.common import paths
from covid_cnn.common.errors import CovidCnnError

data_app = typer.Typer(help="List, add and audit datasets.", no_args_is_help=True)


@data_app.command("list")
def data_list() -> None:
    """List the datasets under data/."""
    from covid_cnn.data.dataset import discover_datasets
    from covid_cnn.reports import terminal

    found, problems = discover_datasets()
    for dataset in found:
        print(terminal.dataset_line(dataset))
    if not found:
        print(f"There is no dataset in {paths.data_dir()} yet: python -m covid_cnn data add synthetic draws one.")
    for problem in problems:
        print(problem, file=sys.stderr)


@data_app.command("add")
def data_add(
    source: Annotated[str, typer.Argument(help="A folder, a .zip, kaggle:owner/name, or synthetic.")],
    name: Annotated[str | None, typer.Option(help="What to call it; by default as its folder or file.")] = None,
    mapped: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="FINDING=CLASS",
            help="What a class folder or a finding is taken as; FINDING= leaves it out. May be given again and again.",
        ),
    ] = None,
    views: Annotated[list[str] | None, typer.Option("--view", help="A view to take; by default all frontal.")] = None,
    modalities: Annotated[
        list[str] | None, typer.Option("--modality", help="A modality to take; by default all but CT.")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Go on without asking, as is done where there is no terminal to ask at.")
    ] = False,
) -> None:
    """Add a dataset to data/, shown first as it is understood. Again it changes nothing; cut off, it goes on."""
    from covid_cnn.data import importer, metadata
    from covid_cnn.reports import terminal

    def choose(offer: importer.Offer) -> metadata.ClassMapping:
        choice = offer.sheet.chosen(dict(map(_mapping, mapped or [])), views, modalities)
        print(terminal.offer_text(offer, choice))
        if not yes and not sys.stdin.isatty():
            print("There is no terminal to ask at, so they are added as shown; --yes does not ask.", file=sys.stderr)
        elif not yes and not typer.confirm("Add these images?", default=True):
            raise CovidCnnError("Nothing was added: --map FINDING=CLASS changes what is taken, and as what.")
        return choice

    dataset, new = importer.add_dataset(source, name=name, progress=terminal.show_progress(), choose=choose)
    if new:
        print(f"Added {dataset.name}: {len(dataset.items)} images of {len(dataset.classes)} classes.")
    else:
        print(f"{dataset.name} is here already, with the same {len(dataset.items)} images: nothing was changed.")


def _mapping(text: str) -> tuple[str, str]:
    finding, equals, label = text.rpartition("=")
    if not equals:
        raise typer.BadParameter(f"{text} is no FINDING=CLASS.", param_hint="--map")
    return finding, label


@data_app.command("audit")
def data_audit(
    name: Annotated[str, typer.Argument(metavar="DATASET", help="A folder, or the name of a dataset under data/.")],
    as_json: Json = False,
    html: Annotated[Path | None, typer.Option(help="Write the report, with its images, as a page of HTML.")] = None,
) -> None:
    """Tell what is wrong with a dataset: duplicates, leaks, contradicted labels, shortcuts."""
    from covid_cnn.data import audit
    from covid_cnn.data.dataset import open_dataset
    from covid_cnn.reports import terminal
    from covid_cnn.reports.html import render_audit

    dataset = open_dataset(name)
    report = audit.audit_dataset(dataset, terminal.show_progress())
    if html:
        html.write_text(render_audit(report, dataset), encoding="utf-8")
    print(json.dumps(report.to_dict(), indent=2) if as_json else report)
