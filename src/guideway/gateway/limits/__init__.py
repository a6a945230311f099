"""What each key may use: one limiter per gateway gives workers short leases of budgets, and counts what was used."""
