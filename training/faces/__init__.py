"""What is read off a face. Read find first, then observation.

find            a face in a picture, and its square, cut differentiably
embedders       crops to unit vectors whose cosine says how alike two faces are
age_estimators  how old a face looks
observation     all of that of one picture, by one observer
"""
