"""How an open panel ends, whoever ends it: one exception, in order, and nothing left (I11, I12). One table."""

from __future__ import annotations

import math

import attrs
import pytest
import trio

from span_trio import (
    PanelOptions,
    SpanPanelAuthError,
    SpanPanelCertificateError,
    SpanPanelConnectionError,
    SpanPanelInternalError,
    SpanPanelTimeoutError,
    open_span_panel,
)
from tests.unit.closing import (
    BUG,
    REFUSED,
    Case,
    Scene,
    breaks_down,
    breaks_down_and_is_cancelled,
    breaks_down_and_raises,
    breaks_down_and_raises_of_its_own,
    breaks_down_unseen,
    ends,
    finds_another_ca,
    interrupted,
    is_cancelled,
    is_cancelled_in_an_outage,
    is_cancelled_while_it_dials,
    is_refused,
    is_refused_the_tree,
    raises,
    raises_in_an_outage,
    raises_when_cancelled,
    reconnects_when_cancelled,
    works_on_when_cancelled,
)
from tests.unit.link.broker import Broker, Kind, nothing
from tests.unit.link.certificates import certificates
from tests.unit.link.house import CREDENTIALS, house, nothing_left
from tests.unit.span.helpers import ROOT

pytestmark = pytest.mark.virtual_time

NOTE = "meanwhile, the panel failed: a background task of span_trio failed"
TLS = {"transport": "mqtts"}
LATER = (5.0, 5.01)

