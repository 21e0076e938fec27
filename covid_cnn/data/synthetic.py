"""Synthetic radiographs: frontal chest X-rays drawn from a seed, with or without the patchy opacities of a pneumonia.

They show no patient. They let a person try the whole app, training included, with nothing downloaded. A radiograph
here is soft tissue and bone, minus the air of the lungs, behind a film curve; opacities fill part of that air, and
nothing else differs between the two classes.
"""

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from PIL.PngImagePlugin import PngInfo

from covid_cnn.common import paths
from covid_cnn.common.errors import DatasetError
from covid_cnn.common.jobs import Progress, unwatched
from covid_cnn.data import dataset
from covid_cnn.data.dataset import Dataset
from covid_cnn.images import ops
from covid_cnn.images.reader import SYNTHETIC_KEY, SYNTHETIC_PREFIX

CLASSES = ("NORMAL", "PNEUMONIA")
COUNTS = {"train": 60, "val": 15, "test": 25}  # images of each class
GRID = 512  # everything is drawn at this size and then scaled, so that one seed is one anatomy at every size
SIDES = (-1, 1)  # the patient's right is on the image's left
Points = np.ndarray | list[tuple[float, float]]
Stroke = tuple[Points, float, float]  # its points, its width, its brightness (0..1)


def draw_radiograph(seed: int, opacities: bool, size: int = GRID) -> np.ndarray:
    """Draw one radiograph, float32 [size, size], 0..1 (1 = white). The same arguments give the same pixels.

    A seed is a patient: with and without `opacities` it gives the same anatomy, exposure and noise.
    """
    body, air = _anatomy(seed)
    if opacities:
        air = air * (1 - _filled(seed, air))
    return _scaled(_film(seed, body - air), size)


def write_png(path: Path, pixels: np.ndarray) -> None:
    """Write pixels (float [H, W], 0..1) as an 8-bit grayscale PNG whose text marks it as synthetic."""
    text = PngInfo()
    text.add_text(SYNTHETIC_KEY, f"{SYNTHETIC_PREFIX} radiograph")
    Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(path, format="PNG", pnginfo=text)


def write_dataset(
    folder: Path,
    seed: int = 0,
    progress: Progress = unwatched,
    counts: Mapping[str, int] = COUNTS,
    size: int = GRID,
) -> Path:
    """Write a dataset of synthetic radiographs, SPLIT/CLASS/synthetic_*.png, every image another patient.

    The folder appears whole or not at all; nothing is done where this very dataset already is. Another seed gives other
    patients; ``counts`` are the images of each class in each split, of ``size`` pixels a side. Raises DatasetError
    where the folder holds something else, or cannot be written.
    """
    readme = README.format(total=2 * sum(counts.values()), size=size, seed=seed).encode()
    if folder.exists():
        note = folder / "README.md"
        if note.is_file() and note.read_bytes() == readme:
            return folder
        raise DatasetError(f"{folder} already exists and is not this synthetic dataset; give another name.")
    places = [(split, label) for split, count in counts.items() for _ in range(count) for label in CLASSES]
    drawings = {
        f"{split}/{label}/{dataset.SYNTHETIC}{label.lower()}_{n:04d}.png": partial(
            draw_radiograph, seed * 1_000_000 + n, label == "PNEUMONIA", size
        )
        for n, (split, label) in enumerate(places)
    }
    try:
        return _write_drawings(folder, drawings, progress, readme)
    except OSError as error:
        reason = error.strerror or error
        raise DatasetError(f"The synthetic dataset cannot be written to {folder}: {reason}.") from error


def _write_drawings(
    folder: Path, drawings: Mapping[str, Callable[[], np.ndarray]], progress: Progress, readme: bytes
) -> Path:
    """Write what is drawn by its places in a folder, which appears whole or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".synthetic-") as temporary:
        unfinished = Path(temporary) / folder.name
        for n, (place, draw) in enumerate(drawings.items(), 1):
            (unfinished / place).parent.mkdir(parents=True, exist_ok=True)
            write_png(unfinished / place, draw())
            progress(n / len(drawings), f"Drawn {n} of {len(drawings)} radiographs")
        (unfinished / "README.md").write_bytes(readme)
        unfinished.rename(folder)
    return folder


README = """# Synthetic radiographs

