"""The training. Read losses first, then trainer: they are the method.

losses       the equations
captions     what is said of a photo beside it; quality, people: what is worth saying of it
dataset      photos of the subject, and other people with their ages; negatives: the faces of these, for triplet
order        in which order pictures are trained
batches      what is random in a step, and what is computed once
face_reader  from predicted latents to the embedding of the face in them
reward       pictures drawn on the way, and what is missing to the faces in them
trainer      the loop, its state and how it resumes; sameness: from which other runs it does not
memory       how much a training will need, counted before its first step
build        a trainer out of its parts, and what names a run
previews     the six ages, drawn while it trains
looks        what a judge says of them; watcher: when it looks, and what it keeps
curves       losses and looks as one picture
runs         a run on disk: found again, resumed, finished; lease: by one process at a time
probe        does a matcher's gradient carry identity?
"""
