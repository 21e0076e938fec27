"""What is wrong with a dataset: unreadable images, duplicates, leaks between splits, doubtful labels, shortcuts.

It reads every image once, and looks besides at file names, splits and patients. What it finds are reasons to look,
not verdicts.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations

import numpy as np

from covid_cnn import imaging
from covid_cnn.datasets import Dataset, Item
from covid_cnn.errors import ImageError
from covid_cnn.evaluation import Interval, auroc, bootstrap
from covid_cnn.likeness import Fingerprint, fingerprint, near_duplicates

SEVERITIES = ("serious", "warning", "note")

SMALL_SIDE = 200  # pixels; networks here see at least 224, so that smaller images are blown up
IMBALANCE = 3  # images of the largest class for one of the smallest

# An AUROC from image size alone, whose whole interval lies above this, is a shortcut that a network can take.
SHORTCUT_AUROC = 0.6
FOLDS = 5

DISEASES = {
    name: re.compile(pattern, re.IGNORECASE)
    for name, pattern in {
        "COVID-19": r"covid|ncov|sars-?cov-?2|coronavirus",
        "SARS": r"(?<![a-z])sars(?!-?cov-?2)",
        "MERS": r"(?<![a-z])mers",
        "ARDS": r"(?<![a-z])ards",
        "Streptococcus": r"strepto|pneumococc",
        "Pneumocystis": r"pneumocystis",
        "Legionella": r"legionel",
        "Klebsiella": r"klebsiel",
        "Mycoplasma": r"mycoplasma",
        "Influenza": r"influenza",
        "Varicella": r"varicella",
        "Tuberculosis": r"tubercul",
        "Lipoid": r"lipoid",
    }.items()
}
HEALTHY = re.compile(r"(normal|no[ _-]?findings?|healthy|negative)", re.IGNORECASE)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes
    ----------
    kind : what it is, for programs: unreadable, small, duplicate, near_duplicate, patient_in_splits, label,
        imbalance, size_shortcut, source_shortcut.
    severity : "serious" (figures from this dataset mislead), "warning" or "note".
    sentence : what it is, for people.
    paths : the images it is about, relative to the dataset's root.
    pairs : the pairs of images it is about.
    """

    kind: str
    severity: str
    sentence: str
    paths: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Report:
    """All findings about a dataset, the serious ones first."""

    dataset: str
    images: int
    findings: tuple[Finding, ...]

    def to_dict(self) -> dict:
        """The report for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"{self.dataset}: {self.images} images, {len(self.findings) or 'no'} findings"]
        for finding in self.findings:
            lines.append(f"[{finding.severity}] {finding.sentence}")
            shown = [*finding.paths, *(f"{a}  =  {b}" for a, b in finding.pairs)]
            lines += [f"    {line}" for line in shown[:5]]
            lines += [f"    and {len(shown) - 5} more"] if len(shown) > 5 else []
        return "\n".join(lines)


@dataclass(frozen=True)
class _Look:
    """What is kept of an image once it was read."""

    item: Item
    path: str  # relative to the dataset's root
    print: Fingerprint


def audit(dataset: Dataset, progress: Callable[[float, str], None] | None = None) -> Report:
    """Look for what is wrong with a dataset.

    Parameters
    ----------
    dataset : an index of images.
    progress : called with the part done (0..1) and a line about it.

    Returns
    -------
    The findings; an image that cannot be read is one.
    """
    looks: list[_Look] = []
    unreadable = []
    for n, item in enumerate(dataset.items, 1):
        path = item.path.relative_to(dataset.root).as_posix()
        try:
            looks.append(_Look(item, path, fingerprint(imaging.read(item.path).pixels)))
        except ImageError:
            unreadable.append(path)
        if progress:
            progress(n / len(dataset.items), f"Read {n} of {len(dataset.items)} images")
    findings = [
        *_unreadable(unreadable),
        *_small(looks),
        *_duplicates(looks),
        *_near_duplicates(looks if not dataset.synthetic else []),  # those are drawn to one plan, and all alike
        *_patients_in_splits(dataset),
        *_contradicted_labels(dataset),
        *_imbalance(dataset),
        *_source_shortcut(dataset),
        *_size_shortcut(looks),
    ]
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return Report(dataset.name, len(dataset.items), tuple(findings))


def _unreadable(paths: list[str]) -> Iterator[Finding]:
    if paths:
        sentence = f"{_count(len(paths), 'image')} cannot be read; training and evaluation skip what they cannot read."
        yield Finding("unreadable", "warning", sentence, tuple(paths))


def _small(looks: list[_Look]) -> Iterator[Finding]:
    small = tuple(look.path for look in looks if min(look.print.size) < SMALL_SIDE)
    if small:
        sentence = (
            f"{_count(len(small), 'image')} of less than {SMALL_SIDE} px on a side: too coarse for fine findings."
        )
        yield Finding("small", "note", sentence, small)


def _duplicates(looks: list[_Look]) -> Iterator[Finding]:
    same = defaultdict(list)
    for look in looks:
        same[look.print.digest].append(look)
    exact = [pair for group in same.values() for pair in combinations(group, 2)]
    yield from _pairs("duplicate", "the same, pixel for pixel", exact)


def _near_duplicates(looks: list[_Look]) -> Iterator[Finding]:
    """Pairs that differ in pixels, but look the same."""
    pairs = [(looks[i], looks[j]) for i, j in near_duplicates([look.print for look in looks])]
    near = [(one, other) for one, other in pairs if one.print.digest != other.print.digest]
    yield from _pairs("near_duplicate", "nearly the same", near)


def _pairs(kind: str, what: str, pairs: list[tuple[_Look, _Look]]) -> Iterator[Finding]:
    """One finding for each way in which the two of a pair may lie apart, the worst counting."""
    left = pairs
    for severity, where, apart in (
        ("serious", "in two classes: one label must be wrong", lambda a, b: a.label != b.label),
        ("serious", "in two splits: the test knows images of the training", lambda a, b: a.split != b.split),
        ("warning", "that count as two patients, who may be one", lambda a, b: a.patient != b.patient),
        ("note", "of one patient in one split", lambda a, b: True),
    ):
        found = [(a, b) for a, b in left if apart(a.item, b.item)]
        left = [(a, b) for a, b in left if not apart(a.item, b.item)]
        if found:
            sentence = f"{_count(len(found), 'pair')} of images {what}, {where}."
            yield Finding(kind, severity, sentence, pairs=tuple((a.path, b.path) for a, b in found))


def _patients_in_splits(dataset: Dataset) -> Iterator[Finding]:
    splits = defaultdict(set)
    for item in dataset.items:
        splits[item.patient].add(item.split)
    leaked = {patient for patient, where in splits.items() if len(where) > 1}
    if leaked:
        paths = [item.path.relative_to(dataset.root).as_posix() for item in dataset.items if item.patient in leaked]
        sentence = f"{_count(len(leaked), 'patient')} in two splits: the test knows patients of the training."
        yield Finding("patient_in_splits", "serious", sentence, tuple(paths))


def _contradicted_labels(dataset: Dataset) -> Iterator[Finding]:
    for split in dataset.splits:
        for label in dataset.classes:
            items = [item for item in dataset.subset(split) if item.label == label]
            named = {item: disease for item in items if (disease := _contradiction(item))}
            if named:
                diseases = ", ".join(f"{n} {disease}" for disease, n in Counter(named.values()).most_common())
                sentence = (
                    f"The file names of {len(named)} of {_count(len(items), 'image')} "
                    f"in {f'{split}/' if split else ''}{label} name something else: {diseases}."
                )
                paths = tuple(item.path.relative_to(dataset.root).as_posix() for item in named)
                yield Finding("label", "warning", sentence, paths)


def _contradiction(item: Item) -> str | None:
    """A disease that the file name tells and that does not fit the class.

    Complications count for their cause (ARDS in COVID-19), and a class of pneumonias may hold COVID-19.
    """
    named = [disease for disease, pattern in DISEASES.items() if pattern.search(item.path.stem)]
    healthy = HEALTHY.match(item.label)
    fits = any(DISEASES[disease].search(item.label) for disease in named)
    if not named or fits or ("COVID-19" in named and not healthy):
        return None
    return named[0]


def _imbalance(dataset: Dataset) -> Iterator[Finding]:
    ranked = Counter(item.label for item in dataset.items).most_common()
    (large, most), (rare, fewest) = ranked[0], ranked[-1]
    if most >= IMBALANCE * fewest:
        sentence = f"The classes are uneven: {most} images of {large}, but {fewest} of {rare}; accuracy alone misleads."
        yield Finding("imbalance", "warning", sentence)


def _source_shortcut(dataset: Dataset) -> Iterator[Finding]:
    labels_of = defaultdict(set)
    for item in dataset.items:
        labels_of[item.source].add(item.label)
    if len(dataset.classes) > 1 and all(len(labels) == 1 for labels in labels_of.values()):
        told = "; ".join(
            f"{label} from {', '.join(sorted(source for source, labels in labels_of.items() if label in labels))}"
            for label in dataset.classes
        )
        sentence = f"No source holds two classes ({told}): a network can tell the sources apart instead of the disease."
        yield Finding("source_shortcut", "serious", sentence)


def _size_shortcut(looks: list[_Look]) -> Iterator[Finding]:
    label, interval = _size_auroc(looks)
    if interval and interval.low > SHORTCUT_AUROC:
        sentence = (
            f"Width, height and aspect ratio alone tell {label} from the rest with a cross-validated AUROC of "
            f"{interval}: the classes come from different places."
        )
        yield Finding("size_shortcut", "serious", sentence)


def _size_auroc(looks: Sequence[_Look]) -> tuple[str, Interval | None]:
    """How well image size tells the largest class from the rest: AUROC, cross-validated by patient.

    None where a side has fewer than FOLDS patients.
    """
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
    from sklearn.tree import DecisionTreeClassifier

    if not looks:
        return "", None
    label = Counter(look.item.label for look in looks).most_common(1)[0][0]
    labels = np.array([look.item.label == label for look in looks])
    patients = [look.item.patient for look in looks]
    if min(len({p for p, own in zip(patients, labels, strict=True) if own == side}) for side in (True, False)) < FOLDS:
        return label, None
    sizes = np.array([(w, h, w / h) for w, h in (look.print.size for look in looks)])
    tree = DecisionTreeClassifier(min_samples_leaf=5, random_state=0)
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    scores = cross_val_predict(tree, sizes, labels, groups=patients, cv=folds, method="predict_proba")[:, 1]
    return label, bootstrap(auroc, labels, scores, patients)


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
