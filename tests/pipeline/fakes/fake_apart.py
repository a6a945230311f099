"""A stage that needs a package which our own environment does not have, or has in another version."""

from pathlib import Path

name = "apart"
needs = ()
libraries = ()
environment: Path | None = None


def params(spec):
    return {}


def sources(spec, root):
    return []


def run(job):
    import msgspec  # comes from the environment of Guideway
    import tiny

    (job.out / "said").write_text(f"tiny {tiny.VERSION}, msgspec {msgspec.__version__}")
    job.fact(f"tiny {tiny.VERSION}")
