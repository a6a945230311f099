"""``python -m simulation --seed N --trace``: tells all that happens with one seed; ``--from A --to B`` plays many."""

from __future__ import annotations

import argparse
import collections
import sys
import time
from collections.abc import Iterable

from guideway.core.rollout import Phase
from simulation.run import Result, run

FALSELY = 0.02
"""The share of healthy candidates that may be undone in calm: alpha is 1 %, and small numbers vary."""
ILL = frozenset({"bad", "never ready", "lying", "corrupt"})


def main() -> int:
    """0: all holds."""
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--to", type=int, default=100)
    asked = parser.parse_args()
    if asked.seed is None:
        return _many(range(asked.first, asked.to))
    result = run(asked.seed, print if asked.trace else None)
    print(f"seed {asked.seed}: {result.story.told}\n{result.broken or 'all holds'}; trace {result.trace[:16]}")
    return bool(result.broken)


def results_of(seeds: Iterable[int]) -> list[Result]:
    """Play *seeds*, one after the other."""
    return [run(seed) for seed in seeds]


def what_is_wrong(results: Iterable[Result]) -> list[str]:
    """Invariants that did not hold, and candidates of calm stories that did not end as they deserve."""
    results = list(results)
    wrong = [
        f"{one.broken}\n    {one.story.told}\n    PYTHONPATH=src:tests/fleet python -m simulation "
        f"--seed {one.seed} --trace"
        for one in results
        if one.broken
    ]
    calm = [one for one in results if one.story.temper == "calm" and one.story.strategy == "canary" and one.first]
    wrong += [
        f"seed {one.seed}: a candidate that is {one.story.character} was {one.first.phase}"
        for one in calm
        if one.story.character in ILL and one.first.phase is not Phase.FAILED
    ]
    good = [one for one in calm if one.story.character == "good"]
    undone = [one.seed for one in good if one.first.phase is Phase.FAILED]
    if len(undone) > 1 + FALSELY * len(good):
        wrong.append(f"{len(undone)} of {len(good)} healthy candidates were undone in calm: seeds {undone}")
    return wrong


def _many(seeds: Iterable[int]) -> int:
    began, ends, results = time.process_time(), collections.Counter[str](), []
    for seed in seeds:
        result = run(seed)
        results.append(result)
        phase = result.first.phase if result.first else "never shipped"
        ends[f"{result.story.temper}, {result.story.strategy}, {result.story.character}: {phase}"] += 1
        if result.broken:
            print(result.broken, flush=True)
    spent = (time.process_time() - began) / max(1, len(results))
    wrong = what_is_wrong(results)
    print("\n".join([f"{count:6} {what}" for what, count in sorted(ends.items())] + wrong))
    print(
        f"{len(results)} seeds, {len(wrong)} wrong, {spent:.2f} s each, {sum(one.requests for one in results)} requests"
    )
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
