"""Files and batches: a service of its own beside the workers, reached only through them."""
