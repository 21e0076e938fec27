"""``predict``: what a model says of images, as lines, a table, JSON or overlays."""

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from covid_cnn.cli.options import Json, Model
from covid_cnn.common.errors import CovidCnnError
from covid_cnn.models.bundle import DEFAULT_MODEL, Bundle

if TYPE_CHECKING:
    from covid_cnn.images import sources
    from covid_cnn.models.batch import Row


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
