"""The web door: Label Studio's ML protocol, webhooks, and the pages that people see in a browser."""
