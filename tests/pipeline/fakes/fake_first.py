"""A stage that copies its source file, and misbehaves when asked to."""

import os
import time
from pathlib import Path

name = "first"
needs = ()
libraries = ("msgspec",)


def params(spec):
    return {"steps": spec.train.steps, "mode": spec.policy.intended_use}


def sources(spec, root):
    return [root / source.path for source in spec.data.sources]


def run(job):
    mode = job.params["mode"]
    for done in range(3):
        job.progress(done, 3, "note")
    if mode == "hang":
        (job.root / "hanging").write_text(str(os.getpid()))
        time.sleep(600)
    if mode == "crash":
        raise ValueError("a bad thing\nwith more lines")
    if mode == "kill":
        os.kill(os.getpid(), 9)
    if mode == "lacks":
        raise ModuleNotFoundError("No module named 'opacus'", name="opacus.optimizers")
    if mode == "full":
        raise OSError(28, "No space left on device")
    if mode == "wrapped":
        try:
            raise OSError(28, "No space left on device")
        except OSError as error:
            raise RuntimeError("export failed") from error
    with (job.root / "ran").open("a") as file:
        file.write("first\n")
    text = (job.root / "a.txt").read_text()
    Path(job.out / "copy.txt").write_text(text.upper() if mode != "same" else "SAME")
    job.measure("rows", len(text), "rows", about="out", slice="all")
    job.fact(f"{len(text)} letters")
