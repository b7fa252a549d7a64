"""Many subjects, or other jobs, in a queue: on this machine one after the other, or on a cluster with Ray.

table      the file with a row a subject, as values of options
entry      what is known of one subject by now; each keeps its own beside its run
queue      work on named items, one after the other; cluster: the same on Ray
view       all of them in the terminal while they run; page: the table and the page of the whole cast
"""
