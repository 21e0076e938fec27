"""``train``: a network learns, and becomes a model."""

from typing import TYPE_CHECKING, Annotated

import typer

from covid_cnn.common.errors import RunError
from covid_cnn.runs.config import RECIPES

if TYPE_CHECKING:
    from covid_cnn.runs.run import Run


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
    augmentation: Annotated[
        str | None, typer.Option(help="none, mirror, notebook, radiograph, hospitals or styles.")
    ] = None,
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

        print(f"Run {run.name}")
        run.listener = terminal.print_event
    _fit(run)


def _fit(run: "Run") -> None:
    """Train a run in this process, when it is its turn."""
    from covid_cnn.runs.run import STARTING_TENSORFLOW, interruptible

    try:
        with interruptible(run):
            run.begin()
            run.log(STARTING_TENSORFLOW)
            from covid_cnn.training import trainer
        trainer.train_run(run)
    except KeyboardInterrupt:
        run.append("stopped", message="Stopped before it had learned anything.")
    except ImportError as error:
        message = (
            f"TensorFlow cannot be loaded ({error}): run pip install 'covid-cnn[train]', or install requirements.txt."
        )
        run.append("failed", message=message)
        raise RunError(message) from error
    finally:
        run.leave()
