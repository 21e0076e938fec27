"""A finding: a title, a sentence or two, and a table of text. It prints as Markdown and fits into ``model.json``."""

from collections.abc import Sequence
from typing import Any

from covid_cnn.common.statistics import Interval


def finding(title: str, text: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, Any]:
    """A table with what a reader must know of it, ready for JSON."""
    return {"title": title, "text": text, "table": {"columns": list(columns), "rows": [list(row) for row in rows]}}


def markdown(found: dict[str, Any]) -> str:
    """A ``finding`` as a section of Markdown."""
    columns = found["table"]["columns"]
    lines = [columns, ["---"] * len(columns), *found["table"]["rows"]]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"\n## {found['title']}\n\n{found['text']}\n\n{table}"


def percent(interval: Interval | None) -> list[str]:
    """A share and its 95 % interval as two cells, in percent."""
    if interval is None:
        return ["undefined", ""]
    return [f"{100 * interval.value:.1f} %", f"{100 * interval.low:.1f} to {100 * interval.high:.1f} %"]


def number(interval: Interval | None) -> list[str]:
    """A value and its 95 % interval as two cells."""
    if interval is None:
        return ["undefined", ""]
    return [f"{interval.value:.2f}", f"{interval.low:.2f} to {interval.high:.2f}"]
