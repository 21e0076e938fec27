"""``models``: the models that there are."""

import json
import sys

import msgspec
import typer

from covid_cnn.cli.options import Json

models_app = typer.Typer()


@models_app.callback(invoke_without_command=True)
def models(as_json: Json = False) -> None:
    """List the models: name, classes, training data, headline metrics."""
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
