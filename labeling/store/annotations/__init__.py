"""Annotations as events reported them, and the corrections in them."""
