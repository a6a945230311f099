"""All that we keep, in one place: blobs, state, ledger."""
