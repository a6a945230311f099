"""What the stages do for ``task: classify``: an encoder, the mean of its tokens, and a linear head. Needs torch."""
