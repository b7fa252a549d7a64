"""A small world of faces drawn by program: the method can be seen and measured on it without any download.

draw/          people, ages and views to pictures
networks.py    two embedders and an age estimator for these faces; shipped.py: those that come with the project
captions.py    what the base model is told, and the few tokens it knows
model.py       the base model as a Stable Diffusion 1.x checkpoint
make/          how all of these were trained
"""
