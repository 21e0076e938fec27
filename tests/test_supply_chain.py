"""What is installed: locked by hashes, and under licences that go with MIT."""

import re
from pathlib import Path

import pytest

from docs import licences

ROOT = Path(__file__).parents[1]
LOCKS = ("constraints.txt", "requirements.txt", "requirements-predict.txt")


def pinned(lock: str) -> dict[str, set[str]]:
    """The versions of each package in a lock; every one of them must have a hash."""
    found: dict[str, set[str]] = {}
    for entry in re.split(r"\n(?=\S)", (ROOT / lock).read_text()):
        if not entry.startswith("#"):
            name, version = re.match(r"([A-Za-z0-9._-]+)==([^\s;]+)", entry).groups()
            assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry
            found.setdefault(plain(name), set()).add(version)
    return found


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("lock", LOCKS)
def test_everything_in_a_lock_has_a_hash_and_the_version_that_all_have(lock):
    everything = pinned("constraints.txt")
    assert all(versions <= everything[name] for name, versions in pinned(lock).items())


@pytest.mark.parametrize(
    ("wanted", "lock"), [("requirements.in", "requirements.txt"), ("requirements-dev.in", "constraints.txt")]
)
def test_what_is_wanted_is_locked(wanted, lock):
    locked = pinned(lock)
    for line in (ROOT / wanted).read_text().splitlines():
        if found := re.match(r"([A-Za-z0-9._-]+)==(\S+)", line):
            assert found[2] in locked[plain(found[1])], f"{line}: run make lock"


def test_without_training_there_is_no_tensorflow():
    assert not {"tensorflow", "keras"} & pinned("requirements-predict.txt").keys()


def test_every_licence_goes_with_mit_and_is_in_the_table():
    told = licences.installed_licences()
    assert not [one for one in told if not one.allowed]
    table = {plain(row.split(" | ")[0][2:]) for row in licences.TABLE.read_text().splitlines() if row.startswith("| ")}
    assert pinned("requirements.txt").keys() & {plain(one.package) for one in told} <= table


@pytest.mark.parametrize(
    ("said", "family"),
    [
        ("GPL-3.0-only", "GPL"),
        ("GNU General Public License v3", "GPL"),
        ("GNU Lesser General Public License v3", "LGPL"),
        ("AGPL-3.0", "AGPL"),
        ("GNU Affero General Public License", "AGPL"),
        ("LGPL-2.1 AND GPL-2.0", "GPL"),
        ("GPL-2.0 OR MIT", "MIT"),
        ("MPL-2.0 AND MIT", "MPL-2.0"),
        ("Apache Software License", "Apache-2.0"),
        ("All rights reserved", ""),
    ],
)
def test_the_strictest_of_several_counts_and_of_a_choice_the_freest(said, family):
    assert licences.family(said) == family
