"""Face detection, face crops, face embeddings and age estimates. Read find first, then crops, then observation.

find            detects faces and cuts them out of images
crops           the face crop that each network expects, cut differentiably
embedders       crops to unit vectors; the cosine of two vectors is their similarity
facenet dlib_resnet mobilefacenet
                three embedders, read from published weights
age_estimators  how old a face looks
face_api        an age network, read from published weights
observation     everything measured on one image: face, embedding, age
"""
