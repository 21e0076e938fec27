"""Home and away: one model on several datasets side by side, and several models on one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import streamlit as st

from covid_cnn import __version__
from covid_cnn.app.evaluate import asking, export
from covid_cnn.app.evaluate import figures as evaluate_figures
from covid_cnn.app.evaluate.asking import Evaluated, choose_sets
from covid_cnn.app.shared import elements
from covid_cnn.app.shared.elements import escape_markdown
from covid_cnn.common.statistics import percent, wilson
from covid_cnn.data.dataset import Dataset
from covid_cnn.evaluation import binary, external, leakage
from covid_cnn.evaluation.binary import DISEASED, BinaryPredictions
from covid_cnn.evaluation.cohorts import Shares
from covid_cnn.evaluation.evaluate import EvaluationSet
from covid_cnn.models.bundle import Bundle
from covid_cnn.models.info import ModelInfo
from covid_cnn.reports import evaluation, figures

# Keys of the session, for pages that come here with a question: the names of datasets, and whether to ask at once.
DATASETS, AT_ONCE = "evaluate_datasets", "evaluate_at_once"
MODELS = 3  # that are chosen to begin with
CAUTION = (
    "McNemar's and DeLong's p-values take the images for independent; where patients have several, trust the "
    "bootstrapped intervals more. With many comparisons some differ by chance."
)


def draw_external(models: Mapping[str, ModelInfo], datasets: list[Dataset]) -> None:
    """Choose, ask, and compare."""
    choices = choose_sets(datasets)
    if (wanted := st.session_state.pop(DATASETS, None)) is not None:  # the test images of each, which stand first
        first = {one.dataset.name: name for name, one in reversed(choices.items())}
        st.session_state["evaluate_places"] = [first[name] for name in wanted if name in first]
    left, right = st.columns(2)
    names = left.multiselect("Models", list(models), default=list(models)[:MODELS], key="evaluate_models")
    wheres = right.multiselect("Images", list(choices), default=_usual(models, choices), key="evaluate_places")
    with elements.draw_errors():
        pairs = {
            (name, where): _unseen(elements.load_bundle(name), choices[where]) for name in names for where in wheres
        }
        missing = [pair for pair in pairs.values() if asking.count_missing(*pair)]
        if missing and st.session_state.pop(AT_ONCE, False):
            asking.begin_predictions(missing)
            missing = []
        if missing:
            _offer_to_ask(missing)
        evaluated = {
            key: Evaluated(*pair, answers)
            for key, pair in pairs.items()
            if pair not in missing and (answers := asking.cached_predictions(*pair))
        }
        if evaluated:
            _compared(evaluated)
        st.caption(
            "A model at home, on images from where it learned, and away, at other hospitals; or several models on the "
            "same images. The question is one that all can be asked: ill or healthy. What a model has learned from is "
            "left out for it."
        )


def _usual(models: Mapping[str, ModelInfo], choices: Mapping[str, EvaluationSet]) -> list[str]:
    """What to begin with: test images from where most models learned, and another hospital's; else the first two."""
    trained = [own.name for info in models.values() if (own := asking.own_dataset(info))]
    homes = [place for place in choices.values() if place.split == "test" and place.dataset.name in trained]
    if not homes:
        return list(choices)[:2]
    home = max(homes, key=lambda place: trained.count(place.dataset.name))
    away = external.is_external(home.dataset, [place.dataset for place in choices.values()])
    first = next((name for name, place in choices.items() if place.dataset is away), None)
    return [home.name, *([first] if first else [])]


def _unseen(model: Bundle, place: EvaluationSet) -> tuple[Bundle, EvaluationSet]:
    known = asking.leaked_images(model, place)
    # Where it has learned from all of them, there is nothing else to show, and the page says so.
    return model, place.without(known) if known and len(known) < len(place.items) else place


def _offer_to_ask(missing: Sequence[tuple[Bundle, EvaluationSet]]) -> None:
    """One button for all that nobody has asked yet."""
    lines = "".join(
        f"\n- {escape_markdown(m.name)} on {escape_markdown(place.name)}: {len(place.items)} images"
        for m, place in missing
    )
    st.markdown(f"Still to be asked; answers are kept, so that this is done once:\n{lines}")
    if st.button("Ask all of these", type="primary", icon=":material/play_arrow:"):
        asking.begin_predictions(missing)
        st.rerun()


