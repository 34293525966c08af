"""Webhook events: taken in even where the store is not there, then followed."""
