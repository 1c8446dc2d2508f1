"""The command line's commands, one module each; `cli` reads their arguments."""
