"""One model on one dataset: the question, the threshold to drag, and everything that follows from them."""

import streamlit as st

from covid_cnn.app.evaluate import asking, errors, export, figures
from covid_cnn.app.evaluate.asking import Evaluated
from covid_cnn.app.shared import elements, own_network
from covid_cnn.app.shared.elements import escape_markdown
from covid_cnn.common.errors import CovidCnnError
from covid_cnn.common.statistics import percent, wilson
from covid_cnn.data.dataset import Dataset
from covid_cnn.evaluation import binary, leakage
from covid_cnn.evaluation.binary import BinaryPredictions
from covid_cnn.evaluation.evaluate import EvaluationSet
from covid_cnn.models.bundle import Bundle
from covid_cnn.reports import wording

CHOSEN = "evaluate_threshold_of"  # the thresholds that were let go, by model and question


def draw_single(models: list[str], datasets: list[Dataset]) -> None:
    """Choose, ask, and tell."""
    choices = asking.choose_sets(datasets)
    own_network.take_added("evaluate_model")
    left, right = st.columns(2)
    name = left.selectbox("Model", models, key="evaluate_model", persist_state="session")
    with left:
        own_network.offer_own_network("evaluate_model", datasets)
    where = right.selectbox("Images", list(choices), key="evaluate_place", persist_state="session")
    with elements.draw_errors():
        model = elements.load_bundle(name)
        place = _unseen(model, choices[where])
        answers = asking.cached_predictions(model, place)
        if answers is None:
            return
        evaluated = Evaluated(model, place, answers)
        question = _question(evaluated)
        verdicts = binary.binarize(model, answers, question)
        for note in verdicts.notes:
            st.caption(f":material/info: {escape_markdown(note)}")
        _sections(evaluated, verdicts, question)


def _unseen(model: Bundle, place: EvaluationSet) -> EvaluationSet:
    """The images without those that the model has learned from, unless somebody wants them too."""
    learned, count = asking.leaked_images(model, place), len(place.items)
    if learned is None:
        st.warning(escape_markdown(leakage.leakage_unknown(model)), icon=":material/warning:")
    elif len(learned) == count:
        st.warning("The model has learned from all of these images: this is no test.", icon=":material/school:")
    elif learned and st.toggle(
        f"Leave out the {len(learned)} of these {count} images that {escape_markdown(model.name)} has learned from",
        value=True,
        key=f"evaluate_unseen_{model.name}_{place.name}",
        help="On images that it has learned from, a model looks better than it is.",
    ):
        st.caption(asking.LEFT_OUT)
        return place.without(learned)
    return place


def _question(evaluated: Evaluated) -> str:
    """What is asked; to begin with, the first question to which these images hold both answers."""
    model = evaluated.model
    choices = binary.binary_tasks(model)
    if not choices:
        raise CovidCnnError(f"Model {model.name} looks for no class and knows no healthy one: use the command line.")
    telling = (one for one in choices if binary.has_both_answers(model, evaluated.answers, one))
    return st.segmented_control(
        "Question",
        list(choices),
        default=next(telling, next(iter(choices))),
        format_func=choices.__getitem__,
        required=True,
        key=f"evaluate_question_{model.name}_{evaluated.place.name}",
        help="The same answers, read as one question or the other. Images of classes that the model does not know "
        "count as ill in the second, and are left out of the first.",
    )


def _draw_result(evaluated: Evaluated, verdicts: BinaryPredictions, question: str) -> None:
    """What was found, in people and in a sentence, and at whose hospital."""
    of = binary.count_outcomes(verdicts)
    where = asking.home_or_away(evaluated.model, evaluated.place)
    wrong = wording.describe_errors(
        of["misses"],
        of["hits"] + of["misses"],
        of["false_alarms"],
        of["false_alarms"] + of["rejections"],
        "ill" if question == binary.DISEASED else verdicts.yes,
    )
    right = wilson(int(verdicts.right.sum()), len(verdicts.items))
    sentence = f"{where} it {wrong}." if where else f"It {wrong}."
    st.markdown(f"## {escape_markdown(sentence)}")
    st.caption(
        f"{escape_markdown(evaluated.place.name)}. {int(verdicts.right.sum())} of {right.n} images right: "
        f"{percent(right.value)} (95 % interval {percent(right.low)} to {percent(right.high)})."
    )


@st.fragment
def _sections(evaluated: Evaluated, verdicts: BinaryPredictions, question: str) -> None:
    """What is told of the answers; a fragment, so that a threshold let go draws this anew and no more."""
    head = st.container()
    thresholds = st.session_state.setdefault(CHOSEN, {})
    chosen = thresholds.get((evaluated.model.name, question))
    if verdicts.labels.any() and not verdicts.labels.all():
        chosen = thresholds[evaluated.model.name, question] = figures.draw_threshold(evaluated, verdicts, question)
    else:
        st.info(
            f"All images here are {escape_markdown(verdicts.yes if verdicts.labels.any() else verdicts.no)}: "
            "there is a share of "
            "right answers, and no curve.",
            icon=":material/info:",
        )
    if chosen is not None:
        verdicts = binary.binarize(evaluated.model, evaluated.answers, question, chosen)
        st.caption(f"What follows is told at the threshold {chosen:.3f}, in place of the model's own.")
    report = figures.report(verdicts, (*evaluated.key, question, chosen))
    with head:
        _draw_result(evaluated, verdicts, question)
    tabs = {
        ":material/table_chart: All figures": lambda: figures.draw_figures(evaluated, report, verdicts),
        ":material/groups: Subgroups": lambda: figures.draw_cohorts(verdicts),
        ":material/error: Errors, worst first": lambda: errors.draw_errors(evaluated, verdicts),
        ":material/download: Take away": lambda: export.draw_downloads(evaluated, verdicts, report, question),
    }
    elements.draw_tabs("evaluate_section", tabs)
