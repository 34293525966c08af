"""Masks to Label Studio regions and back."""
