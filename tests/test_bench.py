"""The benchmarks run and print sane figures. How fast anything is, is never asserted: that belongs to a quiet machine."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
IN_PROCESS = ("dag", "events", "pool", "durable")
QUICK = ("--quick", "--rounds", "1", "--seconds", "0.002")


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def report() -> dict:
    done = bench(*IN_PROCESS, *QUICK, "--durability", "normal", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_scenario_that_does_not_exist_is_refused_with_the_ones_that_do():
    done = bench("dagg")
    assert done.returncode == 2
    assert "'dagg'" in done.stderr
    assert "durable" in done.stderr


def test_every_in_process_scenario_measures_positive_finite_times_in_order(report):
    assert {row["scenario"] for row in report["results"]} == set(IN_PROCESS)
    for row in report["results"]:
        assert 0 < row["min"] <= row["median"] <= row["p95"] < 60, row
        assert 0 < row["per_second"] < math.inf, row
        assert row["samples"] >= 1


def test_the_scenarios_of_the_original_are_there_with_the_same_counts_and_both_yardsticks(report):
    rows = {f"{row['scenario']}/{row['case']}": row for row in report["results"]}
    names = [f"dag/parallel-{n}" for n in (10, 50, 100, 200, 500)]
    names += [f"dag/sequential-{n}" for n in (5, 10, 20, 50)]
    names += ["dag/diamond", *(f"dag/concurrent-{n}x3" for n in (10, 50, 100))]
    names += ["events/append-normal", "events/append-round-robin-normal"]
    names += [f"events/append-{n}-writers-normal" for n in (10, 50, 100)]
    names += [f"events/replay-{n}" for n in (10, 100, 1000)]
    names += [f"pool/pool-{n}" for n in (10, 50, 100, 500, 1000)]
    names += [f"pool/backpressure-{n}" for n in (1000, 5000)]
    for name in names:
        row = rows[name]
        assert row["naive_median"] > 0
        assert row["published_other_machine"] > 0
        assert row["ratio_to_naive"] > 0
        assert row["ratio_to_published"] > 0


def test_growth_with_the_number_of_steps_is_reported(report):
    growth = {row["large"]: row for row in report["growth"]}
    assert growth["dag/parallel-500"]["size_ratio"] == 10
    assert growth["dag/parallel-500"]["ours"] > 0
    assert growth["dag/parallel-500"]["naive"] > 0


def test_the_conditions_name_interpreter_loop_collector_and_rounds(report):
    about = report["conditions"]
    assert about["rounds"] == 1
    assert about["loop"] in ("uvloop", "asyncio")
    assert "20000" in about["gc"]
    assert about["python"].startswith(f"{sys.version_info[0]}.{sys.version_info[1]}.")


def test_markdown_is_a_table_that_says_what_is_from_another_machine():
    done = bench("dag/diamond", "events/append", *QUICK, "--store", "memory", "--loop", "asyncio", "--markdown")
    assert done.returncode == 0, done.stderr
    table = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1
    assert table[2].startswith("| dag/diamond | ")
    assert table[3].startswith("| events/append | ")
    assert "published, other machine" in done.stdout


def test_the_plain_report_aligns_its_columns_and_runs_whole_workflows_on_a_file_too():
    done = bench("dag/diamond", "pool/nothing-like-it", *QUICK, "--store", "sqlite", "--durability", "full")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    head = next(number for number, line in enumerate(lines) if line.startswith("scenario "))
    assert lines[head + 1].startswith("dag/diamond ")
    assert lines[head].index("median") + len("median") == lines[head + 1].index("s", len("dag/diamond")) + 1
