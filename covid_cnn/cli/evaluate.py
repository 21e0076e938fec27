"""``evaluate``: how good models are on datasets."""

import json
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from msgspec import structs

from covid_cnn import __version__
from covid_cnn.cli.options import Json
from covid_cnn.models.bundle import DEFAULT_MODEL


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

        other = bundle.info.metrics.other | {record: structs.replace(done.report, dataset=images.dataset.name)}
        metrics = structs.replace(bundle.info.metrics, other=other)
        card.write_card(bundle.folder, structs.replace(bundle.info, metrics=metrics))
    from covid_cnn.reports import terminal

    print(json.dumps(msgspec.to_builtins(done.report), indent=2) if as_json else terminal.evaluation_text(done.report))


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
    from covid_cnn.evaluation.external import summary_tables
    from covid_cnn.evaluation.metrics import format_table
    from covid_cnn.models import bundle as bundles
    from covid_cnn.reports import evaluation as reports

    images = [evaluation.select_images(place, split) for place in places]
    found = evaluation.compare([bundles.load_bundle(name) for name in models], images, question)
    tables = summary_tables(found.rows, found.differences).values()
    if csv_file:
        csv_file.write_bytes(reports.csv(row for table in tables for row in table))
    if as_json:
        print(json.dumps({"question": question} | found.to_dict(), indent=2))
        return
    for table in tables:
        print(format_table(table) + "\n")
    print("\n".join(found.notes))
