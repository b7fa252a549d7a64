"""Help texts that several commands share."""

from ..catalogue import FACE_API, SYNTHETIC_AGE_JUDGE, SYNTHETIC_AGES

AGE_ESTIMATORS = (
    f"{FACE_API}, the default if its files are present; a folder with a CLIP model in transformers format; or for "
    f"synthetic faces {SYNTHETIC_AGES} (to train with) and {SYNTHETIC_AGE_JUDGE} (to judge with)"
)
EMBEDDER_HELP = (
    "face embedder: FaceNet, named by its training data, dlib or mobilefacenet; drawn-loss and drawn-score are for "
    "synthetic faces, untrained is for tests"
)
WEIGHTS_HELP = "folder with the weights of face embedders and face-api; by default facenet-pytorch's own folder"
DOWNLOAD_HELP = "download missing weights of face embedders and face-api to that folder"
PERSON_HELP = "number of a synthetic person, from 0 to 499999"
LAST_PERSON = 499_999
