"""Numbers that others measure: what a Prometheus server says of a release while a rollout runs."""
