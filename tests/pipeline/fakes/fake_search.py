"""A search: its result changes with every trial, and the best of it with every tenth."""

name = "search"
needs = ("first",)
libraries = ()


def params(spec):
    return {"trials": spec.evaluate.examples}


def sources(spec, root):
    return []


def run(job):
    with (job.root / "ran").open("a") as file:
        file.write("search\n")
    (job.out / "trials.txt").write_text(str(job.params["trials"]))
    (job.out / "best.txt").write_text(str(job.params["trials"] // 10))
