"""A small synthetic world of rendered faces, to try and measure the method without any download.

render/        renders faces from people, ages and views
networks.py    face embedders and age estimators for these faces; shipped.py loads their weights
captions.py    the base model's training captions and its small vocabulary
model.py       the base model as a Stable Diffusion 1.x checkpoint
recipe.py      training settings and evaluation shared by the demo and the study

lab/world contains the code that trained the networks.
"""
