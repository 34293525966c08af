"""The command line: the table of commands, each command, the supervisor and the demo."""
