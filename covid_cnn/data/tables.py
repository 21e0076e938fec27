"""Tables that name images: a metadata.csv as people really have it, in any usual separator, encoding and spelling."""

import csv
import io
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from covid_cnn.common.errors import DatasetError

METADATA = "metadata.csv"
NOTES = "NOTES.txt"  # beside it: what was left out when the dataset was made, a sentence a line
TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".tab"})
_SEPARATORS = ",;\t|"
# What columns are called elsewhere, by their letters and digits alone, the likeliest first.
_ALIASES = {
    "filename": (
        *("filename", "file", "image", "imagename", "imagefile", "imagefilename", "imageid", "imageindex", "img"),
        *("imgname", "imagepath", "filepath", "path", "xrayimagename", "dicomfile", "name"),
    ),
    "finding": (
        *("finding", "findings", "findinglabels", "label", "labels", "diagnosis", "disease", "category", "target"),
    ),
    "class": ("class", "classname", "classlabel"),
    "split": ("split", "set", "subset", "partition", "datasplit", "datasettype", "dataset", "phase", "usage"),
    "patientid": ("patientid", "patient", "patientnumber", "subjectid", "subject", "caseid", "pid"),
    "view": ("view", "viewposition", "projection"),
    "modality": ("modality",),
    "folder": ("folder", "directory", "dir", "subfolder"),
    "url": ("url", "link"),
    "source": ("source", "site", "hospital", "institution"),
    "date": ("date", "studydate"),
    "sex": ("sex", "gender", "patientgender", "patientsex"),
    "age": ("age", "patientage"),
    "location": ("location",),
    "license": ("license", "licence"),
}


@dataclass(frozen=True)
class Table:
    """The rows of a table whose columns have the names that this program knows, where their meaning is plain."""

    columns: tuple[str, ...]  # their names, in order
    rows: tuple[Mapping[str, str], ...]  # the values by column, without blanks about them; "" where there is none

    @property
    def names_images(self) -> bool:
        """Whether it has a column of image files, and one of what they show."""
        return "filename" in self.columns and bool({"finding", "class"} & set(self.columns))


def parse_table(content: bytes, name: str = METADATA) -> Table:
    """Read a table: UTF-8, UTF-16 or Windows-1252; separated by commas, semicolons, tabs or bars.

    Raises DatasetError where it is no table of text.
    """
    try:
        text = _decode(content)
        first, _, rest = text.partition("\n")
        separator = ""
        if match := re.fullmatch(r"sep=(.)\s*", first):  # what Excel writes for itself
            text, separator = rest, match[1]
        separator = separator or max(_SEPARATORS, key=lambda one: _understood(text, one))
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        columns = _columns(next(reader, []))
        rows = [
            dict.fromkeys(columns, "") | {key: value.strip() for key, value in zip(columns, row, strict=False) if key}
            for row in reader
            if any(map(str.strip, row))
        ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"The {name} cannot be read: {error}.") from error
    known = tuple(filter(None, columns))
    return Table(known, tuple({key: row[key] for key in known} for row in rows))


def _decode(content: bytes) -> str:
    for mark, encoding in (
        (b"\xef\xbb\xbf", "utf-8-sig"),
        (b"\xff\xfe\0\0", "utf-32"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
    ):
        if content.startswith(mark):
            return content.decode(encoding)
    for encoding, zeros in (("utf-16-le", content[1:200:2]), ("utf-16-be", content[:200:2])):
        if len(zeros) > 4 and zeros.count(0) > len(zeros) / 2:
            return content.decode(encoding)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _understood(text: str, separator: str) -> tuple[int, int]:
    header = next(csv.reader(io.StringIO(text, newline=""), delimiter=separator), [])
    columns = _columns(header)
    return len({"filename", "finding", "class", "split"} & set(columns)), len(columns)


def _columns(header: Iterable[str]) -> list[str]:
    """The names of the columns, known ones as they are called here; "" for one that has no name or a second one's."""
    own = [cell.strip().lstrip("\ufeff") for cell in header]
    letters = ["".join(filter(str.isalnum, cell.casefold())) for cell in own]
    columns = list(own)
    for name, aliases in _ALIASES.items():
        index = next((letters.index(alias) for alias in aliases if alias in letters), None)
        if index is not None:
            columns = [("" if column == name else column) for column in columns]
            columns[index] = name
    return [column if column not in columns[:index] else "" for index, column in enumerate(columns)]


class ImageFinder:
    """Finds the image that a row of a table names, among the files there are, relative to the folder of the table."""

    def __init__(self, files: Collection[PurePosixPath]) -> None:
        self._exact = set(files)
        self._whole: dict[str, set[PurePosixPath]] = defaultdict(set)
        self._ends: dict[str, set[PurePosixPath]] = defaultdict(set)
        self._stems: dict[str, set[PurePosixPath]] = defaultdict(set)
        for place in files:
            self._whole[_plain(place.as_posix())].add(place)
            self._ends[_plain(place.name)].add(place)
            self._stems[_plain(place.stem)].add(place)

    def find(self, row: Mapping[str, str]) -> PurePosixPath | None:
        """The one image that is meant: by its path, or else by its name, its case and its ending; None if none is.

        A name that several images share means none of them.
        """
        filename = row.get("filename", "").replace("\\", "/").strip("/ ")
        if not filename:
            return None
        folders = list(dict.fromkeys((row.get("folder", "").replace("\\", "/") or "images", "images", "")))
        places = [PurePosixPath(folder) / filename for folder in folders]
        if exact := next((place for place in places if place in self._exact), None):
            return exact
        wanted = _plain(PurePosixPath(filename).as_posix())
        name = wanted.rpartition("/")[2]
        inner = {place for place in self._ends[name] if f"/{_plain(place.as_posix())}".endswith(f"/{wanted}")}
        stems = self._stems[name] | self._stems[name.rpartition(".")[0]]
        for found in (*(self._whole[_plain(place.as_posix())] for place in places), inner, self._ends[name], stems):
            if found:
                return next(iter(found)) if len(found) == 1 else None
        return None


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()
