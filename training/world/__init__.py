"""A small world of faces drawn by program: the method can be seen and measured on it without any download.

    drawing.py     people, ages and views to pictures: traits -> aging -> shape, features, hair
    place.py       the face's place, as a detector would answer
    shipped.py     two embedders and an age estimator for these faces, with recorded hashes
    photos.py      a held-out subject's photos and a regularization set
    export.py      the base model as a Stable Diffusion 1.x checkpoint
    trial.py       one subject trained, drawn and judged

How its networks were trained, in this order; every command goes on where it was stopped, on a GPU where there is one.
Their logs, and the judges' verify.json, are beside the weights.

    python -m training.world.train_matchers loss --steps 5000        then again, with --steps 9000
    python -m training.world.train_matchers score
    python -m training.world.train_matchers age --pictures 8192 --steps 2500
    python -m training.world.verify
    python -m training.world.autoencoder                             30 minutes on two cores; latents hang on it
    python -m training.world.base --steps 9000                       stopped after step 1827, for want of time, and then
    python -m training.world.base --steps 5500                       45 minutes on two cores
    python -m training.world.preview --out sheet.png
    python -m training.world.export --weights training/world/weights/base.safetensors
"""
