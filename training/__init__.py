"""Identity-preserving aging by DreamBooth with an identity loss; usable without ComfyUI: ``python -m training``.

Read dreambooth/losses.py and dreambooth/trainer.py: they are the method. Imports run one way, upwards in this list:

    cli          one file a command
    study        people of the drawn world, trained in many ways and measured
    cast         many subjects, or trials, in a queue
    dreambooth   the training: losses, batches, trainer, what watches it, and its files
    report       what a biometrician wants to know, as text, plots, files and a page
    catalogue    embedders and age estimators by name
    world        faces drawn by program, and a small model of them
    biometrics   numbers about similarities
    models       Stable Diffusion opened, sampled, saved; LoRA and subject files
    faces        found, cut out, embedded, and how old they look
    pictures     photos in; sheets and charts out
    config, options, edits, published, ages, files, records, errors
"""
