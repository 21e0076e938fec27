"""Images that are no frontal chest X-ray as people take them, by kind: what a model should refuse to answer.

They come from covid-chestxray-dataset (CT slices, lateral views), from installed packages, from this program (noise,
blank, pages, charts) and from chest X-rays that the caller gives, upside down and the like. Run it to see how many.
"""

import csv
import importlib.util
import io
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

from benchmarks import measure
from covid_cnn.common.errors import CovidCnnError, DatasetError
from covid_cnn.data import dataset, tables
from covid_cnn.data.dataset import Item
from covid_cnn.images import greys, reader

ROOT = Path(__file__).resolve().parent.parent
MOST = 100  # of the given X-rays, so that the table takes a minute
SIDE = 512  # px of what is drawn here
CHEST = "Chest X-ray, "

# One file of each picture: pydicom's packages hold many twice, in several encodings.
SCANS = {
    "CT": ("693_UNCR", "J2K_pixelrep_mismatch", "bad_sequence", "explicit_VR-UN", "CT_small", "eCT_Supplemental"),
    "MR": ("MR_small", "MR2_UNCR", "MR-SIEMENS-DICOM-WithOverlays", "emri_small"),
    "ultrasound": (
        *("OBXXXX1A", "US1_UNCR", "JPGLosslessP14SV1_1s_1f_8b", "color-pl", "color3d_jpeg_baseline"),
        "gdcm-US-ALOKA-16",
    ),
    "scintigraphy": ("JPEG2000", "JPEG-LL"),
}
MICROSCOPE = ("cell.png", "ihc.png", "microaneurysms.png", "phantom.png", "retina.jpg")
PHOTOGRAPHS = (
    *("astronaut.png", "brick.png", "camera.png", "chelsea.png", "clock_motion.png", "coffee.png", "coins.png"),
    *("grass.png", "gravel.png", "hubble_deep_field.jpg", "moon.png", "motorcycle_left.png", "rocket.jpg"),
)


class Picture(NamedTuple):
    """One image: of which kind, what it is, and its pixels, float32 ``[height, width]``, 0..1."""

    kind: str
    name: str
    pixels: np.ndarray


def main(data: str = "", split: str = "test") -> None:
    """Count the images of each kind."""
    counts = Counter(picture.kind for picture in every([item.path for item in held_out(data, split)]))
    print("\n| Kind | n |\n|---|---:|")
    print("\n".join(f"| {kind} | {n} |" for kind, n in counts.items()))


def kinds(paths: Sequence[Path]) -> dict[str, list[np.ndarray]]:
    """The pixels of all images by kind: those of ``every`` at once."""
    found: dict[str, list[np.ndarray]] = {}
    for picture in every(paths):
        found.setdefault(picture.kind, []).append(picture.pixels)
    return found


def every(paths: Sequence[Path]) -> Iterator[Picture]:
    """All images, kind after kind, always the same.

    Parameters
    ----------
    paths : chest X-rays that the model has not seen, to turn, crop and invert; evenly spaced ones if they are many

    Raises
    ------
    CovidCnnError
        The real dataset or a package is not there, or an image cannot be read.
    """
    yield from itertools.chain(collection(), leg(), scans(), photographs(), pages(), icons(), noise(), blank())
    yield from transformed(paths)


def held_out(data: str = "", split: str = "test") -> list[Item]:
    """The X-rays of a split of a dataset, or else those that the two models of the seed notebook's data never saw."""
    if data:
        items = list(dataset.open_dataset(data).subset(split))
        if not items:
            raise DatasetError(f"{data} has no images in its split {split}: choose another with --split.")
        return items
    notebook = dataset.open_dataset(measure.real_data("xray_dataset_covid19")).subset("test")
    return [*notebook, *dataset.open_dataset(measure.real_data("nih-chestxray8-subset")).items]


def collection() -> Iterator[Picture]:
    """What the collection holds beside frontal X-rays."""
    root = measure.real_data("covid-chestxray-dataset")
    with (root / tables.METADATA).open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    for kind, column, value in (("CT slice of the chest", "modality", "CT"), ("Lateral chest X-ray", "view", "L")):
        for row in rows:
            if row[column] == value:
                yield from _files(kind, [root / row["folder"] / row["filename"]])