These {total} images ({size} x {size} px) show no patient: covid_cnn drew them, from the seed {seed}. PNEUMONIA has
patchy opacities in the lungs, NORMAL has none, and nothing else differs. They are there to try the program. What a
model learns from them says nothing about people.
"""


class _Patient:
    """One patient's build and position, and the brushes that draw on their radiograph.

    Points are (x, y) in -1..1 over the image, y downwards, for a patient of average build, as are lengths.
    """

    def __init__(self, seed: int) -> None:
        self.rng = rng = _rng(seed, "anatomy")
        self.stretch = rng.normal((0.92, 0.95), 0.05)
        self.shift = rng.normal((0, 0.03), 0.025)
        self.tilt = rng.normal(0, 0.025)
        self.turn = rng.normal(0, 0.02)  # about the long axis: what lies in front moves against the spine
        self.breath = rng.normal(0, 0.04)  # how far down the diaphragm is
        self.age = rng.uniform()  # 0 young, 1 old
        self.stout = rng.uniform()
        self.heart = np.clip(rng.normal(0.95 + 0.1 * self.age, 0.08), 0.8, 1.25)
        self.breasts = rng.uniform() < 0.45

    def area(self, *outlines: Points, blur: float = 0) -> np.ndarray:
        """Closed, rounded outlines, filled, [GRID, GRID], 0..1; a blur is wide, so a coarse grid will do for it."""
        coarse = 4 if blur else 1
        image = Image.new("L", (GRID // coarse, GRID // coarse))
        for outline in outlines:
            ImageDraw.Draw(image).polygon((self._pixels(_rounded(outline)) / coarse).ravel().tolist(), fill=255)
        if blur:
            image = image.filter(ImageFilter.GaussianBlur(blur * image.width / 2))
        return _enlarged(np.asarray(image, np.float32) / 255)

    def strokes(self, strokes: list[Stroke]) -> np.ndarray:
        """Lines drawn one over the other, [GRID, GRID], 0..1."""
        image = Image.new("L", (GRID, GRID))
        pen = ImageDraw.Draw(image)
        ends = np.cumsum([len(points) for points, _, _ in strokes])
        lines = np.split(self._pixels(np.concatenate([points for points, _, _ in strokes])), ends[:-1])
        for line, (_, width, brightness) in zip(lines, strokes, strict=True):
            pen.line(line.ravel().tolist(), round(255 * brightness), max(1, round(width * GRID / 2)))
        return np.asarray(image, np.float32) / 255

    def _pixels(self, points: Points) -> np.ndarray:
        x, y = (np.asarray(points) * self.stretch).T
        return (np.stack([x - y * self.tilt, y + x * self.tilt], 1) + self.shift + 1) * GRID / 2


def _anatomy(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """What weakens the beam, were there no air, and how much of that the air in the lungs takes away."""
    patient = _Patient(seed)
    return _blurred(_soft_tissue(patient) + _bones(patient)), _blurred(_air(patient))


def _soft_tissue(p: _Patient) -> np.ndarray:
    flank = 0.93 + 0.12 * p.stout
    half = [(-0.22, -1.6), (-0.24, -1.02), (-0.42, -0.9), (-0.8, -0.82), (-1.3, -0.7), (-1.5, -0.2)]
    half += [(-flank - 0.15, -0.1), (-flank, 0.1), (-flank, 0.6), (-flank - 0.03, 1.6)]
    torso = half + [(-x, y) for x, y in reversed(half)]
    thickness = p.area(torso, blur=0.18)
    tissue = p.area(torso) * (0.26 + 0.66 * thickness**2 + 0.012 * _texture(p.rng, 16))

    if p.breasts:
        breast = [(0.16, 0.0), (0.8, -0.05), (0.92, 0.3), (0.75, 0.56), (0.45, 0.6), (0.2, 0.42)]
        tissue += 0.08 * p.area(*_both(breast), blur=0.02)
    bubble = np.array([(0.3, 0.62), (0.44, 0.59), (0.5, 0.68), (0.4, 0.75), (0.3, 0.72)]) + (0, p.breath)
    tissue -= p.rng.uniform(0, 0.15) * p.area(bubble, blur=0.03)

    carina = (0.5 * p.turn, -0.27)
    right = [carina, (carina[0] - 0.08, -0.18), (carina[0] - 0.16, -0.12)]
    left = [carina, (carina[0] + 0.1, -0.15), (carina[0] + 0.19, -0.11)]
    trachea: list[Stroke] = [([(0.3 * p.turn, -1.3), carina], 0.085, 1.0), (_rounded(right, closed=False), 0.06, 0.7)]
    trachea.append((_rounded(left, closed=False), 0.05, 0.6))
    return tissue - 0.17 * p.strokes(trachea)


def _bones(p: _Patient) -> np.ndarray:
    back: list[Stroke] = []
    front: list[Stroke] = []
    for side in SIDES:
        for i in range(10):
            head = -0.83 + 0.115 * i + p.rng.normal(0, 0.005)
            drop = 0.15 + 0.032 * i
            wall = _half_cage(head + drop) + 0.012
            t = np.linspace(0, np.pi / 2, 11)
            x = 0.06 + (wall - 0.06) * np.sin(t)
            y = head - 0.05 * np.sin(2 * t) + drop * (1 - np.cos(t))
            back += _tube(np.stack([side * x, y], 1), 0.06, 0.85)
            if i < 7:  # the lower ribs end in the flank
                t = np.linspace(0, 1.15, 9)
                x = wall - (wall - 0.16 - 0.02 * i) * (1 - np.cos(t)) * 1.5
                y = head + drop + (0.27 + 0.015 * i) * np.sin(t)
                front += _tube(np.stack([side * x + p.turn, y], 1), 0.065, 0.7)

    shoulders: list[Stroke] = []
    for side in SIDES:
        slope = p.rng.normal(0, 0.02)
        inner, outer = [(0.07, -0.60), (0.2, -0.63), (0.4, -0.66 + slope)], [(0.62, -0.74 + slope), (0.8, -0.74)]
        clavicle = _rounded([*inner, *outer, (0.93, -0.67)], closed=False) * (side, 1) + (p.turn, 0)
        shoulders += _tube(clavicle, 0.07, 0.9)

    spine: list[Stroke] = [([(0, -1.3), (0, 1.3)], 0.19, 0.6)]
    for disc in np.arange(-1.2, 1.3, 0.105):
        spine += [([(-0.095, disc), (0.095, disc)], 0.022, 0.4), ([(0, disc + 0.03), (0, disc + 0.075)], 0.03, 1.0)]
        spine += [([(x, disc + 0.035), (x, disc + 0.06)], 0.024, 0.85) for x in (-0.06, 0.06)]

    blade = [(0.64, -0.62), (0.95, -0.74), (1.0, -0.55), (0.87, -0.3), (0.78, 0.02), (0.73, 0.05), (0.67, -0.3)]
    humerus = [(0.96, -0.64), (1.02, -0.73), (1.13, -0.7), (1.2, -0.55), (1.45, 0.0), (1.25, 0.0), (1.05, -0.5)]
    cartilage = np.clip(4 * np.abs(np.linspace(-1, 1, GRID, dtype=np.float32)) - 0.8, 0, 1)  # fades towards the middle
    bones = 0.15 * p.strokes(back) + 0.12 * cartilage * p.strokes(front)
    bones += 0.2 * p.strokes(shoulders) + 0.14 * p.strokes(spine)
    bones += 0.07 * p.area(*_both(blade), *_both(humerus))
    return bones * (1.2 - 0.4 * p.age)


def _air(p: _Patient) -> np.ndarray:
    lungs = []
    for side, dome in zip(SIDES, (0.42, 0.49), strict=True):  # the liver lifts the right half of the diaphragm
        d = dome + p.breath + p.rng.normal(0, 0.01)
        apex = [(0.05, -0.3), (0.10, -0.66), (0.17, -0.80), (0.27, -0.83), (0.40, -0.73)]
        wall = [(_half_cage(y), y) for y in (-0.45, -0.1, 0.25, d + 0.1)]
        angle = [(_half_cage(d + 0.24) + 0.005, d + 0.30), (_half_cage(d + 0.2) - 0.05, d + 0.2)]
        base = [(0.60, d + 0.045), (0.42, d - 0.01), (0.25, d + 0.01), (0.10, d + 0.09), (0.05, d)]
        lungs.append(np.array(apex + wall + angle + base) * (side, 1))
    inside = p.area(*lungs)
    air = inside * (0.2 + 0.8 * p.area(*lungs, blur=0.09)) * (1 + 0.03 * _texture(p.rng, 48))

    w = p.heart
    right = [(-0.13, -0.05), (-0.19 * w, 0.08), (-0.25 * w, 0.25), (-0.22 * w, 0.42), (-0.1, 0.6)]
    left = [(0.3, 0.62), (0.46 * w, 0.54), (0.48 * w, 0.42), (0.38 * w, 0.2), (0.25, 0.02), (0.18, -0.1), (0.1, -0.2)]
    heart = np.array(right + left) + (p.turn, p.breath)
    knob = 0.17 + 0.05 * p.age
    vena_cava = [(-0.10, -1.0), (-0.10, -0.6), (-0.13, -0.4), (-0.16, -0.1), (-0.15, 0.2)]
    trunk = [(0.1, 0.3), (0.18, 0.0), (0.2, -0.13), (0.15, -0.2), (0.12, -0.24)]
    arch = [(knob, -0.28), (knob + 0.02, -0.38), (0.14, -0.46), (0.09, -0.55), (0.09, -1.0)]
    great_vessels = np.array(vena_cava + trunk + arch) + (p.turn, 0)
    middle = p.area(heart, great_vessels)
    core = p.area(heart, great_vessels, blur=0.07)
    air *= 1 - middle * (0.5 + 0.45 * core)
    return 0.64 * air * (1 - 0.26 * p.strokes(_pulmonary_vessels(p)))


def _pulmonary_vessels(p: _Patient) -> list[Stroke]:
    """Trees that fork outwards from both hila, the right a little lower."""
    strokes: list[Stroke] = []
    for side, hilum in zip(SIDES, (-0.03, -0.08), strict=True):
        artery = [(side * 0.13, hilum - 0.05), (side * 0.22, hilum + 0.02), (side * 0.25, hilum + 0.3)]
        strokes.append((_rounded(artery, closed=False) + (p.turn, 0), 0.06, 0.7))
        angle = np.linspace(-1.4, 1.4, 8) + p.rng.normal(0, 0.15, 8)
        start = np.stack([np.full(8, side * 0.17 + p.turn), hilum + 0.06 * angle], 1)
        width, length = np.full(8, 0.027), p.rng.uniform(0.12, 0.18, 8)
        for _ in range(5):
            end = start + length[:, None] * np.stack([side * np.cos(angle), np.sin(angle)], 1)
            brightness = np.minimum(1, 0.15 + 20 * width)
            strokes += zip(np.stack([start, end], 1), width, brightness, strict=True)
            # Every vessel forks in two, thinner and shorter.
            angle = (angle + p.rng.normal(((-0.3,), (0.3,)), 0.15, (2, len(angle)))).ravel()
            start, width = np.tile(end, (2, 1)), 0.7 * np.tile(width, 2)
            length = np.tile(length, 2) * p.rng.uniform(0.65, 0.9, len(angle))
    return strokes


def _filled(seed: int, air: np.ndarray) -> np.ndarray:
    """The share of the air that pneumonia has filled, [GRID, GRID], 0..0.85: patches, more of them low and outside."""
    rng = _rng(seed, "opacities")
    n = GRID // 4
    y, x = np.mgrid[:n, :n] / (n / 2) - 1.0
    likely = (np.asarray(Image.fromarray(air).reduce(4)) > 0.2) * np.abs(x) ** 1.5 * np.clip(y + 0.8, 0.05, None)
    if rng.uniform() < 0.25:  # one lung only
        likely *= x * rng.choice(SIDES) > 0
    cloud = np.zeros((n, n), np.float32)
    for place in rng.choice(n * n, size=rng.integers(2, 9), p=(likely / likely.sum()).ravel()):
        turn = rng.uniform(0, np.pi)
        u, v = x - x.flat[place], y - y.flat[place]
        u, v = u * np.cos(turn) + v * np.sin(turn), v * np.cos(turn) - u * np.sin(turn)
        long, wide = rng.uniform(0.07, 0.2, 2)
        cloud += rng.uniform(0.4, 1.2) * np.exp(-((u / long) ** 2) - (v / wide) ** 2)
    mottle = _texture(rng, 12, n) + _texture(rng, 24, n) + _texture(rng, 48, n)
    density = _enlarged(rng.uniform(0.45, 1) * (1 - np.exp(-cloud)) * (0.85 + 0.15 * mottle))
    return np.clip(density - 0.05, 0, 0.85) * (air > 0.02)  # the threshold gives the soft edge an end, for the mask


def _film(seed: int, attenuation: np.ndarray) -> np.ndarray:
    rng = _rng(seed, "exposure")
    speed, contrast = rng.normal(0.66, 0.035), rng.normal(1.6, 0.15)
    noise = rng.uniform(0.006, 0.02) * rng.standard_normal((GRID, GRID), dtype=np.float32)
    density = (np.maximum(attenuation, 0.03) / speed) ** contrast
    return np.clip(1 - np.exp(-density) + noise, 0, 1).astype(np.float32)


def _rng(seed: int, part: str) -> np.random.Generator:
    """A stream of its own for each part, so that drawing opacities moves nothing else."""
    return np.random.default_rng([seed, *part.encode()])


def _half_cage(y: float) -> float:
    """Half the width of the rib cage at height `y`."""
    return 0.8 * np.sqrt(np.clip(1 - ((y - 0.45) / 1.33) ** 2, 0.01, 1))


def _both(outline: Points) -> list[np.ndarray]:
    return [np.asarray(outline) * (side, 1) for side in SIDES]


def _tube(points: np.ndarray, width: float, brightness: float) -> list[Stroke]:
    """A bone: a dense cortex about a lighter marrow."""
    return [(points, width, brightness), (points, 0.65 * width, 0.6 * brightness)]


def _rounded(points: Points, closed: bool = True) -> np.ndarray:
    """Cut the corners of a line three times (Chaikin 1974)."""
    line = np.asarray(points, float)
    for _ in range(3):
        following = np.roll(line, -1, axis=0)
        cut = np.stack([0.75 * line + 0.25 * following, 0.25 * line + 0.75 * following], 1).reshape(-1, 2)
        line = cut if closed else np.concatenate([line[:1], cut[:-2], line[-1:]])
    return line


def _texture(rng: np.random.Generator, cells: int, size: int = GRID) -> np.ndarray:
    """Smooth noise about 0 from a grid of so many cells, [size, size]."""
    return _enlarged(rng.standard_normal((cells, cells), dtype=np.float32), size)


def _blurred(field: np.ndarray) -> np.ndarray:
    """The blur of focal spot and detector, which also hides the steps of the drawn edges."""
    for _ in range(2):
        rows = np.pad(field, ((2, 2), (0, 0)), mode="edge")
        field = (0.09 * (rows[:-4] + rows[4:]) + 0.24 * (rows[1:-3] + rows[3:-1]) + 0.34 * rows[2:-2]).T
    return field


def _enlarged(field: np.ndarray, size: int = GRID) -> np.ndarray:
    return np.asarray(Image.fromarray(field).resize((size, size), Image.Resampling.BICUBIC))


def _scaled(field: np.ndarray, size: int) -> np.ndarray:
    return np.asarray(Image.fromarray(field).resize((size, size), Image.Resampling.BILINEAR))


ELSEWHERE = "another-hospital-drawn"
IMAGES_ELSEWHERE = 20  # of each class
SEED = 9_000_000  # other patients than any dataset that is drawn
SIZE = 320
GAMMA, CONTRAST, BLUR = 1.5, 0.75, 1.2  # darker, flatter, softer (standard deviation in pixels)


def draw_elsewhere(progress: Progress) -> Dataset:
    """Open the drawn dataset of another hospital under data/, and draw it first where it is missing."""
    folder = paths.data_dir() / ELSEWHERE
    if not folder.exists():
        drawings = {
            f"{CLASSES[n % 2]}/{dataset.SYNTHETIC}elsewhere_{n:03}.png": partial(_draw_as_elsewhere, n)
            for n in range(2 * IMAGES_ELSEWHERE)
        }
        _write_drawings(folder, drawings, progress, README.format(total=len(drawings), size=SIZE, seed=SEED).encode())
    return dataset.open_dataset(folder)


def _draw_as_elsewhere(n: int) -> np.ndarray:
    """A radiograph, float32 ``[SIZE, SIZE]`` 0..1, as the other hospital's machine would have taken it."""
    toned = draw_radiograph(SEED + n, bool(n % 2), SIZE) ** np.float32(GAMMA) * CONTRAST + (1 - CONTRAST) / 3
    return ops.stamp(ops.blur(toned.astype(np.float32), BLUR), 0.85, 0.02, 0.09)
