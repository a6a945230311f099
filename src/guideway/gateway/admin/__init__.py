"""The admin plane: keys, route, metrics and draining, in a process of its own beside the workers."""
