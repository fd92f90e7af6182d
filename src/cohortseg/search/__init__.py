"""Search: which settings to try next."""
