"""``predict``: what a model says of images, as lines, a table, JSON or overlays."""

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from covid_cnn.cli.options import Json
from covid_cnn.common.errors import CovidCnnError
from covid_cnn.models.bundle import DEFAULT_MODEL, Bundle

if TYPE_CHECKING:
    from covid_cnn.images import sources
    from covid_cnn.models.batch import Row


def predict(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...", help="Images, or folders or .zip files of them; also addresses such as s3://…"
        ),
    ],
    model: Annotated[str, typer.Option(help="Name of a model; the command models lists them.")] = DEFAULT_MODEL,
    as_json: Json = False,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Write a table, one row an image.")] = None,
    parquet: Annotated[Path | None, typer.Option(help="Write the table as Parquet.")] = None,
    heatmaps: Annotated[
        Path | None, typer.Option(help="Write the heatmaps, over their images, into this folder.")
    ] = None,
    engine: Annotated[str, typer.Option(help="local: this machine; ray: a cluster of machines.")] = "local",
    address: Annotated[str | None, typer.Option(help="With ray: the cluster; by default this machine.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="With ray: processes, a core each; by default every core.")
    ] = None,
) -> None:
    """Predict and explain radiographs. Exit status 1 when a file could not be read; the others are done.

    With --engine ray, what is done is kept beside the table until all is: the same command goes on where it was ended.
    """
    from covid_cnn.images import sources
    from covid_cnn.models.bundle import load_bundle

    if bool(as_json) + bool(csv_file) + bool(parquet) > 1:
        raise typer.BadParameter("Give one of --json, --csv and --parquet.")
    table = csv_file or parquet
    _check_engine(engine, table, heatmaps, address or workers)
    bundle = load_bundle(model)
    with contextlib.ExitStack() as opened:
        choice = sources.select(files, opened.enter_context)
        if not choice.images:
            raise CovidCnnError(f"There is no image in {files[0]}: choose an image, or a folder that holds some.")
        for note in choice.notes():
            print(note, file=sys.stderr)
        if engine == "ray" and table:
            answers = opened.enter_context(_answer_on_cluster(bundle, choice.images, table, address, workers))
        else:
            answers = opened.enter_context(_answer_here(bundle, choice.images, heatmaps))
        rows = _Rows(answers, len(choice.images), shown=as_json or table is not None)
        _write(bundle, rows, as_json, csv_file, parquet)
        if rows.interrupted:
            print(f"Stopped after {rows.done} of {len(choice.images)} images; what is done is kept.", file=sys.stderr)
            raise typer.Exit(130)
    if rows.errors:
        raise typer.Exit(1)


def _check_engine(engine: str, table: Path | None, heatmaps: Path | None, of_ray: str | int | None) -> None:
    if engine not in ("local", "ray"):
        raise typer.BadParameter("The engine is local or ray.")
    if engine == "local" and of_ray:
        raise typer.BadParameter("--address and --workers go with --engine ray.")
    if engine == "ray" and (table is None or heatmaps):
        raise typer.BadParameter("The engine ray writes a table alone: give --csv or --parquet, and no --heatmaps.")


@contextlib.contextmanager
def _answer_here(
    bundle: Bundle, images: list["sources.SelectedImage"], heatmaps: Path | None
) -> Iterator[Iterator["Row"]]:
    """The rows one by one; many are made in a process of its own, so that no image that crashes it ends the table."""
    if len(images) == 1:  # to start another would take as long as its answer
        from covid_cnn.models import batch

        yield batch.predict_rows(bundle, images, heatmaps)
        return
    from covid_cnn.models.block_process import BlockProcess

    with contextlib.closing(BlockProcess(bundle.folder, crowd=True)) as process:
        yield process.answer(images, heatmaps)


@contextlib.contextmanager
def _answer_on_cluster(
    bundle: Bundle, images: list["sources.SelectedImage"], table: Path, address: str | None, workers: int | None
) -> Iterator[Iterator["Row"]]:
    """The rows of all images once a cluster has answered them; Ray tells the progress."""
    from covid_cnn.models import cluster

    blocks = cluster.plan_blocks(bundle, images, table.with_name(f"{table.name}.parts"))
    if done := sum(len(block.images) for block in blocks if block.file.exists()):
        print(f"{done} of {len(images)} images are done already.", file=sys.stderr)
    try:
        with cluster.predict_archive(bundle, blocks, address, workers) as rows:
            yield rows
    except KeyboardInterrupt:
        print(f"Stopped; what is done lies in {table}.parts, and the same command goes on from there.", file=sys.stderr)
        raise typer.Exit(130) from None


def _write(bundle: Bundle, rows: "_Rows", as_json: bool, csv_file: Path | None, parquet: Path | None) -> None:
    """Write the rows in the form that was asked for."""
    from covid_cnn.models import batch

    if csv_file:
        # A path that is no Unicode is written byte for byte. Each line is written at once, so that whatever ends the
        # program leaves a table of what is done.
        with (
            _naming(csv_file),
            csv_file.open("w", buffering=1, newline="", encoding="utf-8", errors="surrogateescape") as opened,
        ):
            batch.write_csv(opened, bundle, rows)
    elif parquet:
        with _naming(parquet):
            batch.write_parquet(parquet, bundle, rows)
    elif as_json:
        print(json.dumps(list(rows), indent=2))
    else:
        from covid_cnn.reports import terminal

        print("Research and teaching only. Not for diagnosis.", file=sys.stderr)
        for row in rows:
            print(terminal.prediction_line(row, bundle.classes))


@contextlib.contextmanager
def _naming(table: Path) -> Iterator[None]:
    """A table that cannot be written, on a full disk for instance, is named: such an error names no file."""
    try:
        yield
    except OSError as error:
        if error.filename not in (None, str(table)):
            raise
        raise CovidCnnError(f"The table {table} cannot be written: {error.strerror or error}.") from error


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
