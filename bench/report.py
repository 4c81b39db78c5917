"""What is printed: the same rows as text, Markdown or JSON."""

from __future__ import annotations

import gc
import json
import os
import platform
import sqlite3
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from bench.measure import Options, Result

HEAD = ("scenario", "median", "min", "p95", "per second", "naive here", "ours/naive", "published*", "ours/published*")
_NOTE = "* published, other machine: what the original's documentation says, measured on a darwin/arm64 laptop"
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))

#: Pairs of cases whose ratio shows how time grows with the number of steps, and the ratio of their sizes.
_GROWTH = (
    ("dag", "parallel-500", "parallel-50", 10),
    ("dag", "sequential-50", "sequential-5", 10),
    ("dag", "parallel-500-tasks", "parallel-10-tasks", 50),
    ("events", "replay-1000", "replay-100", 10),
    ("events", "load-1000", "load-100", 10),
)


def conditions(options: Options, loop: str) -> dict[str, Any]:
    """Return what a reader needs to judge the figures."""
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "load": [round(value, 2) for value in os.getloadavg()],
        "sqlite": sqlite3.sqlite_version,
        "loop": loop,
        "gc": f"gc.freeze(), generation 0 threshold {gc.get_threshold()[0]}, as the daemon sets it",
        "rounds": options.rounds,
        "seconds_per_sample": options.seconds,
    }


def growth(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return time(large) / time(small) for the pairs that were measured."""
    found = {(result.scenario, result.case.name): result for result in results}
    rows = []
    for scenario, large, small, size in _GROWTH:
        big, little = found.get((scenario, large)), found.get((scenario, small))
        if big is None or little is None:
            continue
        row: dict[str, Any] = {"large": f"{scenario}/{large}", "small": f"{scenario}/{small}", "size_ratio": size}
        row["ours"] = big.ours.cost / little.ours.cost
        if big.naive is not None and little.naive is not None:
            row["naive"] = big.naive.cost / little.naive.cost
        rows.append(row)
    return rows


def as_json(results: Sequence[Result], about: dict[str, Any]) -> str:
    """Return everything as one JSON object; times are seconds per unit."""
    rows = [
        {
            "scenario": result.scenario,
            "case": result.case.name,
            "unit": result.case.unit,
            "clients": result.case.ours.clients,
            "median": result.ours.median,
            "min": result.ours.minimum,
            "p95": result.ours.p95,
            "samples": len(result.ours.seen),
            "per_second": 1 / result.ours.cost,
            "naive_median": result.naive.median if result.naive else None,
            "naive_per_second": 1 / result.naive.cost if result.naive else None,
            "published_other_machine": result.case.published,
            "ratio_to_naive": result.against_naive,
            "ratio_to_published": result.against_published,
        }
        for result in results
    ]
    return json.dumps({"conditions": about, "results": rows, "growth": growth(results)}, indent=2)


def as_text(results: Sequence[Result], about: dict[str, Any]) -> str:
    """Return aligned columns."""
    rows = [HEAD, *(_row(result) for result in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = [_about(about), ""]
    for row in rows:
        first, *rest = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join([row[0].ljust(len(first)), *rest]).rstrip())
    return "\n".join([*lines, "", *_growth_lines(results), _NOTE])


def as_markdown(results: Sequence[Result], about: dict[str, Any]) -> str:
    """Return a table for `docs/speed.md`."""
    rule = "|---|" + "---:|" * (len(HEAD) - 1)
    table = [_cells(HEAD), rule, *(_cells(_row(result)) for result in results)]
    growing = [f"* {line}" for line in _growth_lines(results)]
    notes = [*growing, ""] if growing else []
    return "\n".join([_about(about), "", *table, "", *notes, _NOTE.replace("*", "\\*", 1)])


def _row(result: Result) -> tuple[str, ...]:
    ours, naive, published = result.ours, result.naive, result.case.published
    return (
        f"{result.scenario}/{result.case.name}",
        _time(ours.median),
        _time(ours.minimum),
        _time(ours.p95),
        f"{_short(1 / ours.cost)} {_plural(result.case.unit)}",
        "" if naive is None else _time(naive.cost),
        _ratio(result.against_naive),
        "" if published is None else _time(published),
        _ratio(result.against_published),
    )


def _growth_lines(results: Sequence[Result]) -> list[str]:
    lines = []
    for row in growth(results):
        naive = f", naive {row['naive']:.1f}" if "naive" in row else ""
        lines.append(
            f"time({row['large']}) / time({row['small']}) = {row['ours']:.1f}{naive} for {row['size_ratio']} times the size"
        )
    return lines


def _about(about: dict[str, Any]) -> str:
    load = ", ".join(str(value) for value in about["load"])
    return (
        f"{about['implementation']} {about['python']} on {about['system']}, {about['cores']} cores, load {load}; "
        f"SQLite {about['sqlite']}; {about['loop']}; {about['gc']}; {about['rounds']} rounds of "
        f"{about['seconds_per_sample']} s. Ratios compare time: below 1 is faster"
    )


def _time(seconds: float) -> str:
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{_short(seconds / size)} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def _short(value: float) -> str:
    """Three digits; counts above a thousand in thousands."""
    if value >= 10_000:
        return f"{value / 1000:.0f}k"
    if value >= 1000:
        return f"{value / 1000:.1f}k"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _plural(unit: str) -> str:
    return f"{unit}es" if unit.endswith("ch") else f"{unit}s"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def _cells(row: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("*", "\\*") for cell in row) + " |"


def say(line: str) -> None:
    """Report progress where it does not mix with the result."""
    print(line, file=sys.stderr, flush=True)
