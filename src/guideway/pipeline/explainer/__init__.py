"""``POST /v1/explain``: a process beside the gateway's workers that explains what the stable release says."""
