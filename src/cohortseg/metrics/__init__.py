"""Metrics: how well a prediction agrees with its reference, and what many such rows say together."""
