"""What is counted: requests, tokens and money, in whole numbers, so that sums are exact."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from guideway.core.spec.gateway import Limits, Price

UNLIMITED = 1 << 60
NANO = 1_000_000_000
_PER_MILLION = 1_000_000


class Amounts(NamedTuple):
    """Requests, tokens, and money in billionths of the currency unit."""

    requests: int = 0
    tokens: int = 0
    money: int = 0


NOTHING = Amounts()
_new = tuple.__new__


def amounts(requests: int, tokens: int, money: int) -> Amounts:
    """These amounts: a third of the time that the class takes, which counts where every request does it."""
    return _new(Amounts, (requests, tokens, money))


class Budget(NamedTuple):
    """What a key may use in a minute and in a day; ``UNLIMITED`` where nobody counts."""

    minute: Amounts
    day: Amounts


class Used(NamedTuple):
    """What requests really used; money in billionths."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    money: int = 0


def budget_of(limits: Limits) -> Budget | None:
    """The budget that *limits* grant, or None when they limit nothing."""
    if limits == Limits():
        return None
    minute = (limits.requests_per_minute, limits.tokens_per_minute, round(limits.money_per_minute * NANO))
    day = (limits.requests_per_day, limits.tokens_per_day, round(limits.money_per_day * NANO))
    return Budget(_bounded(minute), _bounded(day))


def _bounded(limits: tuple[int, int, int]) -> Amounts:
    return Amounts(*(min(one, UNLIMITED) if one else UNLIMITED for one in limits))


def limited(budget: Budget) -> tuple[bool, bool, bool]:
    """For each amount: does the minute or the day limit it?"""
    requests, tokens, money = (least != UNLIMITED for least in map(min, *budget))
    return requests, tokens, money


def cost(price: Price, input_tokens: int, output_tokens: int) -> int:
    """Money for these tokens, in billionths, rounded up."""
    if not price.input and not price.output:
        return 0
    nano = NANO // _PER_MILLION
    exact = input_tokens * price.input * nano + output_tokens * price.output * nano
    return -int(-round(exact, 3) // 1)


def plus(one: Amounts, other: Amounts) -> Amounts:
    """The sum."""
    return _new(Amounts, (one[0] + other[0], one[1] + other[1], one[2] + other[2]))


def minus(one: Amounts, other: Amounts) -> Amounts:
    """The difference, which may be negative."""
    return _new(Amounts, (one[0] - other[0], one[1] - other[1], one[2] - other[2]))


def least(one: Amounts, other: Amounts) -> Amounts:
    """The smaller of each."""
    return Amounts(min(one[0], other[0]), min(one[1], other[1]), min(one[2], other[2]))


def lacking(need: Amounts, have: Amounts) -> Amounts:
    """What *have* is short of *need*, nowhere negative."""
    return Amounts(max(need[0] - have[0], 0), max(need[1] - have[1], 0), max(need[2] - have[2], 0))


def covers(have: Amounts, need: Amounts) -> bool:
    """Is there enough of each? What is not needed may be owed."""
    return (
        (not need[0] or have[0] >= need[0])
        and (not need[1] or have[1] >= need[1])
        and (not need[2] or have[2] >= need[2])
    )


def part(amounts: Amounts, share: int) -> Amounts:
    """One *share*-th of each, rounded down."""
    return Amounts(amounts[0] // share, amounts[1] // share, amounts[2] // share)


def added(one: Used, other: Used) -> Used:
    """The sum."""
    return Used(one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3])


class Estimate(msgspec.Struct, frozen=True):
    """What a request may use at most: tokens of the prompt as estimated, and the bound on those of the answer."""

    input_tokens: int = 0
    output_tokens: int = 0
