"""Predictions on their way to Label Studio."""
