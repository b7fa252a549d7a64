"""The training. Read losses first, then trainer: they are the method.

losses       the equations
dataset      photos of the subject, and other people with their ages
batches      what is random in a step, and what is computed once
face_reader  from predicted latents to the embedding of the face in them
trainer      the loop, its state and how it resumes
memory       how much a training will need, counted before its first step
build        a trainer out of its parts, and what names a run
previews     the six ages, drawn while it trains
looks        what a judge says of them; watcher: when it looks, and what it keeps
curves       losses and looks as one picture
runs         a run on disk: found again, resumed, finished
probe        does a matcher's gradient carry identity?
"""
