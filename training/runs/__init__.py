"""Training runs on disk. Read session first: the command line and the node both call it.

session      from photos to a finished run
build        a trainer from its parts, and the inputs that identify a run
state        the training state: saved, compared and resumed
files        the files of a run
lease        one process per run
memory       memory needed, counted before the first step
previews     the six ages generated during training
evaluations  a judge's scores of the previews
previewer    when to preview, and which steps to keep
curves       losses and evaluations as a chart
"""
