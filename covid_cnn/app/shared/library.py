"""The datasets and models that are here: found once for all pages and sessions, chosen, and how far to trust them."""

import os
from functools import lru_cache
from pathlib import Path

import streamlit as st

from covid_cnn.app import pages
from covid_cnn.app.shared import elements, own_network
from covid_cnn.common import paths
from covid_cnn.data import dataset
from covid_cnn.data.dataset import Dataset
from covid_cnn.data.tables import TABLE_SUFFIXES
from covid_cnn.models import bundle
from covid_cnn.models.bundle import Bundle
from covid_cnn.reports import card, wording

Stamp = tuple[tuple[str, int], ...]


def all_datasets() -> tuple[list[Dataset], list[str]]:
    """All datasets, and a sentence for each folder that is none."""
    return _discover(paths.data_dir(), folder_stamp(paths.data_dir()))


def folder_stamp(folder: Path) -> Stamp:
    """Differs once images came or went or a metadata.csv was rewritten; a hundredth of the work of an index."""
    times = []
    for root in [folder, *(path for path in folder.glob("*") if path.is_symlink())]:  # a dataset may lie elsewhere
        for where, folders, files in os.walk(root):
            folders[:] = [name for name in folders if not name.startswith(".")]  # those are still being added
            tables = [name for name in files if name.lower().endswith(tuple(TABLE_SUFFIXES))]
            for path in (Path(where), *(Path(where, name) for name in tables)):
                times.append((str(path), path.stat().st_mtime_ns))
    return tuple(sorted(times))


@st.cache_resource(max_entries=4, show_spinner="Looking through the datasets")
def _discover(data_dir: Path, stamp: Stamp) -> tuple[list[Dataset], list[str]]:
    return dataset.discover_datasets()


def current_model(key: str) -> Bundle | None:
    """The model whose name is kept under ``key`` of the session, the first at first; None where none can be loaded."""
    models, problems = bundle.discover_bundles()
    for problem in problems:
        st.error(elements.escape_markdown(problem))
    if not models:
        offer_training()
        return None
    own_network.take_added(key)
    if st.session_state.get(key) not in models:
        st.session_state[key] = next(iter(models))
    st.session_state[key] = st.session_state[key]  # or Streamlit forgets it with the first page that offers no choice
    with elements.draw_errors():
        return elements.load_bundle(st.session_state[key])
    choose_model(key)  # another may be whole
    return None


def offer_training() -> None:
    """What a page says that needs a model, where there is none."""
    st.info("There is no model yet. Train one: it takes a minute.", icon=":material/model_training:")
    if st.button("Train a model", type="primary"):
        pages.switch_to(pages.TRAIN)


def choose_model(key: str) -> None:
    """The choice of a model, its name kept under ``key`` of the session."""
    models, _ = bundle.discover_bundles()
    st.selectbox("Model", list(models), key=key, help="Each was trained on other images or in another way.")
    own_network.offer_own_network(key, all_datasets()[0])


def draw_trust(model: Bundle) -> None:
    """All that was measured of the model, the most sobering sentence first."""
    for sentence in card.headlines(model.info):
        st.caption(elements.escape_markdown(sentence))
    if evidence := _evidence(model):
        titles, texts = zip(*evidence, strict=True)
        for tab, text in zip(st.tabs(titles), texts, strict=True):
            tab.markdown(text)
    if st.button("Model card", icon=":material/id_card:", type="tertiary"):
        _card(model.name)


@lru_cache(maxsize=8)
def _evidence(model: Bundle) -> list[tuple[str, str]]:
    """What was measured of the model besides its own test: titles, each with its Markdown."""
    texts = []
    for section in model.info.evidence or []:
        parts = [wording.strip_links(section.text)]
        if section.table:
            rows = [[elements.escape_markdown(str(cell)) for cell in row] for row in section.table.rows]
            columns = [elements.escape_markdown(str(name)) for name in section.table.columns]
            parts.append(card.markdown_table(columns, rows))
        texts.append((elements.escape_markdown(section.title), "\n\n".join(filter(None, parts))))
    return texts


@st.dialog("Model card", width="large")
def _card(name: str) -> None:
    folder = bundle.folder_of(name)
    above, link, below = card.render_card(bundle.read_info(folder)).partition(card.DIAGRAM_LINK)
    st.markdown(above)
    if link and (folder / card.DIAGRAM).is_file():
        st.image((folder / card.DIAGRAM).read_bytes(), alt="Reliability diagram")
    st.markdown(below)