def _compared(evaluated: Mapping[tuple[str, str], Evaluated]) -> None:
    """The chart, the tables, and their download."""
    verdicts = {key: binary.binarize(one.model, one.answers, DISEASED) for key, one in evaluated.items()}
    notes = _warn(evaluated)
    for sentence, intervals in _sentences(evaluated, verdicts):
        st.markdown(f"## {escape_markdown(sentence)}")
        st.caption(escape_markdown(intervals))
    rows = [_row(*key, verdicts[key], one, one.key) for key, one in evaluated.items()]
    evaluate_figures.draw_dots(rows)
    cautions = [caution for row in rows for caution in row.cautions]
    for caution in cautions:
        st.caption(f":material/groups: {escape_markdown(caution)}")
    notes += cautions
    differences = external.compare_all(verdicts)
    tables = external.summary_tables(rows, differences)
    if differences:
        notes.append(CAUTION)
    _downloads({one.model.name: one.model.info.sha256 for one in evaluated.values()}, rows, tables, notes)
    for title, table in tables.items():
        st.markdown(f"### {title}")
        elements.draw_table(table, alt=title)
    if differences:
        st.caption(CAUTION)


def _sentences(
    evaluated: Mapping[tuple[str, str], Evaluated], by_pair: Mapping[tuple[str, str], BinaryPredictions]
) -> list[tuple[str, str]]:
    """What was found, a sentence a model, how many were right at home and away, in people; and the intervals."""
    sentences = []
    for name in dict.fromkeys(name for name, _ in evaluated):
        own = {place: one for (model, place), one in evaluated.items() if model == name}
        wheres = [asking.home_or_away(one.model, one.place).lower() or "elsewhere" for one in own.values()]
        parts, intervals = [], []
        for (place, one), where in zip(own.items(), wheres, strict=True):
            verdicts, data = by_pair[name, place], one.place.dataset.name
            right = wilson(int(verdicts.right.sum()), len(verdicts.items))
            which = where if wheres.count(where) == 1 else f"{where} ({data})"
            parts.append(f"{which} {int(verdicts.right.sum())} of {right.n} right")
            intervals.append(f"{data} {percent(right.low)} to {percent(right.high)}")
        sentences.append((f"{name}: {', '.join(parts)}.", f"95 % intervals: {', '.join(intervals)}."))
    return sentences


def _downloads(
    models: Mapping[str, str],
    lines: Sequence[Shares],
    tables: Mapping[str, Sequence[Sequence[object]]],
    notes: Sequence[str],
) -> None:
    """The report, the tables and the figure."""
    with st.container(horizontal=True):
        make = partial(evaluation.render_comparison, models, lines, tables, notes, __version__)
        elements.offer_download("Report (HTML)", make, "home_and_away.html")
        rows = [row for table in tables.values() for row in table]
        elements.offer_download("These tables (CSV)", partial(evaluation.csv, rows), "home_and_away.csv")
        for kind in figures.KINDS:
            export.offer_figure("Figure", partial(figures.draw_shares, lines), "home_and_away", kind)


def _warn(evaluated: Mapping[tuple[str, str], Evaluated]) -> list[str]:
    """Of models that have learned from what they are asked about, or may have; return what was said."""
    said, puzzling = [], {}
    for (name, where), one in evaluated.items():
        known = asking.leaked_images(one.model, one.place)
        if known is None:
            puzzling[name] = one.model
        elif known:
            said.append(f"{name} has learned from all {len(known)} images of {where}.")
            st.warning(escape_markdown(said[-1]), icon=":material/school:")
    for model in puzzling.values():
        said.append(leakage.leakage_unknown(model))
        st.warning(escape_markdown(said[-1]), icon=":material/warning:")
    if any(one.place.unseen for one in evaluated.values()):
        said.append(asking.LEFT_OUT)
        st.caption(said[-1])
    return said


@st.cache_data(max_entries=64, show_spinner="Resampling patients")
def _row(name: str, where: str, _verdicts: BinaryPredictions, _one: Evaluated, key: tuple) -> Shares:
    known = asking.leaked_images(_one.model, _one.place)
    row = external.summary_row(name, where, _verdicts, known, left_out=_one.place.unseen)
    side = asking.home_or_away(_one.model, _one.place)
    return replace(row, name=f"{side}: {row.name}") if side else row
