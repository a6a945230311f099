"""A stage that takes what was chosen, where there was a choice."""

name = "taker"
needs = ("first",)
uses = ("choice",)
libraries = ()


def params(spec):
    return {}


def sources(spec, root):
    return []


def run(job):
    with (job.root / "ran").open("a") as file:
        file.write("taker\n")
    chosen = job.inputs.get("choice")
    (job.out / "taken.txt").write_text((chosen / "best.txt").read_text() if chosen else "the defaults")
