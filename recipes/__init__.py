"""How things that ship were made; run from a checkout, not installed."""
