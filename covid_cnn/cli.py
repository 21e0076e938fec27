"""The command line: ``python -m covid_cnn``.

Each command imports what it needs when it runs: predicting must start in a fraction of a second, and only ``train``
may load TensorFlow.
"""

import contextlib
import importlib.util
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import covid_cnn
from covid_cnn import __version__
from covid_cnn.common import paths
from covid_cnn.common.errors import CovidCnnError, RunError
from covid_cnn.models.bundle import DEFAULT_MODEL, Bundle
from covid_cnn.runs.config import RECIPES

if TYPE_CHECKING:
    from covid_cnn.images import sources
    from covid_cnn.models.batch import Row
    from covid_cnn.runs.run import Run


app = typer.Typer(help=covid_cnn.__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
data_app = typer.Typer(help="List, add and audit datasets.", no_args_is_help=True)
app.add_typer(data_app, name="data")
Model = Annotated[str, typer.Option("--model", help="Name of a model; the command models lists them.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


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
        print(f"{error.filename} cannot be used: {error.strerror}.", file=sys.stderr)
        sys.exit(1)


@app.command()
def predict(
    files: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Images, or folders or .zip files of them.")],
    model: Model = DEFAULT_MODEL,
    as_json: Json = False,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write a table, one row an image.")] = None,
    heatmaps: Annotated[Path | None, typer.Option(help="Write the Grad-CAM overlays into this folder.")] = None,
) -> None:
    """Predict and explain radiographs. Exit status 1 when a file could not be read; the others are done."""
    from covid_cnn.images import sources
    from covid_cnn.models.bundle import load_bundle

    if as_json and csv_file:
        raise typer.BadParameter("Give either --json or --csv.")
    bundle = load_bundle(model)
    with contextlib.ExitStack() as archives:
        choice = sources.select(files, archives.enter_context)
        if not choice.images:
            raise CovidCnnError(f"There is no image in {files[0]}: choose an image, or a folder that holds some.")
        if choice.left_out:
            print(choice.told(), file=sys.stderr)
        _answer(bundle, choice.images, as_json, csv_file, heatmaps)


def _answer(
    bundle: Bundle, found: list["sources.SelectedImage"], as_json: bool, csv_file: Path | None, heatmaps: Path | None
) -> None:
    """Predict, write the rows in the form that was asked for, and exit as they say."""
    from covid_cnn.models import batch

    rows = _Rows(batch.predict_rows(bundle, found, heatmaps), len(found), shown=as_json or csv_file is not None)
    if csv_file:
        # A path that is no Unicode is written byte for byte. Each line is written at once, so that whatever ends the
        # program leaves a table of what is done.
        with csv_file.open("w", buffering=1, newline="", encoding="utf-8", errors="surrogateescape") as opened:
            batch.write_csv(opened, bundle, rows)
    elif as_json:
        print(json.dumps(list(rows), indent=2))
    else:
        from covid_cnn.reports import terminal

        print("Research and teaching only. Not for diagnosis.", file=sys.stderr)
        for row in rows:
            print(terminal.prediction_line(row, bundle.classes))
    if rows.interrupted:
        print(f"Stopped after {rows.done} of {len(found)} images; what is done is kept.", file=sys.stderr)
        raise typer.Exit(130)
    if rows.errors:
        raise typer.Exit(1)


class _Rows:
    """The rows one by one, so that memory stays flat, with their progress. Ctrl-C ends them early."""

    def __init__(self, rows: Iterator["Row"], total: int, shown: bool) -> None:
        self._rows, self._total = rows, total
        self._hidden = not shown or not sys.stderr.isatty()
        self.done, self.errors, self.interrupted = 0, 0, False

    def __iter__(self) -> Iterator["Row"]:
        bar = typer.progressbar(self._rows, self._total, "Images", self._hidden, show_pos=True, file=sys.stderr)
        try:
            with bar:
                for row in bar:
                    self.errors += bool(row["error"])
                    yield row
                    self.done += 1
        except KeyboardInterrupt:
            self.interrupted = True


@app.command()
def train(
    data: Annotated[str | None, typer.Option(help="Dataset: a folder, or the name of one under data/.")] = None,
    network: Annotated[
        str, typer.Option(help=f"One of {', '.join(RECIPES)}, or another of keras.applications, such as VGG16.")
    ] = "efficientnet_lite0",
    learns: Annotated[
        str | None,
        typer.Option(help="What learns: last (the last layer), all (the whole network), scratch (all, from chance)."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="How often all images are seen.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of Adam; the highest where it changes.")] = None,
    base_rate: Annotated[
        float | None, typer.Option(help="With --learns all: the share of the learning rate that the base gets.")
    ] = None,
    schedule: Annotated[
        str | None, typer.Option(help="Of the learning rate: constant, or cosine, which falls to 0.")
    ] = None,
    warm_up: Annotated[int | None, typer.Option(help="Epochs in which the learning rate rises first; 0: none.")] = None,
    augmentation: Annotated[str | None, typer.Option(help="none, mirror, notebook, radiograph or hospitals.")] = None,
    mixup: Annotated[
        float | None, typer.Option(help="Alpha, such as 0.2, of images laid over others; 0: none.")
    ] = None,
    label_smoothing: Annotated[
        float | None, typer.Option(help="Share of every target, such as 0.1, spread over all classes.")
    ] = None,
    balance: Annotated[
        str | None, typer.Option(help="Classes of unequal size: none, weights (of the loss), or sampling.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, order, augmentation and splits.")] = None,
    patience: Annotated[
        int | None, typer.Option(help="Epochs without a lower validation loss that end it early; 0: none.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the run, and of the model it exports.")] = None,
    resume: Annotated[str | None, typer.Option(metavar="RUN", help="Go on with this run.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress; log.txt of the run tells all.")] = False,
) -> None:
    """Train a network and export it as a model. Ctrl-C stops it and keeps the best epoch so far."""
    from covid_cnn.data.dataset import open_dataset, reference
    from covid_cnn.runs.config import TrainConfig
    from covid_cnn.runs.run import create_run, open_run

    if (data is None) == (resume is None):
        raise typer.BadParameter("Give either --data or --resume.")
    if data is not None:
        open_dataset(data).check_trainable()
        chosen = {
            "learns": learns,
            "epochs": epochs,
            "batch_size": batch_size,
            "learning_rate": learning_rate,
            "base_rate": base_rate,
            "schedule": schedule,
            "warm_up": warm_up,
            "augmentation": augmentation,
            "mixup": mixup,
            "label_smoothing": label_smoothing,
            "balance": balance,
            "seed": seed,
            "patience": patience,
        }
        config = TrainConfig.of(reference(data), network, **chosen)
        # What equals the recipe does no harm: commands of older model cards name every setting.
        changed = [key for key, value in chosen.items() if value not in (None, getattr(config.recipe, key, value))]
        without = [f"--{key.replace('_', '-')}" for key in changed if key not in config.active_settings]
        if without:
            raise RunError(f"Leave out {', '.join(without)}: nothing in how {network} learns here hangs on that.")
        run = create_run(config, name)
    else:
        run = open_run(str(resume))
    if not quiet:
        from covid_cnn.reports import terminal

        run.forget_stop()
        run.listener = terminal.TrainingProgress(run.name)
    _fit(run)


def _fit(run: "Run") -> None:
    """Train a run in this process, once the machine can carry it."""
    from covid_cnn.runs.run import STARTING_TENSORFLOW, interruptible

    try:
        with interruptible(run):
            run.begin()
            run.log(STARTING_TENSORFLOW)
            from covid_cnn.training import trainer
    except KeyboardInterrupt:
        run.append("stopped", message="Stopped before it had learned anything.")
        return
    except ImportError as error:
        message = (
            f"TensorFlow cannot be loaded ({error}): run pip install 'covid-cnn[train]', or install requirements.txt."
        )
        run.append("failed", message=message)
        raise RunError(message) from error
    trainer.train_run(run)


@app.command()
def evaluate(
    data: Annotated[list[str], typer.Option(help="Dataset: a folder, or the name of one under data/. Again: another.")],
    split: Annotated[str, typer.Option(help="train, val, test, or all.")] = "test",
    model: Annotated[
        list[str] | None, typer.Option(help="Name of a model; the command models lists them. Again: another.")
    ] = None,
    question: Annotated[
        str | None,
        typer.Option(help="classes: each of the model's; positive: the one it looks for or not; ill: ill or healthy."),
    ] = None,
    threshold: Annotated[float | None, typer.Option(help="Yes from this probability on, in place of the own.")] = None,
    prevalence: Annotated[
        float | None, typer.Option(help="Also tell the predictive values where this share of people is positive.")
    ] = None,
    unseen: Annotated[bool, typer.Option("--unseen", help="Leave out what the model has learned from.")] = False,
    as_json: Json = False,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write the tables of a comparison.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the report of a question as a page of HTML.")] = None,
    record: Annotated[str | None, typer.Option(metavar="TITLE", help="Keep the result in the model's card.")] = None,
) -> None:
    """Test a model on a dataset: metrics with 95 % intervals. The answers are kept; once stopped, it goes on.

    With several models or datasets it compares them, as "Home and away" on the Evaluate page: by default the question
    is ill or healthy, and what a model has learned from is left out for it.
    """
    models, places = list(dict.fromkeys(model or [DEFAULT_MODEL])), list(dict.fromkeys(data))
    several = len(models) * len(places) > 1
    one_only = {"--threshold": threshold, "--prevalence": prevalence, "--html": html, "--record": record}
    _check_evaluation(several, question, {name for name, value in one_only.items() if value is not None}, prevalence)
    if csv_file and not several:
        raise typer.BadParameter("--csv is for a comparison: give several --model or several --data.")
    if several:
        _compare(models, places, split, question or "ill", as_json, csv_file)
        return
    from covid_cnn.evaluation import evaluate as evaluation
    from covid_cnn.models import bundle as bundles

    bundle, images = bundles.load_bundle(models[0]), evaluation.select_images(places[0], split)
    done = evaluation.evaluate_model(bundle, images, question or "classes", threshold, prevalence, unseen)
    if html:
        from covid_cnn.reports import evaluation as reports

        assert done.answers  # for --html needs a question
        html.write_bytes(reports.render_evaluation(bundle, done.name, done.answers, done.report, __version__))
    if record:
        from covid_cnn.reports import card

        other = bundle.info["metrics"].get("other", {}) | {record: done.report | {"dataset": images.dataset}}
        card.write_card(bundle.folder, bundle.info | {"metrics": bundle.info["metrics"] | {"other": other}})
    from covid_cnn.reports import terminal

    print(json.dumps(done.report, indent=2) if as_json else terminal.evaluation_text(done.report))


def _check_evaluation(several: bool, question: str | None, given: set[str], prevalence: float | None) -> None:
    """Refuse options of `evaluate` that do not go together; ``given`` are those that only one model may be given."""
    if question not in (None, "classes", "positive", "ill"):
        raise typer.BadParameter("Ask one of classes, positive and ill.")
    classes = question == "classes" or (question is None and not several)
    if classes and (several or given - {"--record"}):
        raise typer.BadParameter(
            "A threshold, a prevalence, a report or a comparison needs --question positive or --question ill."
        )
    if prevalence is not None and not 0 < prevalence < 1:
        raise typer.BadParameter("A prevalence is above 0 and below 1.")
    if several and given:
        raise typer.BadParameter("A comparison takes no --threshold, --prevalence, --html or --record.")


def _compare(
    models: list[str], places: list[str], split: str, question: str, as_json: bool, csv_file: Path | None
) -> None:
    """Each model on each dataset, and the differences with their tests."""
    from covid_cnn.evaluation import evaluate as evaluation
    from covid_cnn.models import bundle as bundles
    from covid_cnn.reports import evaluation as reports

    images = [evaluation.select_images(place, split) for place in places]
    found = evaluation.compare([bundles.load_bundle(name) for name in models], images, question)
    if csv_file:
        csv_file.write_bytes(reports.csv(row for table in found.tables() for row in table))
    if as_json:
        print(json.dumps({"question": question} | found.to_dict(), indent=2))
        return
    for table in found.tables():
        print(reports.markdown(table) + "\n")
    print("\n".join(found.notes))


@app.command()
def models(as_json: Json = False) -> None:
    """List the models: name, classes, training data, headline metrics."""
    from covid_cnn.evaluation import metrics
    from covid_cnn.models.bundle import discover_bundles

    found, problems = discover_bundles()
    if as_json:
        keys = ("name", "network", "classes", "training_data", "metrics")
        print(json.dumps([{key: info[key] for key in keys} | {"name": name} for name, info in found.items()], indent=2))
    else:
        for name, info in found.items():
            print(f"{name}: {', '.join(info['classes'])}; trained on {info['training_data']['name']}")
            if report := info["metrics"].get("test"):
                for title, interval in metrics.metric_rows(report)[:3]:
                    print(f"    {title}: {interval or 'undefined'}")
        if not found:
            print("There is no model yet: python -m covid_cnn train makes one.")
    for problem in problems:
        print(problem, file=sys.stderr)


@app.command(name="app")
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


@app.command()
def version() -> None:
    """Print the version."""
    print(__version__)


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
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Go on without asking.")] = False,
) -> None:
    """Add a dataset to data/, shown first as it is understood. Again it changes nothing; cut off, it goes on."""
    from covid_cnn.data import importer, metadata
    from covid_cnn.reports import terminal

    def choose(offer: importer.Offer) -> metadata.ClassMapping:
        choice = offer.sheet.chosen(dict(map(_mapping, mapped or [])), views, modalities)
        print(terminal.offer_text(offer, choice))
        if not yes and sys.stdin.isatty() and not typer.confirm("Add these images?", default=True):
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
    from covid_cnn.reports import audit as reports_audit
    from covid_cnn.reports import terminal

    dataset = open_dataset(name)
    report = audit.audit_dataset(dataset, terminal.show_progress())
    if html:
        html.write_text(reports_audit.render_audit(report, dataset), encoding="utf-8")
    print(json.dumps(report.to_dict(), indent=2) if as_json else report)
