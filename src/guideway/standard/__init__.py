"""The Standard: which facts a release must prove, as data, and the pure function that judges them."""

from guideway.standard.clauses import Check, Clause, Law, default_clauses, laws, team_clauses
from guideway.standard.judge import judge_all

__all__ = ["Check", "Clause", "Law", "default_clauses", "judge_all", "laws", "team_clauses"]
