"""A stage that starts from a model of a release."""

name = "borrower"
needs = ()
libraries = ()


def params(spec):
    return {}


def borrows(spec):
    return {"base": spec.policy.intended_use} if spec.policy.intended_use else {}


def sources(spec, root):
    return ()


def run(job):
    found = sorted(path.relative_to(job.inputs["base"]).as_posix() for path in job.inputs["base"].rglob("*"))
    (job.out / "names").write_text(" ".join(found))
    job.fact(" ".join(found))
