"""What several commands say of the same options."""

from ..catalogue import DRAWN_AGES

AGE_ESTIMATORS = f"a folder with a CLIP as transformers saves it, or {DRAWN_AGES} for faces drawn by program"
EMBEDDER_HELP = "FaceNet by its training data; drawn-loss and drawn-score are for drawn faces, untrained for tests"
WEIGHTS_HELP = "folder of the FaceNet weights, by default facenet-pytorch's own"
PERSON_HELP = "another subject, by number from 0 to 499999"
LAST_PERSON = 499_999
