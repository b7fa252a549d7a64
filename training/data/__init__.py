"""The subject's photos and the regularization images, with ages, captions and masks. Read dataset, then subject_photos.

dataset        the two data sets: the subject's photos with their faces, and the regularization images with age classes
subject_photos reads the subject's photos from a folder, with their ages, captions and masks
ages_in_names  the age that an image's file name, folder or caption gives
prompts        the prompt that a photo is trained with
quality        warnings about small, blurred and duplicate photos, and photos that are in the regularization set too
people         a warning if the photos seem to show several people
"""
