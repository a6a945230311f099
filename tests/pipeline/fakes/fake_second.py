"""A stage that needs the first one."""

name = "second"
needs = ("first",)
libraries = ()


def params(spec):
    return {"seed": spec.data.seed}


def sources(spec, root):
    return []


def run(job):
    with (job.root / "ran").open("a") as file:
        file.write("second\n")
    text = (job.inputs["first"] / "copy.txt").read_text()
    (job.out / "length.txt").write_text(str(len(text)))
    job.measure("length", len(text), "letters", about="first")
