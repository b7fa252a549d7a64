"""What is read off a face. Read find first, then crops, then observation.

find            a face in a picture
crops           what a network is shown of it, cut differentiably
embedders       crops to unit vectors whose cosine says how alike two faces are
facenet dlib_resnet mobilefacenet
                three of them, out of the files that others published
age_estimators  how old a face looks
face_api        a published network that says so
observation     all of that of one picture, by one observer
"""
