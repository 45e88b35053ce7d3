"""The checks of types and shapes refuse and accept what jaxtyping's own decorator refuses and accepts."""

import dataclasses
from collections.abc import Iterator
from typing import NoReturn

import checked
import numpy as np
import pytest
from beartype import beartype
from jaxtyping import Float, Int, TypeCheckError, jaxtyped

from tokendyn.show.vector import dark

TOKENS, WEIGHTS = np.zeros((5, 2)), np.ones(5)


def weighted(tokens: Float[np.ndarray, "n d"], weights: Float[np.ndarray, " n"]) -> Float[np.ndarray, " d"]:
    return weights @ tokens


def shortened(weights: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    return weights[1:]


def counted(*counts: int, scale: float | None = None, **names: str) -> list[str]:
    return [*names.values(), *map(str, counts), str(scale)]


def below(count: int) -> Iterator[int]:
    yield from range(count)


def ended(count: int) -> NoReturn:
    assert count


def ahead(cell: "Cell", labels: "Int[np.ndarray, ' n'] | None" = None) -> "Cell":
    return cell


def free(anything, *, named="x"):
    return anything, named


@dataclasses.dataclass
class Cell:
    size: int = 1


CALLS = [
    (weighted, (TOKENS, WEIGHTS), {}), (weighted, (TOKENS,), {"weights": WEIGHTS}),
    (weighted, (TOKENS, np.ones(4)), {}), (weighted, (TOKENS[0], WEIGHTS), {}),
    (weighted, (TOKENS.astype(int), WEIGHTS), {}), (weighted, ([[0.0]], WEIGHTS), {}), (weighted, (TOKENS,), {}),
    (weighted, (TOKENS, WEIGHTS), {"other": 1}), (shortened, (WEIGHTS,), {}),
    (counted, (1, 2), {"scale": None, "name": "a"}), (counted, (1, 2.0), {}), (counted, (), {"name": 3}),
    (counted, (), {"scale": "wide"}), (ended, (1,), {}), (ended, ("1",), {}), (ahead, (Cell(),), {}),
    (ahead, (Cell(), np.arange(3)), {}), (free, (3,), {"named": None}), (free, (), {}),
]  # fmt: skip


def outcome(function, args, kwargs):
    """Return what a call gives, or the class of its error."""
    try:
        return function(*args, **kwargs)
    except TypeError as error:
        return type(error)


@pytest.mark.parametrize(("function", "args", "kwargs"), CALLS)
def test_each_call_ends_as_under_the_decorator_of_jaxtyping(function, args, kwargs):
    slow = checked._jaxtyped(function, typechecker=beartype)
    found, expected = (outcome(one, args, kwargs) for one in (checked.checked(function), slow))
    np.testing.assert_array_equal(found, expected)


def test_what_is_wrong_is_said_with_its_place_and_the_axes_that_are_known():
    with pytest.raises(TypeCheckError, match=r"(?s)test_checked\.weighted: .*weights.*n=5"):
        checked.checked(weighted)(TOKENS, np.ones(4))


def test_a_call_knows_no_axis_of_another_call_within_before_or_after_it():
    @checked.checked
    def halved(weights: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        return weights if len(weights) == 1 else np.full(len(weights), halved(weights[::2])[0])

    assert len(halved(np.ones(9))) == 9
    with pytest.raises(TypeCheckError):
        halved(np.ones((2, 2)))
    assert len(halved(np.ones(3))) == 3


def test_a_generator_is_given_back_and_its_arguments_are_checked():
    assert list(checked.checked(below)(3)) == [0, 1, 2]
    with pytest.raises(TypeCheckError):
        checked.checked(below)("3")


def test_a_name_is_looked_up_at_the_first_call_so_that_later_classes_count():
    with pytest.raises(TypeCheckError):
        checked.checked(ahead)(3)


def test_fields_of_a_dataclass_are_checked_once_whatever_inherits_them():
    hook = jaxtyped(typechecker=beartype)

    @hook
    @dataclasses.dataclass
    class Above:
        size: int

    @hook
    class Below(Above):
        pass

    assert Below(size=3).size == 3
    assert Below.__init__ is Above.__init__
    for kind in (Above, Below):
        with pytest.raises(TypeCheckError):
            kind(size="3")


def test_functions_of_the_package_are_checked():
    with pytest.raises(TypeCheckError):
        dark(np.zeros((2, 4)))


@pytest.mark.usefixtures("unchecked")
def test_checks_can_be_switched_off():
    assert checked.checked(shortened)(WEIGHTS).shape == (4,)
    assert checked.checked(below)("3") is not None
