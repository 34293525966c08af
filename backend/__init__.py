"""HTTP: Label Studio's ML backend protocol, its webhooks, and the `argenseg` command."""
