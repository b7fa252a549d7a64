"""The method. Read losses first, then trainer.

losses       the equations
trainer      the training loop
batches      what is random per step, and what is computed once
order        the order of training images, and the random streams
negatives    faces of other people, for the triplet loss
face_reader  from predicted latents to face embeddings
reward       images generated during training, and losses on their faces
"""
