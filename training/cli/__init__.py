"""The command line: parser has the table of commands, and each command a file. Read train first."""
