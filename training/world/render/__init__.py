"""Renders synthetic faces: traits -> aging -> shape, features, hair -> image. Start with face.

traits, aging                       identity and view traits, and how age changes a face
shape, features, hair, scenery      parts of an image, built from fields
face                                combines them into an image
population                          seeds of the people, with separate ranges for training and testing
place                               the face's position, as a face detector returns it
photos                              a subject's photos and a regularization set
"""
