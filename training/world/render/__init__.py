"""Faces drawn by program. Read drawing first: traits -> aging -> shape, features, hair -> picture.

traits, aging                       who somebody is, and what years do to that
shape, features, hair, scenery      parts of a picture, out of fields
drawing                             all of them together
population                          who lives in the world, and who is kept apart
place                               where the face is, as a detector would answer
photos                              a subject's photos and a regularization set
"""
