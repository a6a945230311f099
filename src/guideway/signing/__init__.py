"""Keys, DSSE envelopes, in-toto statements: verified offline, by other people's tools too."""
