"""Sweep files: which jobs they ask for, and how wrong ones are refused."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokendyn.errors import BadInputError
from tokendyn.runs.plan import Law, plan_of, read_plan
from tokendyn.runs.table import numbers, table_of, write_csv, write_parquet


def jobs(**record):
    return list(plan_of({"command": "simulate", **record}).jobs())


def test_a_grid_is_every_combination_and_the_last_option_changes_fastest():
    found = jobs(grid={"alpha": [1, 2], "layers": [5, 6, 7]})
    assert found == [{"alpha": a, "layers": b} for a in (1, 2) for b in (5, 6, 7)]


def test_lists_are_walked_together_and_crossed_with_the_grid():
    found = jobs(grid={"alpha": [1, 2]}, list={"layers": [5, 6], "score": ["a", "b"]})
    assert [(job["alpha"], job["layers"], job["score"]) for job in found] == [
        (1, 5, "a"), (1, 6, "b"), (2, 5, "a"), (2, 6, "b"),
    ]  # fmt: skip


def test_ranges_hold_both_ends_and_round_numbers():
    assert [job["a"] for job in jobs(grid={"a": {"from": 0.1, "to": 0.5, "count": 5}})] == [0.1, 0.2, 0.3, 0.4, 0.5]
    spaced = [job["a"] for job in jobs(grid={"a": {"from": 1, "to": 1000, "count": 4, "scale": "log"}})]
    assert spaced == [1.0, 10.0, 100.0, 1000.0]


def test_draws_are_the_same_for_the_same_seed_and_do_not_depend_on_other_options():
    one = jobs(samples=6, seed=3, random={"a": {"low": 0, "high": 1}})
    two = jobs(samples=6, seed=3, random={"b": {"low": 0, "high": 1}, "a": {"low": 0, "high": 1}})
    other = jobs(samples=6, seed=4, random={"a": {"low": 0, "high": 1}})
    assert [job["a"] for job in one] == [job["a"] for job in two]
    assert [job["a"] for job in two] != [job["b"] for job in two]
    assert [job["a"] for job in one] != [job["a"] for job in other]


def test_a_latin_hypercube_has_one_sample_in_every_slice_of_every_option():
    found = jobs(samples=20, latin={"a": {"low": 0, "high": 1}, "b": {"low": 1, "high": 100, "scale": "log"}})
    assert sorted(int(20 * job["a"]) for job in found) == list(range(20))
    assert sorted(int(10 * math.log10(job["b"])) for job in found) == list(range(20))


@given(st.floats(0, 1, exclude_max=True), st.integers(-5, 5), st.integers(1, 9))
def test_whole_numbers_lie_within_their_bounds(share, low, width):
    value = Law(float(low), float(low + width), integer=True).value(share)
    assert isinstance(value, int)
    assert low <= value <= low + width


def test_whole_numbers_and_choices_are_all_drawn_alike():
    law, shares = Law(1.0, 4.0, integer=True), (np.arange(400) + 0.5) / 400
    assert np.bincount([law.value(share) for share in shares]).tolist() == [0, 100, 100, 100, 100]
    assert [Law(choices=("a", "b")).value(share) for share in (0.0, 0.49, 0.5, 0.999)] == ["a", "a", "b", "b"]


WRONG = {
    "did you mean grid": {"gird": {}},
    "did you mean scale": {"grid": {"a": {"from": 1, "to": 2, "count": 3, "scael": "log"}}},
    "did you mean low": {"samples": 2, "random": {"a": {"lwo": 1, "high": 2}}},
    "in [fixed] and in [grid]": {"fixed": {"tie-tolerance": 1}, "grid": {"tie_tolerance": [1]}},
    "walked together": {"list": {"a": [1, 2], "b": [1]}},
    "need samples": {"random": {"a": {"low": 1, "high": 2}}},
    "samples belongs": {"samples": 3},
    "has no values": {"grid": {"a": []}},
    "expected a list": {"grid": {"a": 3}},
    "low < high": {"samples": 2, "latin": {"a": {"low": 2, "high": 1}}},
    "bounds above 0": {"samples": 2, "latin": {"a": {"low": 0, "high": 1, "scale": "log"}}},
    "count from 2 to": {"grid": {"a": {"from": 1, "to": 2, "count": 1}}},
    "got 1000000000": {"grid": {"a": {"from": 1, "to": 2, "count": 10**9}}},
    "numbers from and to": {"grid": {"a": {"from": 1, "to": 10**400, "count": 3}}},
    "numbers low < high": {"samples": 2, "random": {"a": {"low": -1e308, "high": 1e308}}},
    "stands alone": {"samples": 2, "random": {"a": {"choices": [1], "low": 1}}},
    "seed must be a whole number": {"seed": 1.5},
    "[grid]": {"grid": 3},
    "command is missing": {"command": 3},
    "at most 1000000": {"grid": {"a": list(range(2000)), "b": list(range(2000))}},
}


@pytest.mark.parametrize("message", WRONG)
def test_a_wrong_sweep_is_refused_with_the_remedy(message):
    with pytest.raises(BadInputError) as caught:
        plan_of({"command": "simulate", **WRONG[message]})
    assert message in str(caught.value)


def test_a_file_that_is_no_toml_or_is_not_there_is_refused(tmp_path):
    (tmp_path / "a.toml").write_text("command = ", encoding="utf-8")
    with pytest.raises(BadInputError, match="cannot be read as TOML"):
        read_plan(tmp_path / "a.toml")
    with pytest.raises(BadInputError, match="is not a file"):
        read_plan(tmp_path / "b.toml")


def test_a_table_gives_its_numbers_back_exactly(tmp_path):
    import pandas as pd

    rows = [
        {"job": 0, "a": 0.1 + 0.2, "b": 1, "c": "x", "d": True, "e": 1},
        {"job": 1, "a": 1e-300, "b": 0.5, "c": None, "d": False, "f": "late", "e": "two"},
    ]
    table = table_of(rows)
    write_csv(tmp_path / "t.csv", table)
    write_parquet(tmp_path / "t.parquet", table)
    back = pd.read_parquet(tmp_path / "t.parquet")
    assert back["a"].tolist() == [0.1 + 0.2, 1e-300]
    lines = [line.split(",") for line in (tmp_path / "t.csv").read_text(encoding="utf-8").splitlines()]
    assert [float(line[1]) for line in lines[1:]] == [0.1 + 0.2, 1e-300]
    assert [line[4] for line in lines] == ["d", "true", "false"]
    assert back["b"].tolist() == [1.0, 0.5]
    assert back["e"].tolist() == ["1", "two"]
    assert table["f"] == [None, "late"]
    assert numbers(table, table) == ["job", "a", "b", "d"]
