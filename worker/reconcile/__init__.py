"""What webhooks missed, read from Label Studio."""
