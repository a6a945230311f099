"""The exact cache: the same question of one tenant to one release is answered once, and asked once at a time."""
