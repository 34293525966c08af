"""Predictions: requested, computed, sent."""
