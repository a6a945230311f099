"""Our own small model server: requests join and leave a running batch between steps; one process per replica."""

import os

# A process that imports a server is forked later, so nothing here may start a thread on import: numpy's BLAS would.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# ONNX Runtime reports to its maker, from a thread it starts on import, unless this is set before.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
