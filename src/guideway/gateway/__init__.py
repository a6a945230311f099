"""The gateway: one worker process per listening socket, and a small parent that keeps the sockets."""
