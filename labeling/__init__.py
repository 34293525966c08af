"""The domain: label config to prompts, masks to regions and back, predictions, corrections, and their store."""
