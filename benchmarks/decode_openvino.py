"""OpenVINO GenAI's pipeline in a process of its own: a line asks for one round, a line of JSON answers with its speed.

``python benchmarks/decode_openvino.py FOLDER THREADS``. There is no HTTP before it: whatever that costs is given to it.
Its settings are as they come: where a processor has bfloat16 it computes in that, which our engines never do.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any


def main() -> None:
    """Serve rounds until the input ends. A round is ``{"prompts": [[ids]], "tokens": n}``."""
    import openvino_genai as genai

    folder, threads = sys.argv[1:3]
    room = genai.SchedulerConfig()
    room.cache_size = 1
    pipeline = genai.ContinuousBatchingPipeline(folder, room, "CPU", {"INFERENCE_NUM_THREADS": int(threads)})
    for line in sys.stdin:
        print(json.dumps(play(genai, pipeline, json.loads(line))), flush=True)


def play(genai: Any, pipeline: Any, asked: dict[str, Any]) -> dict[str, float]:
    """Answer all prompts at once; tokens and seconds until the last one of them."""
    import numpy as np
    import openvino

    config = genai.GenerationConfig()
    config.max_new_tokens, config.do_sample, config.ignore_eos = asked["tokens"], False, True
    began = time.perf_counter()
    handles = [
        pipeline.add_request(number, openvino.Tensor(np.array([ids], np.int64)), config)
        for number, ids in enumerate(asked["prompts"])
    ]
    while pipeline.has_non_finished_requests():
        pipeline.step()
    seconds = time.perf_counter() - began
    made = sum(len(one.generated_ids) for handle in handles for one in handle.read_all())
    return {"tokens": made, "seconds": seconds}


if __name__ == "__main__":
    main()
