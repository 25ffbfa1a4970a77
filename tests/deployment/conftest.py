"""Conftest: the servers that tests of this folder share."""

from collections.abc import Iterator

import pytest

from ..faults.databases import CannotStart
from .cluster import Cluster
from .models import Models
from .runs import SavedReplies


@pytest.fixture(scope="module")
def saved() -> SavedReplies:
    """What tells whether a reply was saved."""
    return SavedReplies()


@pytest.fixture(scope="module")
def models(saved: SavedReplies) -> Iterator[Models]:
    """The models that workers ask."""
    with Models(0.5, saved=saved) as running:
        yield running


@pytest.fixture(scope="module")
def cluster(models: Models, saved: SavedReplies) -> Iterator[Cluster]:
    """Two workers of Aegra that serve what `deploy/` configures."""
    given = Cluster(models.url, is_mounted=True)
    try:
        given.__enter__()
    except CannotStart as error:
        pytest.skip(str(error))
    saved.url = given.postgres.url
    yield given
    given.__exit__(None, None, None)
