"""The changes of tools/mutate.py: what a source file offers, where it is spliced, which rooms there are."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import changes  # noqa: E402
import mutate  # noqa: E402

SOURCE = '''"""Words 1 < 2."""
LIMIT = 3

def first(x: int = 20, *, exact=False):
    """Return 1 + 1."""
    if x < 1 and not x == 2:
        raise ValueError(f"{x + 1} is bad")
    for k in range(1, x):
        x += min(k, 0.5)
    return x[:k]

class Second:
    size: int = 4

    def third(self):
        self.at = -self.size // 2
        note(self.at)
        return "left" if self.at else "ä" * 3
'''


@pytest.fixture
def found(tmp_path):
    (tmp_path / "code.py").write_text(SOURCE, encoding="utf-8")
    return changes.changes_of("room", tmp_path / "code.py", tmp_path)


def test_every_operator_constant_and_condition_of_a_function_is_changed_and_nothing_else(found):
    offered = {(change.function, change.before, change.after) for change in found}
    assert offered == {
        ("first", "20", "(40)"), ("first", "False", "(True)"),
        ("first", "x < 1 and not x == 2", "(not (x < 1 and (not x == 2)))"),
        ("first", "x < 1 and not x == 2", "(not x == 2)"), ("first", "x < 1 and not x == 2", "(x < 1)"),
        ("first", "x < 1", "(x <= 1)"), ("first", "1", "(2)"), ("first", "not x == 2", "(x == 2)"),
        ("first", "x == 2", "(x != 2)"), ("first", "2", "(3)"), ("first", "range(1, x)", "(range(1, x - 1))"),
        ("first", "x += min(k, 0.5)", "x -= min(k, 0.5)"), ("first", "x += min(k, 0.5)", "pass"),
        ("first", "min(k, 0.5)", "(max(k, 0.5))"), ("first", "0.5", "(1.0)"), ("first", ":k", ":k - 1"),
        ("Second", "4", "(5)"),
        ("Second.third", "self.at = -self.size // 2", "pass"), ("Second.third", "note(self.at)", "pass"),
        ("Second.third", "-self.size // 2", "(-self.size / 2)"), ("Second.third", "-self.size", "(self.size)"),
        ("Second.third", "2", "(3)"), ("Second.third", "self.at", "(not self.at)"),
        ("Second.third", '"left"', "('right')"), ("Second.third", '"ä" * 3', "('ä' / 3)"), ("Second.third", "3", "(4)"),
    }  # fmt: skip


def test_a_change_is_one_splice_that_still_is_python(found):
    assert len({change.name for change in found}) == len(found)
    for change in found:
        new = change.applied(SOURCE.encode()).decode()
        assert ast.dump(ast.parse(new)) != ast.dump(ast.parse(SOURCE))
        assert len(new.splitlines()) == len(SOURCE.splitlines())


def test_rooms_have_modules_and_tests_and_the_sample_is_the_same_for_the_same_seed():
    for room, row in mutate.ROOMS.items():
        assert all((ROOT / "tests" / f"{name}.py").exists() for name in row["tests"]), room
    one, again, other = (mutate.sample(["metrics"], 30, seed) for seed in (0, 0, 1))
    assert one == again != other
    assert len(one) == 30
    functions = {change.function for change in mutate.every_change("metrics")}
    assert len({change.function for change in one}) == min(30, len(functions))


def test_shares_leave_out_what_is_known():
    results = {str(n): {"room": room, "status": status} for n, (room, status) in enumerate(
        [("a", "killed"), ("a", "killed"), ("a", "survived"), ("b", "known"), ("b", "killed")])}  # fmt: skip
    rows = mutate.shares(results)
    assert [rows[room]["share"] for room in ("a", "b", "all")] == [2 / 3, 1.0, 3 / 4]
    assert (rows["b"]["known"], rows["all"]["survived"]) == (1, 1)
