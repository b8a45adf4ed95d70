"""What the machine has found, in as few steps as show it. `tests/unit/test_fuzz_quick.py` makes them unit tests."""

from __future__ import annotations

from tests.unit.homie.helpers import at, live_session

__all__ = ["test_i8_a_device_that_overflows_while_it_is_asked_for_again_is_not_live_before_its_own_barrier"]


def test_i8_a_device_that_overflows_while_it_is_asked_for_again_is_not_live_before_its_own_barrier() -> None:
    """The barrier of the request before passed for the new one's."""
    session = live_session()
    session.core.overflow("ebus/5/house/meter/power", at(session.now))
    session.wait(2.0)
    assert session.subscribe() is not None
    session.core.overflow("ebus/5/house/meter/power", at(session.now))
    session.wait(10.0)
    session.barrier()
    assert not session.core.live
    session.wait(10.0)
    assert session.subscribe() is not None
    assert not session.core.live
    session.barrier()
    assert session.core.live
