"""The nouns and the protocols: frozen data. Only ``core.spec.load`` reads a file."""
