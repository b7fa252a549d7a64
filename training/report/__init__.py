"""The biometric report. Read build first; the other modules feed it or show its results.

build    computes the numbers and the remarks on their limits
compare  observes images and builds their report
across   requested age x photo age
text     sentences and table cells, for the terminal and the page
plots    plots as images
page     one HTML page (page.html.jinja)
files    writes JSON, CSV, PNG and the page
"""
