"""A project of Label Studio: which model version is active for it, its requests for predictions, what is pinned."""
