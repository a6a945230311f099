"""``python -m simulation --seed N --trace``: run one seed and tell all that happens; ``--from A --to B``: run many."""

from __future__ import annotations

import argparse
import collections
import sys
import time

from simulation.run import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="simulation", description=__doc__)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--to", type=int, default=100)
    asked = parser.parse_args()
    if asked.seed is not None:
        result = run(asked.seed, print if asked.trace else None)
        print(f"seed {asked.seed}: {result.story.told}\n{result.broken or 'all holds'}; trace {result.trace[:16]}")
        return bool(result.broken)
    return many(asked.first, asked.to)


def many(first: int, to: int) -> int:
    began, broken = time.process_time(), 0
    ends: collections.Counter[str] = collections.Counter()
    for seed in range(first, to):
        result = run(seed)
        phase = result.first.phase if result.first else "none"
        ends[f"{result.story.temper} {result.story.strategy} {result.story.character}: {phase}"] += 1
        if result.broken:
            broken += 1
            print(f"{result.broken[:400]}\n    {result.story.told}", flush=True)
    spent = time.process_time() - began
    print("\n".join(f"{count:5} {what}" for what, count in sorted(ends.items())))
    print(f"{to - first} seeds, {broken} broken, {spent / (to - first):.3f} s each")
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
