"""The biometric report. Read build first; the other modules show its results.

build  computes the numbers and the remarks on their limits
across requested age x photo age
text   sentences and table cells, for the terminal and the page
plots  plots as images
page   one HTML page (page.html.jinja)
files  writes JSON, CSV, PNG and the page
"""
