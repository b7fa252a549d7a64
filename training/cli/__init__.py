"""The command line. parser.py has the table of commands; each command has its own file. Read train.py first."""