def leg() -> Iterator[Picture]:
    """One real radiograph of another body part, and the same in other positions and frames."""
    (whole,) = _files("Leg X-ray", [_dicom("RG3_UNCR")])
    yield whole
    for turns, mirrored, share in list(itertools.product(range(4), (False, True), (1.0, 0.8, 0.5)))[1:]:
        pixels = np.rot90(_centre(whole.pixels, share), turns)
        name = f"{'mirrored, ' if mirrored else ''}turned by {90 * turns}, {share:.0%}"
        yield Picture("The same leg, turned, mirrored, cropped", name, pixels[:, ::-1] if mirrored else pixels)


def scans() -> Iterator[Picture]:
    """Other body parts by other machines, and what lies under a microscope."""
    kind = "CT, MR, ultrasound, scintigraphy, microscopy"
    yield from _files(kind, [_dicom(name) for names in SCANS.values() for name in names])
    yield from _files(kind, [_package("skimage") / "data" / name for name in MICROSCOPE])


def photographs() -> Iterator[Picture]:
    """Each whole, and its quarters."""
    paths = [_package("skimage") / "data" / name for name in PHOTOGRAPHS]
    paths += [_package("sklearn") / "datasets" / "images" / name for name in ("china.jpg", "flower.jpg")]
    paths += [_package("matplotlib") / "mpl-data" / "sample_data" / "grace_hopper.jpg", _dicom("OT-PAL-8-face")]
    for kind, name, pixels in _files("Photograph", paths):
        yield Picture(kind, name, pixels)
        height, width = pixels.shape[0] // 2, pixels.shape[1] // 2
        for i, (top, left) in enumerate(itertools.product((0, height), (0, width))):
            yield Picture(kind, f"{name}, quarter {i + 1}", pixels[top : top + height, left : left + width])


def pages() -> Iterator[Picture]:
    """Screenshots of this app, scanned and drawn text, charts."""
    kind = "Screenshot, page, chart"
    yield from _files(kind, sorted((ROOT / "docs").glob("*.png")))
    yield from _files(kind, [_package("skimage") / "data" / name for name in ("page.png", "text.png")])
    words = (ROOT / "README.md").read_text(encoding="utf-8")
    for size, dark in itertools.product((12, 16, 24, 40), (False, True)):
        page = Image.new("L", (800, 1000), 0 if dark else 255)
        ImageDraw.Draw(page).multiline_text((40, 40), words, 255 if dark else 0, ImageFont.load_default(size))
        yield Picture(kind, f"text of {size} px{', dark' if dark else ''}", np.asarray(page, np.float32) / 255)
    for name, pixels in _charts():
        yield Picture(kind, name, pixels)


def icons() -> Iterator[Picture]:
    """What libraries show on their buttons and in their windows."""
    paths = sorted((_package("matplotlib") / "mpl-data" / "images").glob("*_large.png"))
    paths += sorted((_package("streamlit") / "static").rglob("*.png"))
    paths += [_package("skimage") / "data" / name for name in ("logo.png", "horse.png")]
    for path in paths:
        icon = Image.open(path).convert("RGBA")
        page = Image.new("RGBA", icon.size, "white")  # many are black on nothing
        file = io.BytesIO()
        Image.alpha_composite(page, icon).save(file, format="png")
        yield Picture("Icon", path.name, reader.read(file.getvalue()).pixels)


def noise() -> Iterator[Picture]:
    """Independent pixels of three distributions, and clouds of three sizes."""
    rng = np.random.default_rng(0)
    draw: dict[str, Callable[[], np.ndarray]] = {
        "uniform": lambda: rng.random((SIDE, SIDE)),
        "Gaussian": lambda: np.clip(rng.normal(0.5, 0.2, (SIDE, SIDE)), 0, 1),
        "salt and pepper": lambda: np.choose(rng.choice(3, (SIDE, SIDE), p=(0.05, 0.9, 0.05)), (0, 0.5, 1)),
    }
    for sigma in (4, 16, 64):
        draw[f"clouds of {sigma} px"] = partial(_clouds, rng, sigma)
    for (name, one), i in itertools.product(draw.items(), range(5)):
        yield Picture("Noise", f"{name} {i}", one().astype(np.float32))


