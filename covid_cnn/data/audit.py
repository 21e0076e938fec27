"""The audit of a dataset: unreadable images, duplicates, leaks between splits, doubtful labels, shortcuts.

Every image is read once (`data.index`); file names, metadata, splits and patients are checked besides. What is found
are reasons to look, not verdicts.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import msgspec

from covid_cnn.common.jobs import Progress, unwatched
from covid_cnn.common.words import count
from covid_cnn.data import index, metadata, shortcuts
from covid_cnn.data.classes import DISEASES, HEALTHY, LATERAL_VIEWS
from covid_cnn.data.dataset import Dataset, Item
from covid_cnn.data.index import find_near_duplicates
from covid_cnn.data.shortcuts import Shortcut

SEVERITIES = ("serious", "warning", "note")
SMALL_SIDE_OF_NETWORKS = 200  # pixels; networks here see at least 224, so that smaller images are blown up
IMBALANCE = 3  # images of the largest class for one of the smallest
READING = 0.5  # the part of the time that reading takes, the rest being the shortcuts
LATERAL = re.compile(r"[-_. ](?:lat|lateral)(?:[-_. ]|$)|[-_]l$", re.IGNORECASE)  # in a file's name
UNLIKE = re.compile(r"not an X-ray|frontal views")  # in what reading an image warned of


@dataclass(frozen=True)
class Finding:
    """One thing that an audit found wrong."""

    # What it is, for programs: left_out, unreadable, small, not_frontal, duplicate, near_duplicate, patient_in_splits,
    # several_images, label, imbalance, source_shortcut, and NAME_shortcut for each of `shortcuts`
    kind: str
    severity: str  # "serious" (figures from this dataset mislead), "warning" or "note"
    sentence: str  # what it is, for people
    paths: tuple[str, ...] = ()  # the images it is about, relative to the dataset's root
    pairs: tuple[tuple[str, str], ...] = ()  # the pairs of images it is about


@dataclass(frozen=True)
class AuditReport:
    """All findings about a dataset, the serious ones first, and every shortcut that was measured."""

    dataset: str
    images: int
    findings: tuple[Finding, ...]
    shortcuts: tuple[Shortcut, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The report for JSON."""
        measured = [
            {"name": one.name, "class": one.label, "auroc": msgspec.to_builtins(one.auroc), "telling": one.telling}
            | {"sentence": one.sentence}
            for one in self.shortcuts
        ]
        return asdict(replace(self, shortcuts=())) | {"shortcuts": measured}

    def __str__(self) -> str:
        lines = [f"{self.dataset}: {self.images} images, {len(self.findings) or 'no'} findings"]
        for finding in self.findings:
            lines.append(f"[{finding.severity}] {finding.sentence}")
            shown = [*finding.paths, *(f"{a}  =  {b}" for a, b in finding.pairs)]
            lines += [f"    {line}" for line in shown[:5]]
            lines += [f"    and {len(shown) - 5} more"] if len(shown) > 5 else []
        if self.shortcuts:
            lines.append("What should not tell the class, and how well it does:")
            lines += [f"    {one.sentence}" for one in self.shortcuts]
        return "\n".join(lines)


class _Examined(NamedTuple):
    """An image that can be read, with its record, and its path below the dataset's root."""

    item: Item
    record: index.ImageRecord
    path: str


def audit_dataset(dataset: Dataset, progress: Progress = unwatched) -> AuditReport:
    """Audit a dataset: look for duplicates, leaks, doubtful labels, shortcuts and unreadable images."""
    indexed = index.index_items(dataset.items, lambda part, line: progress(READING * part, line))
    readable = [_Examined(item, record, dataset.place_of(item)) for item, record in indexed]
    found = {item.path for item, _ in indexed}
    drawn = index.index_items(shortcuts.sample([item for item, _ in indexed]), thumbnails=True)
    measured = shortcuts.measure_shortcuts(drawn, lambda part, line: progress(READING + (1 - READING) * part, line))
    findings = [
        *(Finding("left_out", "note", note) for note in dataset.notes),
        *_unreadable([dataset.place_of(item) for item in dataset.items if item.path not in found]),
        *_small(readable),
        *_not_frontal(readable),
        *_duplicates(readable),
        *_patients_in_splits(dataset),
        *_several_images(dataset),
        *_contradicted_labels(dataset),
        *_imbalance(dataset),
        *_source_shortcut(dataset),
        *(
            Finding(f"{one.name}_shortcut", "serious", one.sentence, tuple(map(dataset.place_of, one.typical)))
            for one in measured
            if one.telling
        ),
    ]
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    progress(1.0, f"Audited {len(dataset.items)} images")
    return AuditReport(dataset.name, len(dataset.items), tuple(findings), tuple(measured))


def _unreadable(paths: list[str]) -> Iterator[Finding]:
    if paths:
        sentence = f"{count(len(paths), 'image')} cannot be read; training and evaluation skip what they cannot read."
        yield Finding("unreadable", "warning", sentence, tuple(paths))


def _small(images: list[_Examined]) -> Iterator[Finding]:
    small = tuple(one.path for one in images if min(one.record.size) < SMALL_SIDE_OF_NETWORKS)
    if small:
        few = count(len(small), "image")
        sentence = f"{few} of less than {SMALL_SIDE_OF_NETWORKS} px on a side: too coarse for fine findings."
        yield Finding("small", "note", sentence, small)


