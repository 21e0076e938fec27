"""The datasets under data/, indexed once for all pages and sessions, and anew when they change."""

import os
from pathlib import Path

import streamlit as st

from covid_cnn.common import paths
from covid_cnn.data import dataset
from covid_cnn.data.dataset import Dataset
from covid_cnn.data.tables import TABLE_SUFFIXES

Stamp = tuple[tuple[str, int], ...]


def all_datasets() -> tuple[list[Dataset], list[str]]:
    """All datasets, and a sentence for each folder that is none."""
    return _discover(paths.data_dir(), folder_stamp(paths.data_dir()))


def folder_stamp(folder: Path) -> Stamp:
    """Differs once images came or went or a metadata.csv was rewritten; a hundredth of the work of an index."""
    found = []
    for root in [folder, *(path for path in folder.glob("*") if path.is_symlink())]:  # a dataset may lie elsewhere
        for where, folders, files in os.walk(root):
            folders[:] = [name for name in folders if not name.startswith(".")]  # those are still being added
            tables = [name for name in files if name.lower().endswith(tuple(TABLE_SUFFIXES))]
            for path in (Path(where), *(Path(where, name) for name in tables)):
                found.append((str(path), path.stat().st_mtime_ns))
    return tuple(sorted(found))


@st.cache_resource(max_entries=4, show_spinner="Looking through the datasets")
def _discover(data_dir: Path, stamp: Stamp) -> tuple[list[Dataset], list[str]]:
    return dataset.discover_datasets(data_dir)
