"""Talking to a Label Studio server: its API and the images behind it."""
