"""Identity-preserving aging with DreamBooth and an identity loss. Works without ComfyUI: ``python -m training``.

Read dreambooth/losses.py and dreambooth/trainer.py first: they are the method. A package imports only from those
further down in this list:

    cli          the command line, one file per command
    cast         many subjects in a queue, on one machine or a cluster
    catalogue    face embedders and age estimators by name
    world        the synthetic world: rendered faces and a small model of them
    runs         a training from photos to a finished subject: session, state, files, previews, curves
    report       the biometric report as text, plots, files and a page
    dreambooth   the method: losses, batches, trainer, reward
    data         photos and regularization set, with ages and captions
    biometrics   similarities, error rates and verdicts
    models       noise levels, LoRA, subject files; stable_diffusion opens, samples and saves diffusers models
    faces        finds, crops and embeds faces, and estimates their age
    pictures     reads images; renders contact sheets and charts
    config, options, edits, published, weights, ages, files, records, names, errors
"""
