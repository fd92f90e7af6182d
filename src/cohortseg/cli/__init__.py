"""The command line: a literal table of commands, each loaded only when it is called."""
