"""How a rollout looks: what each signal says so far, and what the rollout waits for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from rich.text import Text

from guideway.cli.draw import Emit
from guideway.cli.fit import Block
from guideway.cli.hints import addressed
from guideway.cli.tables import table_lines
from guideway.core.events import Note, Progress
from guideway.core.gate import Verdict
from guideway.core.rollout import Phase, Rollout
from guideway.rollout.canary import Canary, Compared
from guideway.rollout.decide import Decision
from guideway.rollout.inferiority import Estimate
from guideway.rollout.signals import QUALITY
from guideway.rollout.verdict import SignalVerdict
from guideway.store import canaries
from guideway.store.database import Database

_STYLES = {Verdict.PASS: "green", Verdict.FAIL: "bold red", Verdict.UNKNOWN: "yellow"}


class Teller:
    """Says what a canary does while somebody waits for it: every move as a line, the rest as progress."""

    def __init__(self, database: Database, emit: Emit) -> None:
        self._database, self._emit = database, emit
        self._said = ("", 0)

    def look(self, rollout: Rollout) -> None:
        """Tell what is new."""
        known = canaries.canary(self._database, rollout.id, Canary)
        if known is None:
            return
        if rollout.phase is Phase.SHADOW:
            compared = known.compared
            self._emit(Progress("shadow", compared.copies, rollout.asked.compared, _compared(rollout, compared)))
        elif rollout.phase is Phase.CANARY and known.decision:
            self._tell(rollout, known)

    def _tell(self, rollout: Rollout, known: Canary) -> None:
        assert known.decision
        said = (known.decision.kind, known.step)
        step = rollout.asked.steps[known.step] if known.step >= 0 else None
        if said != self._said:
            self._said = said
            self._emit(Note(f"{_place(rollout, known)}: {known.decision.kind}: {known.decision.reason}"))
        if step:
            units = known.scores.units_at(step.weight)
            waits = f"{known.decision.kind}: {known.decision.reason}"
            self._emit(Progress("canary", min(units, step.units), step.units, f"{_place(rollout, known)}; {waits}"))


def blocks(rollout: Rollout, known: Canary) -> list[Block]:
    """What is known of a canary or a shadow that has not everything: where it is, its signals, and what they say."""
    if rollout.phase in (Phase.SWITCHING, Phase.DONE):
        return [_all(_alert(known))]
    if rollout.strategy == "shadow":
        return [_all([f"shadow       {_compared(rollout, known.compared)}"])]
    if rollout.promoted_by and not rollout.phase.final:
        said = f"promoted by {rollout.promoted_by}: gets all traffic as soon as all of its replicas answer"
        return [_all([f"canary       {said}"])]
    paused = "   paused" if rollout.paused else ""
    head = [f"canary       {_place(rollout, known)}, drawn by {known.mode}{paused}"]
    if known.decision is None:
        return [_all(head)]
    head.append(f"             {known.decision.kind}: {known.decision.reason}")
    return [_all(head), Block(tuple(_beside(known)), 0), *_signals(rollout, known.decision)]


def _all(lines: Sequence[str]) -> Block:
    return Block(tuple(lines), len(lines))


def _alert(known: Canary) -> list[str]:
    requests, errors = known.after
    return [f"alert        {errors} of {requests} requests failed since it has all traffic"] if known.alerted else []


def _beside(known: Canary) -> Iterator[str]:
    """Golden prompts and guards, which have no row among the signals."""
    if known.golden:
        pairs = known.scores.pairs
        worse = f", candidate minus stable {pairs.difference:+.3f}" if pairs.pairs else ""
        yield f"golden       {known.golden}{worse}"
    for guard in known.guards:
        value = "has no data" if guard.value is None else f"is {guard.value:g}"
        yield f"guard        {guard.name} {value}, at most {guard.limit:g}{guard.why and f' ({guard.why})'}"


def _signals(rollout: Rollout, decision: Decision) -> list[Block]:
    """The table of signals, what is against the candidate first, then what promotion asks for; and what they say."""
    told = [one for one in decision.verdicts if one.required or any(one.reading.requests)]
    told.sort(key=lambda one: (not one.failed, not one.required))
    columns = ("SIGNAL", "VERDICT", "STABLE", "CANDIDATE", "RATIO", "E", "STOPS AT")
    table = table_lines(columns, [_row(one) for one in told], empty="no signal says anything yet")
    words = [said for one in told if (said := _words(one, final=rollout.phase.final))]
    if silent := len(decision.verdicts) - len(told):
        words.append(f"  {silent} more signals have nothing to say yet; * is required for all traffic")
    return [Block(("", *table), 4, "signals"), Block(tuple(words), 0)]


def _words(one: SignalVerdict, *, final: bool) -> str:
    """What is against the candidate, what is proven, or what is waited for; empty where nothing is."""
    if one.against or not one.required:
        return f"  {one.signal}: {one.against}" if one.against else ""
    if one.proof:
        return f"  {one.signal}: {one.proof}"
    return f"  {one.signal}: waits for {one.waits_for}" if one.waits_for and not final else ""


def summary(rollout: Rollout | None, known: Canary | None) -> dict[str, Any] | None:
    """The same for machines: not the callers, who are many."""
    if rollout is None or known is None:
        return None
    place = {"step": known.step, "held": known.held, "mode": known.mode, "paused": rollout.paused}
    found = {"decision": known.decision, "compared": known.compared, "after": known.after, "alerted": known.alerted}
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode({**place, **found}))
    return plain


def _place(rollout: Rollout, known: Canary) -> str:
    steps = rollout.asked.steps
    if known.step < 0:
        return f"before step 1 of {len(steps)}"
    step = steps[known.step]
    units = known.scores.units_at(step.weight)
    held = f"{known.held:.0f} s"
    return f"step {known.step + 1} of {len(steps)} at {step.weight:.0%}, {units} of {step.units} units, {held}"


def _row(one: SignalVerdict) -> list[Text]:
    reading, counted = one.reading, one.signal != QUALITY
    stable, candidate = zip(reading.events, reading.requests, strict=True)
    return [
        Text(one.signal + ("*" if one.required else ""), style="bold" if one.required else ""),
        Text(one.verdict, style=_STYLES[one.verdict]),
        Text(_of(*stable) if counted else f"{reading.requests[0]} pairs"),
        Text(_of(*candidate) if counted else ""),
        Text(_ratio(reading.ratio) if counted else ""),
        Text(_power(reading.log_peak), style=_STYLES[one.verdict] if one.failed else ""),
        Text(_power(one.log_threshold)),
    ]


def _of(events: int, requests: int) -> str:
    return f"{events:,} of {requests:,}"


def _ratio(found: Estimate) -> str:
    value = "?" if found.value is None else f"{found.value:.2f}"
    return f"{value} [{found.low:.2f}, {'∞' if found.high is None else f'{found.high:.2f}'}]"


def _power(log_value: float) -> str:
    return f"{math.exp(log_value):,.2g}" if log_value < math.log(10.0) else f"{math.exp(min(log_value, 700.0)):,.0f}"


def _compared(rollout: Rollout, compared: Compared) -> str:
    """What the copies were like, in one line."""
    if not compared.copies:
        return f"0 of {rollout.asked.compared} copies compared"
    same = f", {compared.same / compared.known:.1%} of {compared.known} say the same" if compared.known else ""
    enough = addressed("; `guideway promote` or `guideway abort`") if compared.copies >= rollout.asked.compared else ""
    return (
        f"{compared.copies} of {rollout.asked.compared} copies compared: {compared.failed} failed{same}, "
        f"{compared.late / compared.copies:.1%} slower than 95 % of the stable release's{enough}"
    )


def known_of(database: Database, rollout: Rollout | None) -> Canary | None:
    """What is known of the canary of *rollout*, as long as it has something to say."""
    if rollout is None or rollout.strategy == "all-at-once":
        return None
    return canaries.canary(database, rollout.id, Canary)
