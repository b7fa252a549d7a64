"""Runs many subjects, or other jobs, in a queue: one at a time on this machine, or on a cluster with Ray.

table      reads the file with one row of options per subject
entry      the progress and result of one subject, saved beside its run
queue      runs work on named items one after another; cluster does the same on Ray
view       progress in the terminal; page writes the table and the HTML page of the whole cast
"""
