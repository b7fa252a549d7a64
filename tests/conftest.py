import os

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # workers that each use all cores are ten times slower
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}

from tests.judges import dlib_weights, judges  # noqa: F401


@pytest.fixture(scope="session")
def astronaut():
    """A photograph with one face, which ships in scikit-image's wheel."""
    from PIL import Image
    from skimage.data import astronaut

    return Image.fromarray(astronaut())
