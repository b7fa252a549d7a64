"""The biometric report. Read build first: everything else shows what is in it.

build  the numbers, and sentences about what they cannot say
across asked age x photo age
text   words and table cells, for the terminal and the page
plots  pictures
page   one HTML page (page.html.jinja)
files  JSON, CSV, PNG and the page on disk
"""
