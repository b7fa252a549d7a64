import pytest

from tests.judges import dlib_weights, judges  # noqa: F401


@pytest.fixture(scope="session")
def astronaut():
    """A photograph with one face, which ships in scikit-image's wheel."""
    from PIL import Image
    from skimage.data import astronaut

    return Image.fromarray(astronaut())
