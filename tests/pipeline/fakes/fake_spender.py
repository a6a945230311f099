"""A stage that spends one of a budget each time, and knows what was spent before."""

name = "spender"
needs = ()
libraries = ()


def params(spec):
    return {"seed": spec.data.seed, "shares": spec.policy.intended_use != "alone"}


def recalls(params):
    return ("spent",) if params["shares"] else ()


def sources(spec, root):
    return ()


def run(job):
    (job.out / "x").write_text(str(job.params["seed"]))
    job.measure("spent", 1.0, "units", about="out", slice="rows")
    job.fact(f"before: {sum(one.value for one in job.recalled if one.slice == 'rows'):g}")
