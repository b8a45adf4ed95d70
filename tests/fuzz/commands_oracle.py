"""What must be true of every command, whatever happened: judged afterwards, from the log of the broker and the device.

In words of its own; it knows nothing of how the library does it. Each check has a word (`CHECKS`), which a `Violation`
begins with, and mutations in `commands_mutations` that it must notice.

Whatever happens within one instant has no order that anybody promises, but for this: what was read is taken in the
order in which it was read.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from typing import Final

import trio

from span_trio import (
    CommandOutcome,
    CommandResult,
    RefusalReason,
    SpanPanelClosedError,
    SpanPanelCommandValueError,
    SpanPanelLockedError,
    SpanPanelNotAuthorisedError,
    SpanPanelStaleDataError,
    SpanPanelUnknownTargetError,
)
from span_trio.simulator.broker.packets import Publish

from .commands_history import CHECKS, NOBODYS, Call, History, Violation, Write, judge_audit, owners
from .commands_house import topic
from .commands_view import NEVER, Told, View

__all__ = ["judge"]

_CLOSE: Final = 1e-6  # s: two times that are the same but for arithmetic
_FRESH: Final = 1.0
_PAUSED: Final = 5.0  # s: who was away for longer has to look
_NAP: Final = 2.0  # s: so long ago the last look may be in any case
_OVER: Final = {CommandResult.ACCEPTED, CommandResult.UNCONFIRMED}


def judge(history: History, checks: frozenset[str] = CHECKS) -> Counter[str]:
    """Look at every event of the log in its turn.

    Returns:
        What the run came to.

    Raises:
        Violation: by one of these checks.
    """
    return _Judge(history, checks).judge()


class _Judge:
    def __init__(self, history: History, checks: frozenset[str]) -> None:
        self.history = history
        self.checks = checks
        self.reached: Counter[str] = Counter()
        self.views: list[View] = []
        self.writes: dict[int, Write] = {}
        self.on_path: dict[str, list[Write]] = {}
        self.on_its_way: dict[str, list[Write]] = {}
        """By path: what was written, and may act yet."""
        self.house = history.house
        self.texts = self.house.texts
        self.closing = NEVER
        events = history.events
        self.sleeps = [(event.at, event.at + event.what) for event in events if event.kind == "slept"]
        self.ends: dict[int, tuple[float, float]] = {}
        for seq, event in enumerate(events):
            if event.kind in {"lost", "closed"}:
                self.ends.setdefault(event.link, (seq, event.at))
        self.owners = owners(history, self.demand)

    def demand(self, holds: object, check: str, what: str) -> None:
        if not holds and check in self.checks:
            raise Violation(f"{check}: {what}")

    def due(self, at: float) -> float:
        """When something that is due then is done: later, if the whole process slept then."""
        return next((until for since, until in self.sleeps if since < at <= until), at)

    def _certainly_live(self, link: View, at: float) -> bool:
        """Whether nobody may say that it is not live, nor that nobody has looked since the process slept."""
        asleep = [until for since, until in self.sleeps if until - since > _PAUSED - _NAP - _CLOSE and since < at]
        asked = -NEVER if link.was_stalled else link.asked_at(at)  # a ping that waited was sent before it left
        looked = all(asked >= until - _CLOSE for until in asleep if link.up_at < until)
        return looked and link.certainly_live(at, self.due(link.settles_at))

    def _demand_look(self, view: View, at: float, what: str) -> None:
        """Behind a long sleep, it has asked the broker, and had an answer."""
        for since, until in self.sleeps:
            if until - since > _PAUSED + _CLOSE and view.up_at < since and until <= at:
                asked = max(asked for _, asked in view.answered)
                why = f"{what}, and it slept until {until:.3f}, last asked {asked:.3f}"
                self.demand(asked >= until - _CLOSE, "look", why)

    # --- the log, from its beginning to its end ---

    def judge(self) -> Counter[str]:
        for seq, (at, kind, link, what) in enumerate(self.history.events):
            view = self.views[link] if 0 <= link < len(self.views) else NOBODYS
            match kind:
                case "begun":
                    self.views.append(View(link, self.house, *self.ends.get(link, (NEVER, NEVER))))
                case "asked" | "pinged" | "stalled":
                    view.note(kind, at)
                case "read":
                    view.read(seq, at, what)
                    self._settle(what.topic, what.payload, live=what.kind == "message")
                case "closing":
                    self.closing = at
                case "wrote":
                    self._judge_write(seq, at, view, what)
                case "called":
                    what.link = self._view(at)
                case "ended":
                    self._judge_end(what, seq, at)
                case _:
                    pass
        self._judge_heard()
        judge_audit(self.history, self.demand, self.closing)
        return self.reached

    def _judge_heard(self) -> None:
        """What the device has received is what was written, each once, in order."""
        written: dict[tuple[int, str, bytes], deque[Write]] = {}
        for write in self.writes.values():
            packet = write.packet
            written.setdefault((write.link.number, packet.topic, packet.payload), deque()).append(write)
        for heard in self.history.heard:
            writes = written.get((heard.link, heard.topic, heard.payload))
            self.demand(writes, "twice", f"the device has received what nobody wrote: {heard}")
            if writes:
                owner = writes.popleft().owner
                ended, outcome = owner.ended, owner.outcome
                late = ended is not None and heard.at > ended and outcome is not None and owner.ask.moves
                given_up = late and outcome is not None and outcome.result is CommandResult.UNCONFIRMED
                event = heard.topic == topic(f"{self.house.event}/set")  # which nobody acknowledges
                self.demand(not given_up or event, "never", f"it was received at {heard.at:.3f}: {owner}")
                self.reached["heard behind the end of its call"] += ended is not None and ended < heard.at
        self.reached["heard while it was not ready"] += any(not heard.was_ready for heard in self.history.heard)

    def _view(self, at: float) -> View:
        """The link that counts now: the newest that the broker accepted."""
        return next((view for view in reversed(self.views) if view.up_at <= at), NOBODYS)

    def _settle(self, name: str, payload: bytes, *, live: bool) -> None:
        writes = self.on_path.get(name.removeprefix(topic("")), ())
        if writes and live and payload == writes[-1].packet.payload:
            self._forget(writes[-1])

    def _forget(self, write: Write) -> None:
        """It is so: this one and what was written before it has been dealt with."""
        for path in write.hardware:
            self.on_its_way[path] = [each for each in self.on_its_way.get(path, ()) if each.seq > write.seq]

    def _judge_write(self, seq: int, at: float, view: View, packet: Publish) -> None:
        owner = self.owners[seq]
        what = f"{packet.topic} {packet.payload!r} was written at {at:.3f}"
        name = packet.topic.removesuffix("/set")
        path = name.removeprefix(topic(""))
        qos = 0 if path == self.house.event else 1
        good = packet.payload in self.texts.get(packet.topic, ()) and packet.payload
        self.demand(good and not packet.retain and not packet.dup and packet.qos == qos, "format", f"{what}: {packet}")
        if owner is None:
            return
        certain, maybe = self._hardware(view, path, at)
        write = self.writes[seq] = owner.write = Write(seq, at, view, packet, owner, maybe)
        before = [each for other in certain for each in self.on_path.get(other, ())]
        for each in before:
            self.demand(each.owner.ended is not None and each.owner.ended <= at, "turn", f"{what} before {each.owner}")
        self.on_path.setdefault(path, []).append(write)
        self.on_its_way.setdefault(path, []).append(write)
        if any(self._live(view, name, write)):
            self._forget(write)
        self.demand(at < owner.called + owner.within, "late", f"{what}: {owner}")
        self.demand(view is owner.link, "epoch", f"{what} over link {view.number}: {owner}")
        self.demand(view.over_seq > seq, "epoch", f"{what} over link {view.number}, known to be lost: {owner}")
        self.demand(at <= self.closing, "behind", f"{what}, and the panel was closed: {owner}")
        why = view.certainly_not_live(at)
        self.demand(not why, "live", f"{what} {why}: {owner}")
        self._demand_look(view, at, what)
        self._judge_reach(view, owner, path, at, what)
        locked = [other for other in certain if self._certainly_locked(view, other, at)]
        self.demand(not locked, "lock", f"{what}, and {locked} was locked: {owner}")
        self.reached["written: shared"] += len(certain) > 1
        if owner.ask.moves:
            asked = max(asked for _, asked in view.answered)
            self.demand(at < asked + _FRESH + _CLOSE, "ping", f"{what}, the last answered ping at {asked:.3f}: {owner}")
        self._judge_need(write, name, maybe, what)

    def _judge_reach(self, view: View, owner: Call, path: str, at: float, what: str) -> None:
        """It named all that it reached when it was called, and reaches no others now."""
        if owner.reaches is None:
            return
        called = [self.house.reaches(path, shares) for shares in self._shares(view, owner.called)]
        self.demand(owner.reaches in called, "reach", f"{what}, said to reach {owner.reaches}, not {called}: {owner}")
        now = [self.house.reaches(path, shares) for shares in self._shares(view, at)]
        true = any(set(each) <= set(owner.reaches) for each in now)
        self.demand(true, "reach", f"{what} and reached {now}, not {owner.reaches}: {owner}")

    def _shares(self, view: View, at: float) -> set[bytes]:
        return view.possible(self.house.sharing, at)

    def _hardware(self, view: View, path: str, at: float) -> tuple[frozenset[str], frozenset[str]]:
        """The paths that certainly, and that may, stand for the same piece of hardware in this instant."""
        groups = [self.house.hardware(path, shares) for shares in self._shares(view, at)]
        return frozenset.intersection(*groups), frozenset.union(*groups)

    def _judge_need(self, write: Write, name: str, paths: frozenset[str], what: str) -> None:
        """It was not so already, for as long as the call has lasted, with nothing else on its way."""
        owner, view = write.owner, write.link
        earlier = [each for path in paths for each in self.on_path.get(path, ()) if each is not write]
        done = all(each.owner.outcome and each.owner.outcome.result == "confirmed" for each in earlier)
        names = [text for path in paths for text in (topic(path), f"{topic(path)}/$target")]
        so = all(view.possible(topic(path), owner.called) == {write.packet.payload} for path in paths)
        meant = all(
            view.possible(f"{topic(path)}/$target", owner.called) <= {b"", write.packet.payload} for path in paths
        )
        watched = [*names, self.house.sharing]
        unchanged = not any(told.at >= owner.called for text in watched for told in view.told.get(text, ()))
        lasts = name != topic(self.house.event)
        self.demand(not (done and so and meant and unchanged and lasts), "no-op", f"{what}, and was so: {owner}")

    def _certainly_locked(self, view: View, path: str, at: float) -> bool:
        flag, free = self.house.flags(path)
        by_flag = not view.possible(flag, at) & free
        away = self.house.children and b"ready" not in view.possible(self._state_of(path), at)
        return away or by_flag or all(path not in each.settable for each in view.descriptions(path, at))

    def _may_be_locked(self, view: View, path: str, at: float) -> bool:
        """Whether it, or what may share its relay, may be locked."""
        return any(self._may_itself_be_locked(view, each, at) for each in self._hardware(view, path, at)[1])

    def _may_itself_be_locked(self, view: View, path: str, at: float) -> bool:
        flag, free = self.house.flags(path)
        away = self.house.children and (
            view.possible(self._state_of(path), at) != {b"ready"} or self.due(view.returns_until(path)) >= at
        )
        by_flag = not view.possible(flag, at) <= free
        return away or by_flag or any(path not in each.settable for each in view.descriptions(path, at))

    def _state_of(self, path: str) -> str:
        return topic(f"{path.partition('/')[0]}/$state")

    def _may_reach_others(self, call: Call, view: View, at: float) -> bool:
        """Whether what shares its relay may have changed since it was called."""
        told = {each.payload for each in view.told.get(self.house.sharing, ()) if each.at >= call.called}
        return len(self._shares(view, call.called) | self._shares(view, at) | told) > 1

    # --- the end of a call ---

    def _judge_end(self, call: Call, seq: int, at: float) -> None:
        deadline = self.due(call.called + call.within)
        self.demand(at <= deadline + _CLOSE, "deadline", f"it ended {at - deadline:.3f} s late: {call}")
        self.demand(call.called <= self.closing or self._is(call, SpanPanelClosedError), "outcome", f"closed: {call}")
        outcome = call.outcome
        if outcome is None:
            self._judge_error(call, at, deadline)
            return
        self._judge_words(call, outcome, at)
        self.reached[outcome.result] += 1
        match outcome.result:
            case CommandResult.FAILED:
                self._judge_failed(call, at, deadline)
            case CommandResult.NO_OP:
                self._judge_no_op(call, at)
            case _ if call.write is None:
                self.demand(False, "owned", f"it was not written: {call}")
            case _:
                self._judge_written(call, call.write, outcome.result, at, deadline)

    def _is(self, call: Call, kind: type[BaseException]) -> bool:
        return isinstance(call.error, (kind, trio.Cancelled))

    def _judge_written(self, call: Call, write: Write, result: CommandResult, at: float, deadline: float) -> None:
        link = write.link
        name = topic(call.ask.path)
        values = list(self._live(link, name, write))
        behind = next((told for told in values if told.seq > write.seq), None)
        over = behind is not None and (behind.at < at or (behind.seq < link.over_seq and result not in _OVER))
        closing = self.closing == at
        if result is CommandResult.CONFIRMED:
            self.demand(values, "confirmed", f"the value was not seen: {call}")
            self.demand(values and (behind or values[0]).at == at, "confirmed", f"not when it was seen: {call}")
            self.reached["confirmed in a later epoch"] += link.number > 0
            return
        self.demand(not over or (closing and behind and behind.at == at), "confirmed", f"the value was seen: {call}")
        if result is CommandResult.UNKNOWN:
            self.demand(link.over_at == at or closing, "unknown", f"the link did not end: {call}")
            self.reached["unknown: closed"] += closing
            return
        self.demand(min(link.over_at, self.closing) >= at, "unknown", f"the link had ended: {call}")
        self.demand(abs(at - deadline) < _CLOSE, "deadline", f"it gave up before it ({deadline:.3f}): {call}")
        acknowledged = link.acknowledged.get(write.packet.mid, NEVER) if write.packet.qos else NEVER
        targets = list(self._live(link, f"{name}/$target", write))
        taken = min((told.at for told in targets), default=NEVER)
        behind_it = min((told.at for told in targets if told.seq > write.seq), default=NEVER)
        if result is CommandResult.ACCEPTED:
            self.demand(min(acknowledged, taken) <= at, "accepted", f"nobody did: {call}")
            self.reached["accepted: the target"] += acknowledged > at
        else:
            self.demand(min(acknowledged, behind_it) >= at, "accepted", f"somebody did: {call}")

    def _live(self, link: View, name: str, write: Write) -> Iterator[Told]:
        """Live messages with what was written, of the instant of writing and behind it."""
        path = name.removeprefix(topic("")).removesuffix("/$target")
        for told in link.told.get(name, ()):
            if told.at >= write.at and not told.retained and told.payload == write.packet.payload:
                if link.was_gone(path, told):
                    self.reached["value of one that is gone"] += 1
                else:
                    yield told

    def _judge_failed(self, call: Call, at: float, deadline: float) -> None:
        link = call.link or NOBODYS
        if abs(at - deadline) < _CLOSE:
            return
        self.reached["failed: early"] += 1
        live = self._certainly_live(link, at) and self._view(at) is link and self.closing > at
        deaf = call.ask.moves and (link.asked_at(at) + _FRESH <= at + _CLOSE or link.was_stalled)
        locked = self._may_be_locked(link, call.ask.path, at) or self._may_reach_others(call, link, at)
        self.demand(not live or deaf or locked, "failed", f"nothing was in the way: {call}")

    def _judge_no_op(self, call: Call, at: float) -> None:
        view, ask = call.link or NOBODYS, call.ask
        for path in self._hardware(view, ask.path, at)[0]:
            values, targets = view.possible(topic(path), at), view.possible(f"{topic(path)}/$target", at)
            self.demand(ask.payload in values, "no-op", f"{path} was {values}: {call}")
            self.demand(targets & {b"", ask.payload}, "no-op", f"{targets} was meant for {path}: {call}")
            ways = {each.packet.payload for each in self.on_its_way.get(path, ())} - {ask.payload}
            self.demand(not ways, "no-op", f"{ways} was on its way to {path}: {call}")
        self.demand(not view.certainly_not_live(at), "no-op", f"it was not live: {call}")
        self._demand_look(view, at, f"{call} was so already")

    def _judge_error(self, call: Call, at: float, deadline: float) -> None:
        error, path, link = call.error, call.ask.path, call.link or NOBODYS
        self.reached[type(error).__name__.lower() if isinstance(error, trio.Cancelled) else type(error).__name__] += 1
        descriptions = link.descriptions(path, at)
        match error:
            case trio.Cancelled():
                true = call.scope.cancelled_caught or call.scope.cancel_called
                self.reached["cancelled: written"] += call.write is not None
            case SpanPanelClosedError():
                true = self.closing <= at
            case SpanPanelStaleDataError():
                true = not self._certainly_live(link, at) or self._view(at) is not link
            case SpanPanelUnknownTargetError():
                true = any(path not in each.offered for each in descriptions)
            case SpanPanelLockedError():
                true = self._may_be_locked(link, path, at) or self._may_reach_others(call, link, at)
                self.reached["reaches others"] += error.reason is RefusalReason.REACHES_OTHERS
            case SpanPanelCommandValueError():
                true = not call.ask.payload
            case SpanPanelNotAuthorisedError():
                true = call.hook == "false" or abs(at - deadline) < _CLOSE  # all the time may have gone by before
            case _:
                self.demand(error is call.refusal, "outcome", f"{error!r} of {call}")
                true = True
        self.demand(true, "refusal", f"it is not true: {error!r} of {call}")

    def _judge_words(self, call: Call, outcome: CommandOutcome, at: float) -> None:
        views = [view for view in self.views if view.up_at <= at <= max(self._view(at).up_at, view.over_at)]
        views = [view for view in views if view is self._view(at) or self._view(at).up_at == at] or [NOBODYS]
        name = topic(call.ask.path)

        def may_say(text: str | None, suffix: str) -> bool:
            told = {each.decode(errors="replace") for view in views for each in view.possible(suffix, at)}
            path = suffix.removeprefix(topic("")).removesuffix("/$target")
            shown = suffix == name or all(
                path in each.lasting for view in views for each in view.descriptions(path, at)
            )
            return (text or "") in (told if shown else {*told, ""})

        self.demand(outcome.command.wanted is call.wanted, "said", f"another command: {outcome}")
        self.demand(outcome.ended_at.monotonic == at, "said", f"ended at {outcome.ended_at}: {call}")
        self.demand(outcome.command.called_at.monotonic == call.called, "said", f"{outcome.command.called_at}: {call}")
        if outcome.result is CommandResult.FAILED and "link was lost" in outcome.detail:
            link = call.link or NOBODYS
            self.demand(min(link.over_at, self.closing) <= at, "said", f"{outcome.detail!r}: {call}")
        self.demand(may_say(outcome.value, name), "said", f"value {outcome.value}: {call}")
        self.demand(may_say(outcome.target, f"{name}/$target"), "said", f"target {outcome.target}: {call}")
        requester = topic(f"{call.ask.path}-requester") if call.ask.is_relay else ""
        self.demand(may_say(outcome.requester, requester), "said", f"requester {outcome.requester}: {call}")
        write, came = call.write, outcome.acknowledged_at
        acknowledged = NEVER if write is None else write.link.acknowledged.get(write.packet.mid, NEVER)
        if write is not None and write.packet.qos and acknowledged < at:
            self.demand(came is not None and came.monotonic == acknowledged, "said", f"acknowledged {came}: {call}")
        elif came is not None:
            self.demand(came.monotonic == acknowledged, "said", f"acknowledged {came}: {call}")
