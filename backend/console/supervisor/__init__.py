"""Everything on one machine: the embedded Redis, the child processes and the command that runs them together."""
