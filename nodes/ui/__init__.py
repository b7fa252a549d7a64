"""Code that the nodes share.

checks.py      input checks for validate_inputs, and the lengths of lists
device.py      devices for the face networks, and freeing GPU memory
estimator.py   the age estimator: CLIP, face-api, or the synthetic world's own
folders.py     model, input and output folders
images.py      conversion between ComfyUI tensors and PIL images
inputs.py      widgets for the training settings
photos.py      a subject's photos from IMAGE batches, ages, captions and masks
progress.py    progress bars, status text, warnings and Cancel
results.py     text and thumbnails that stay on a node
scores.py      similarities and verdicts for display
sockets.py     socket types and schema options
"""
