"""What the stages do for ``task: embed``: an encoder whose pooled, normalised output says where a text stands."""
