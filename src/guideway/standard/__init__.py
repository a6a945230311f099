"""The Standard: which facts a release must prove, as data, and the pure function that judges them."""

from guideway.standard.clauses import CLAUSES, Clause, clauses_for
from guideway.standard.judge import judge, judge_all

__all__ = ["CLAUSES", "Clause", "clauses_for", "judge", "judge_all"]
