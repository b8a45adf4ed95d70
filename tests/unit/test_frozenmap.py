import copy
import pickle
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from span_trio.frozenmap import FrozenMap

DICTS = st.dictionaries(st.text(max_size=3), st.none() | st.integers() | st.text(max_size=3), max_size=4)


class Uncomparable:
    """A value that shows when it is compared."""

    def __eq__(self, other: object) -> bool:
        raise AssertionError("compared")

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("items", [{}, {"b": 1, "a": None}, {"": "x", "c": (), "b": 0}])
def test_it_reads_like_the_dict_it_was_made_of(items: dict[str, Any]) -> None:
    frozen = FrozenMap(dict(items))
    assert [*frozen] == [*items]  # in order
    assert [*frozen.items()] == [*items.items()]
    assert [frozen[key] for key in items] == [*items.values()]
    assert len(frozen) == len(items)
    assert bool(frozen) == bool(items)
    assert "no such key" not in frozen
    assert frozen.get("no such key", 5) == 5
    with pytest.raises(KeyError):
        frozen["no such key"]


def test_one_of_nothing_is_empty() -> None:
    assert dict(FrozenMap()) == {}
    assert dict(FrozenMap({})) == {}


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("__setitem__", ("a", 2)),
        ("__delitem__", ("a",)),
        ("__setattr__", ("a", 2)),
        ("update", ({"a": 2},)),
        ("pop", ("a",)),
        ("clear", ()),
    ],
)
def test_it_cannot_be_changed(method: str, arguments: tuple[Any, ...]) -> None:
    frozen = FrozenMap({"a": 1})
    with pytest.raises(AttributeError):
        getattr(frozen, method)(*arguments)
    assert frozen == {"a": 1}


@given(DICTS, DICTS)
def test_it_equals_any_mapping_with_the_same_items_whatever_their_order(
    left: dict[str, Any], right: dict[str, Any]
) -> None:
    for other in (right, FrozenMap(right), MappingProxyType(right)):
        assert (FrozenMap(left) == other) is (left == right)
    backwards = FrozenMap(dict(reversed(left.items())))
    assert backwards == FrozenMap(left)
    assert hash(backwards) == hash(FrozenMap(left))


@pytest.mark.parametrize("other", [None, 1, "a", ["a"], {"a"}, (("a", 1),)])
def test_it_equals_nothing_that_is_no_mapping(other: object) -> None:
    assert FrozenMap({"a": 1}) != other


def test_a_value_is_not_compared_with_itself() -> None:
    # What did not change from snapshot to snapshot is the same object, and costs nothing.
    part = Uncomparable()
    assert FrozenMap({"a": part}) == FrozenMap({"a": part})
    with pytest.raises(AssertionError, match="compared"):
        assert FrozenMap({"a": part}) == FrozenMap({"a": Uncomparable()})


def test_it_hashes_only_if_its_values_do() -> None:
    assert len({FrozenMap({"a": 1}), FrozenMap({"a": 1}), FrozenMap({"a": 2})}) == 2
    with pytest.raises(TypeError):
        hash(FrozenMap({"a": []}))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_pickles(protocol: int) -> None:
    frozen = FrozenMap({"b": (1, 2), "a": None})
    clone = pickle.loads(pickle.dumps(frozen, protocol))  # noqa: S301 - our own
    assert type(clone) is FrozenMap
    assert [*clone.items()] == [*frozen.items()]


def test_a_deep_copy_shares_nothing_that_can_change() -> None:
    frozen = FrozenMap({"a": [1]})
    shallow, deep = copy.copy(frozen), copy.deepcopy(frozen)
    frozen["a"].append(2)
    assert (dict(shallow), dict(deep)) == ({"a": [1, 2]}, {"a": [1]})
    assert type(shallow) is type(deep) is FrozenMap


def test_its_repr_shows_the_items() -> None:
    assert repr(FrozenMap({"a": 1})) == "FrozenMap({'a': 1})"
