"""What runs inside of vLLM's process, by vLLM's own interpreter: its folder alone is put on that interpreter's path."""