CASES: dict[str, Case] = {
    # the body ends it
    "the body ends": Case(body=ends),
    "the body raises": Case(body=raises(ValueError()), raises=ValueError),
    "the body raises a group": Case(
        body=raises(ExceptionGroup("mine", [ValueError(), ExceptionGroup("inner", [OSError()])])), raises=ExceptionGroup
    ),
    "the body raises a group with an interrupt": Case(
        body=raises(BaseExceptionGroup("mine", [KeyboardInterrupt()])), raises=BaseExceptionGroup
    ),
    "the body raises an error of ours": Case(
        body=raises(SpanPanelConnectionError("of another panel")), raises=SpanPanelConnectionError
    ),
    "the body raises our internal error": Case(
        body=raises(SpanPanelInternalError("of another panel")), raises=SpanPanelInternalError
    ),
    "the body raises StopAsyncIteration": Case(body=raises(StopAsyncIteration()), raises=StopAsyncIteration),
    "the body raises TooSlowError": Case(body=raises(trio.TooSlowError()), raises=trio.TooSlowError),
    "the body is interrupted": Case(body=raises(KeyboardInterrupt()), raises=KeyboardInterrupt),
    "the body exits": Case(body=raises(SystemExit(3)), raises=SystemExit),
    "the body raises in an outage": Case(
        body=raises_in_an_outage, raises=ValueError, goodbye=False, takes=(10.05, 10.07)
    ),
    # somebody outside ends it
    **{
        f"cancelled before it is ready, {step.name} unanswered": Case(
            raises=trio.Cancelled,
            broker={"instead": {step: nothing}},
            before=lambda scene: setattr(scene.outer, "deadline", 1.0),
            takes=(1.0, 1.0),
            goodbye=step is not Kind.CONNECT,
        )
        for step in (Kind.CONNECT, Kind.SUBSCRIBE, Kind.PINGREQ)
    },
    "cancelled before it is ready, while it dials": Case(
        raises=trio.Cancelled,
        broker={"takes": 1000},
        before=lambda scene: setattr(scene.outer, "deadline", 1.0),
        takes=(1.0, 1.0),
        goodbye=False,
    ),
    "cancelled": Case(body=is_cancelled, raises=trio.Cancelled),
    "cancelled in an outage": Case(
        body=is_cancelled_in_an_outage, raises=trio.Cancelled, goodbye=False, takes=(10.05, 10.07)
    ),
    "cancelled while it dials again": Case(
        body=is_cancelled_while_it_dials, raises=trio.Cancelled, goodbye=False, takes=LATER
    ),
    "cancelled, and the body works on": Case(
        body=works_on_when_cancelled, raises=trio.Cancelled, done=True, takes=(20.0, 20.1)
    ),
    "cancelled, and the link is lost while the body works on": Case(
        body=reconnects_when_cancelled, raises=trio.Cancelled, done=True, takes=(20.0, 20.1)
    ),
    "cancelled, and the body raises": Case(body=raises_when_cancelled, raises=ValueError),
    # it does not come to a body
    "refused": Case(
        raises=SpanPanelConnectionError, before=lambda scene: setattr(scene, "dial_fault", REFUSED), goodbye=False
    ),
    "no tunnel": Case(
        raises=SpanPanelConnectionError,
        cause=OSError,
        before=lambda scene: setattr(scene, "dial_fault", OSError("no tunnel")),
        goodbye=False,
    ),
    "a dialer with a bug": Case(
        raises=SpanPanelInternalError,
        cause=ZeroDivisionError,
        before=lambda scene: setattr(scene, "dial_fault", BUG),
        goodbye=False,
    ),
    "nobody answers": Case(raises=SpanPanelConnectionError, broker={"takes": 1000}, takes=(8.0, 8.01), goodbye=False),
    "the login is not answered": Case(
        raises=SpanPanelConnectionError, broker={"instead": {Kind.CONNECT: nothing}}, takes=(3.0, 3.01), goodbye=False
    ),
    "the login is refused": Case(raises=SpanPanelAuthError, broker={"connack": 5}, goodbye=False),
    "the broker is not available": Case(raises=SpanPanelConnectionError, broker={"connack": 3}, goodbye=False),
    "the subscription is refused": Case(
        raises=SpanPanelAuthError, broker={"refused": [f"ebus/5/{ROOT}/#"]}, goodbye=False
    ),
    "it is not ready in time": Case(
        raises=SpanPanelTimeoutError, broker={"retained": {}}, options={"ready_timeout": 5.0}, takes=LATER
    ),
    "it is lost again and again until it is not ready in time": Case(
        raises=SpanPanelTimeoutError,
        broker={"instead": {Kind.SUBSCRIBE: lambda connection, _: connection.hang_up()}},
        options={"ready_timeout": 5.0},
        takes=LATER,
        goodbye=False,
    ),
    "another CA at first": Case(raises=SpanPanelCertificateError, options=TLS, before=Scene.replace_ca, goodbye=False),
    "a bug before it is ready": Case(raises=SpanPanelInternalError, cause=ExceptionGroup, before=Scene.break_down),
    "an interrupt in the background before it is ready": Case(
        raises=KeyboardInterrupt, before=lambda scene: scene.break_down(KeyboardInterrupt())
    ),
    # the panel ends it
    "a bug while the body waits": Case(body=breaks_down, raises=SpanPanelInternalError, cause=ExceptionGroup),
    "a bug, and the body does not notice": Case(
        body=breaks_down_unseen, raises=SpanPanelInternalError, cause=ExceptionGroup, done=True, takes=LATER
    ),
    "a bug, and the body raises in its finally": Case(body=breaks_down_and_raises, raises=ValueError, notes=[NOTE]),
    "a bug, and the body raises a group": Case(
        body=breaks_down_and_raises_of_its_own, raises=ExceptionGroup, notes=[NOTE], takes=LATER
    ),
    "a bug, and somebody cancels": Case(body=breaks_down_and_is_cancelled, raises=trio.Cancelled, takes=LATER),
    "an interrupt in the background": Case(body=interrupted(KeyboardInterrupt()), raises=KeyboardInterrupt),
    "an exit in the background": Case(body=interrupted(SystemExit(3)), raises=SystemExit),
    "the login is refused for too long, and the body works on": Case(
        body=is_refused,
        raises=SpanPanelAuthError,
        options={"auth_grace": 60.0},
        done=True,
        goodbye=False,
        takes=(80.0, 88.5),
    ),
    "the subscription is refused for too long, and the body works on": Case(
        body=is_refused_the_tree,
        raises=SpanPanelAuthError,
        options={"auth_grace": 60.0},
        done=True,
        goodbye=False,
        takes=(80.0, 88.5),
    ),
    "another CA, and the body works on": Case(
        body=finds_another_ca,
        raises=SpanPanelCertificateError,
        options=TLS,
        done=True,
        goodbye=False,
        takes=(80.0, 84.0),  # 20 s in, it is asked for three times, 30 s apart and up to the 2 s of a pause each
    ),
}


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CASES.items()])
async def test_i11_i12_however_it_ends_it_is_one_exception_in_order_and_nothing_is_left(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Broker(**{"retained": house(), **case.broker})
    scene = Scene(monkeypatch, broker)
    came_out: BaseException | None = None
    case.before(scene)
    options = PanelOptions(**{"transport": "mqtt", "max_silence": math.inf, **case.options})
    credentials = attrs.evolve(CREDENTIALS, ca_pem=certificates().ca_pem)
    async with nothing_left(broker):
        with scene.outer:
            try:
                async with open_span_panel(
                    "panel", credentials=credentials, options=options, dialer=scene.dial
                ) as panel:
                    assert case.body is not None, "the panel is open"
                    await case.body(scene, panel)
            except BaseException as error:
                came_out = error
                if isinstance(error, trio.Cancelled):
                    raise
        assert scene.outer.cancelled_caught == (case.raises is trio.Cancelled)
    assert (came_out is None) == (case.raises is None)
    if case.raises is not None:
        assert type(came_out) is case.raises
    if scene.mine is not None:
        assert came_out is scene.mine
        assert came_out.__cause__ is None
    if case.cause is not None and came_out is not None:
        assert type(came_out.__cause__) is case.cause
        causes = came_out.__cause__.exceptions if isinstance(came_out.__cause__, ExceptionGroup) else ()
        assert case.cause is not ExceptionGroup or BUG in causes
    if came_out is not None and not isinstance(came_out, trio.Cancelled):
        assert getattr(came_out, "__notes__", []) == list(case.notes)
    assert scene.done == case.done
    assert case.takes[0] <= trio.current_time() <= case.takes[1]
    if broker.connections:
        assert broker.connection.said_goodbye == case.goodbye
    else:
        assert not case.goodbye
