"""Does the identity loss help? Many subjects of the drawn world, trained in several ways and judged by other networks.

plan.py       what is varied, on whom
trials.py     one subject trained one way, drawn and judged: a row of numbers
results.py    rows to rates with intervals, and the table
plots.py      the same as pictures
page.py       all of it in a folder
"""
