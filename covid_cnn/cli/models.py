"""``models``: the models are listed, one's own network is added, and a model is exported for other programs."""

import contextlib
import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from covid_cnn.cli.options import Json
from covid_cnn.common.errors import CovidCnnError

if TYPE_CHECKING:
    from covid_cnn.evaluation.own_network import OwnNetwork

models_app = typer.Typer(help="List the models, add a network of your own, export one for other programs.")


@models_app.callback(invoke_without_command=True)
def models(context: typer.Context, as_json: Json = False) -> None:
    """List the models: name, classes, training data, headline metrics. Commands add and export them."""
    if context.invoked_subcommand:
        return
    from covid_cnn.evaluation import metrics
    from covid_cnn.models.bundle import discover_bundles

    found, problems = discover_bundles()
    if as_json:
        keys = ("name", "network", "classes", "training_data", "metrics")
        rows = [{key: getattr(info, key) for key in keys} | {"name": name} for name, info in found.items()]
        print(json.dumps(msgspec.to_builtins(rows), indent=2))
    else:
        for name, info in found.items():
            print(f"{name}: {', '.join(info.classes)}; trained on {info.training_data.name}")
            if report := info.metrics.test:
                for title, interval in metrics.metric_rows(report)[:3]:
                    print(f"    {title}: {interval or 'undefined'}")
        if not found:
            print("There is no model yet: python -m covid_cnn train makes one.")
    for problem in problems:
        print(problem, file=sys.stderr)


@models_app.command("add")
def models_add(
    file: Annotated[Path, typer.Argument(help="A .keras, .h5 or .tflite file, or the folder of a SavedModel.")],
    name: Annotated[str | None, typer.Option(help="What to call the model; by default as its file.")] = None,
    classes: Annotated[
        str | None,
        typer.Option(help="Names of its classes, with commas, in the order of its answers; of a sigmoid 0,1."),
    ] = None,
    data: Annotated[
        str, typer.Option(help="The dataset that it learned from: finds its scale, and what is unlike it.")
    ] = "",
    scale: Annotated[
        str | None, typer.Option(help="What it wants of pixels: 255, none, -1..1, imagenet, caffe or 225.")
    ] = None,
    last: Annotated[
        str | None, typer.Option(help="What makes probabilities of its answers: sigmoid, softmax or none.")
    ] = None,
    size: Annotated[str | None, typer.Option(help="Of its images, such as 224x160, if the file is open.")] = None,
    output: Annotated[str | None, typer.Option(help="Which of its outputs, if it has several.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Take every guess without asking.")] = False,
) -> None:
    """Put a network of your own under question: it becomes a model like any other. Its file is run as no code."""
    from covid_cnn.data.dataset import open_dataset, reference
    from covid_cnn.evaluation import own_network
    from covid_cnn.reports import terminal

    if last not in (None, "sigmoid", "softmax", "none"):
        raise typer.BadParameter("Choose sigmoid, softmax or none.", param_hint="--last")
    asking = sys.stdin.isatty() and not yes
    dataset = open_dataset(data) if data else None
    network = own_network.read_network(file, _size(size), output)
    print(network.describe())
    named = _classes(network, classes, list(dataset.classes) if dataset else None, asking)
    examples = own_network.dataset_examples(dataset) if dataset else own_network.sample_examples()
    last = "" if last == "none" else last
    trials = own_network.try_scales(network, examples, named, last, bool(dataset), terminal.show_progress())
    print(terminal.trials_text(trials, examples, named))
    best = trials[0].scale
    scale = scale or (typer.prompt("How were its images scaled?", default=best) if asking else best)
    if scale not in own_network.SCALES:
        raise typer.BadParameter(f"Choose one of {', '.join(own_network.SCALES)}.", param_hint="--scale")
    end = next(trial.last for trial in trials if trial.scale == scale)
    name = name or own_network.free_name(file.name)
    choice = own_network.Choice(name, named, scale, end, reference(data) if data else "")
    added = own_network.add_network(network, choice, terminal.show_progress())
    print(own_network.describe_added(added))
    print(f"Choose it in the app, or python -m covid_cnn predict IMAGE --model {added}.")
    print(f"The same again: {own_network.command(network, choice)}")


@models_app.command("export")
def models_export(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="The command models lists them.")],
    to: Annotated[str, typer.Option(help="keras, savedmodel, tflite or onnx.")] = "tflite",
    out: Annotated[Path | None, typer.Option(help="Where to; by default here, called as the model.")] = None,
) -> None:
    """Write a model for other programs, so that nobody is locked in."""
    if to not in ("keras", "savedmodel", "tflite", "onnx"):
        raise typer.BadParameter("Choose keras, savedmodel, tflite or onnx.", param_hint="--to")
    if to != "tflite" and importlib.util.find_spec("tensorflow") is None:
        raise CovidCnnError("TensorFlow writes it, and is not installed: run pip install 'covid-cnn[train]'.")
    with _quiet():
        from covid_cnn.training import formats

        written = formats.export_model(name, to, out)
    print(f"Wrote {written}.")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep back what libraries in C++ and their processes print while they work: none of it is of use to anybody."""
    sys.stderr.flush()
    held = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(held, 2)
        os.close(held)


def _size(text: str | None) -> tuple[int, int] | None:
    if not text:
        return None
    sides = text.lower().split("x")
    if not all(side.isdigit() and 8 <= int(side) <= 2048 for side in sides) or len(sides) > 2:
        raise typer.BadParameter("A size is 224, or 224x160 for height and width.", param_hint="--size")
    return int(sides[0]), int(sides[-1])


def _classes(network: "OwnNetwork", given: str | None, guess: list[str] | None, asking: bool) -> tuple[str, ...]:
    """The names of the classes in order, as given, guessed or asked for."""
    fits = guess if guess and len(guess) == network.classes else None
    if not given and asking:
        given = typer.prompt("Its classes, in the order of its answers", default=",".join(fits) if fits else None)
    if not given and not fits:
        raise CovidCnnError(
            f"This network tells {network.classes} classes apart, and its file does not name them: give --classes "
            "NORMAL,PNEUMONIA, in the order of its answers (Keras sorts the folders by name)."
        )
    named = tuple(one.strip() for one in given.split(",")) if given else tuple(fits or ())
    if len(named) != network.classes:
        raise CovidCnnError(f"This network tells {network.classes} classes apart; {', '.join(named)} are {len(named)}.")
    return named