def _not_frontal(images: list[_Examined]) -> Iterator[Finding]:
    """By metadata, file name and colours; the pixels are not looked at."""
    other = tuple(
        one.path
        for one in images
        if one.item.facts.get("view", "").lower() in LATERAL_VIEWS
        or LATERAL.search(one.item.path.stem)
        or any(UNLIKE.search(warning) for warning in one.record.warnings)
    )
    if other:
        sentence = f"{count(len(other), 'image')} may be no frontal chest X-ray, as name, metadata or colours tell."
        yield Finding("not_frontal", "warning", sentence, other)


def _duplicates(images: list[_Examined]) -> Iterator[Finding]:
    """Each image with the first that has its pixels, and the first of each with those that look the same.

    All pairs of a group would say no more, and of 10,000 images of "no picture" they would fill the memory.
    """
    first: dict[str, _Examined] = {}
    same = []
    for one in images:
        before = first.setdefault(one.record.fingerprint.digest, one)
        if before is not one:
            same.append((before, one))
    yield from _pairs("duplicate", "the same, pixel for pixel", same)
    apart = list(first.values())
    similar = find_near_duplicates(
        [one.record.fingerprint for one in apart], [one.record.synthetic or one.item.synthetic for one in apart]
    )
    yield from _pairs("near_duplicate", "nearly the same", [(apart[i], apart[j]) for i, j in similar])


def _pairs(kind: str, what: str, pairs: list[tuple[_Examined, _Examined]]) -> Iterator[Finding]:
    """One finding for each kind of pair: across classes, splits, patients, or within a patient. The worst counts."""
    left = pairs
    for severity, where, apart in (
        ("serious", "in two classes: one label must be wrong", lambda a, b: a.label != b.label),
        ("serious", "in two splits: the test knows images of the training", lambda a, b: a.split != b.split),
        ("warning", "that count as two patients, who may be one", lambda a, b: a.patient != b.patient),
        ("note", "of one patient in one split", lambda a, b: True),
    ):
        pairs_apart = [(a, b) for a, b in left if apart(a.item, b.item)]
        left = [(a, b) for a, b in left if not apart(a.item, b.item)]
        if pairs_apart:
            sentence = f"{count(len(pairs_apart), 'pair')} of images {what}, {where}."
            yield Finding(kind, severity, sentence, pairs=tuple((a.path, b.path) for a, b in pairs_apart))


def _patients_in_splits(dataset: Dataset) -> Iterator[Finding]:
    splits = defaultdict(set)
    for item in dataset.items:
        splits[item.patient].add(item.split)
    leaked = {patient for patient, where in splits.items() if len(where) > 1}
    if leaked:
        paths = [dataset.place_of(item) for item in dataset.items if item.patient in leaked]
        sentence = f"{count(len(leaked), 'patient')} in two splits: the test knows patients of the training."
        yield Finding("patient_in_splits", "serious", sentence, tuple(paths))


def _several_images(dataset: Dataset) -> Iterator[Finding]:
    images = defaultdict(list)
    for item in dataset.items:
        images[item.patient].append(dataset.place_of(item))
    several = [paths for paths in images.values() if len(paths) > 1]
    if several:
        sentence = (
            f"{count(len(several), 'patient')} with several images, {sum(map(len, several))} in all, as names or "
            "metadata tell: splits and intervals must go by patient."
        )
        yield Finding("several_images", "note", sentence, tuple(path for paths in several for path in paths))


def _contradicted_labels(dataset: Dataset) -> Iterator[Finding]:
    for split in dataset.splits:
        for label in dataset.classes:
            items = [item for item in dataset.subset(split) if item.label == label]
            named = {item: disease for item in items if (disease := _contradiction(item))}
            if named:
                diseases = ", ".join(f"{n} {disease}" for disease, n in Counter(named.values()).most_common())
                sentence = (
                    f"The file names or metadata of {len(named)} of {count(len(items), 'image')} "
                    f"in {f'{split}/' if split else ''}{label} name something else: {diseases}."
                )
                yield Finding("label", "warning", sentence, tuple(map(dataset.place_of, named)))


def _contradiction(item: Item) -> str | None:
    """The disease that file name or metadata name, where it contradicts the class; else None.

    Complications count for their cause (ARDS in COVID-19), and a class of pneumonias may hold COVID-19.
    """
    text = f"{item.path.stem} {item.facts.get('finding', '')}"
    named = [disease for disease, pattern in DISEASES.items() if pattern.search(text)]
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
        origins = "; ".join(
            f"{label} from {', '.join(sorted(_about(one, dataset) for one, own in labels_of.items() if label in own))}"
            for label in dataset.classes
        )
        sentence = (
            f"No source holds two classes ({origins}): a network can tell the sources apart instead of the disease."
        )
        yield Finding("source_shortcut", "serious", sentence)


def _about(source: str, dataset: Dataset) -> str:
    if source == dataset.name:
        return "unknown source"
    return f"{source}: {metadata.WHO[source]}" if source in metadata.WHO else source
