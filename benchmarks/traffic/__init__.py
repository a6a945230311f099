"""What the gateway's benchmark stands on: a model server, sides to compare, loads, and readings of the machine."""