def blank() -> Iterator[Picture]:
    """Black, white and the greys between, and gradients."""
    for value in np.linspace(0, 1, 11, dtype=np.float32):
        yield Picture("Blank, gradient", f"grey of {value:.1f}", np.full((SIDE, SIDE), value))
    y, x = np.mgrid[0 : 1 : SIDE * 1j, 0 : 1 : SIDE * 1j].astype(np.float32)
    shapes = {"down": y, "right": x, "diagonal": (x + y) / 2, "other diagonal": (1 - x + y) / 2}
    shapes["round"] = np.hypot(x - 0.5, y - 0.5) / np.float32(np.sqrt(0.5))
    for name, pixels in shapes.items():
        yield Picture("Blank, gradient", name, pixels)
        yield Picture("Blank, gradient", f"{name}, reversed", 1 - pixels)


def transformed(paths: Sequence[Path]) -> Iterator[Picture]:
    """Chest X-rays as nobody should show them: a frontal X-ray is upright, white on black, and shows both lungs."""
    rng = np.random.default_rng(0)
    chosen = [paths[i] for i in np.unique(np.linspace(0, len(paths) - 1, min(MOST, len(paths))).astype(int))]
    for i, (_, name, pixels) in enumerate(_files("", chosen)):
        yield Picture(CHEST + "upside down", name, np.rot90(pixels, 2))
        yield Picture(CHEST + "turned by 90 degrees", name, np.rot90(pixels, 1 if i % 2 else 3))
        yield Picture(CHEST + "negative", name, 1 - pixels)
        yield Picture(CHEST + "a sixteenth of it", name, _somewhere(pixels, 1 / 4, rng))


def _files(kind: str, paths: Iterable[Path]) -> Iterator[Picture]:
    for path in paths:
        yield Picture(kind, path.name, reader.read(path).pixels)


def _centre(pixels: np.ndarray, share: float) -> np.ndarray:
    """The middle of an image, ``share`` of its sides long."""
    top, left = (round(side * (1 - share) / 2) for side in pixels.shape)
    return pixels[top : pixels.shape[0] - top, left : pixels.shape[1] - left]


def _somewhere(pixels: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """A random part of an image, ``share`` of its sides long."""
    height, width = (round(side * share) for side in pixels.shape)
    top, left = rng.integers(pixels.shape[0] - height + 1), rng.integers(pixels.shape[1] - width + 1)
    return pixels[top : top + height, left : left + width]


def _clouds(rng: np.random.Generator, sigma: int) -> np.ndarray:
    return greys.stretch(gaussian_filter(rng.random((SIDE, SIDE)), sigma, mode="wrap"))


def _charts() -> Iterator[tuple[str, np.ndarray]]:
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 60))
    draw: dict[str, Callable] = {
        "lines": lambda axes: axes.plot(np.cumsum(rng.normal(size=(200, 3)), axis=0)),
        "bars": lambda axes: axes.bar(range(8), np.abs(x[:8])),
        "points": lambda axes: axes.scatter(x, y, 80 * np.abs(y)),
        "histogram": lambda axes: axes.hist(x),
        "pie": lambda axes: axes.pie(np.abs(y[:6])),
        "heatmap": lambda axes: axes.imshow(rng.random((8, 8))),
        "contours": lambda axes: axes.contourf(gaussian_filter(rng.random((40, 40)), 4)),
        "boxes": lambda axes: axes.boxplot([x, y, x + y]),
    }
    for style, (name, plot) in itertools.product(("default", "dark_background"), draw.items()):
        with pyplot.style.context(style):
            figure, axes = pyplot.subplots()
            plot(axes)
            file = io.BytesIO()
            figure.savefig(file, format="png")
            pyplot.close(figure)
        yield f"{name}, {style}", reader.read(file.getvalue(), name).pixels


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise CovidCnnError(f"The package {name} is not installed: run pip install -r requirements-dev.txt.")
    return Path(spec.submodule_search_locations[0])


def _dicom(name: str) -> Path:
    """A file of pydicom, or of the package pydicom-data, which calls itself data_store."""
    folders = _package("pydicom") / "data" / "test_files", _package("data_store") / "data"
    for folder in folders:
        if (path := folder / f"{name}.dcm").is_file():
            return path
    raise CovidCnnError(f"pydicom-data has no {name}.dcm: run pip install -r requirements-dev.txt.")


if __name__ == "__main__":
    measure.run(main)
