"""What several commands say of the same options."""

from ..catalogue import DRAWN_AGE_JUDGE, DRAWN_AGES, FACE_API

AGE_ESTIMATORS = (
    f"{FACE_API}, which is the default where its files are; a folder with a CLIP as transformers saves it; or "
    f"{DRAWN_AGES} to train with and {DRAWN_AGE_JUDGE} to judge with, for faces drawn by program"
)
EMBEDDER_HELP = (
    "FaceNet by its training data, dlib, or mobilefacenet; drawn-loss and drawn-score are for drawn faces, untrained "
    "for tests"
)
WEIGHTS_HELP = "folder of the weights of embedders and of face-api, by default facenet-pytorch's own"
DOWNLOAD_HELP = "fetch missing weights of embedders and of face-api into that folder"
PERSON_HELP = "another subject, by number from 0 to 499999"
LAST_PERSON = 499_999
