import logging

import pytest
from siren import ring


@pytest.fixture
def quiet():
    town = logging.getLogger("town")
    before = town.level
    town.setLevel(logging.CRITICAL)
    yield
    town.setLevel(before)


def test_quiet_night(quiet):
    ring()


def test_other_street_is_silent():
    logging.getLogger("town.fountain").setLevel(logging.CRITICAL)


def test_alarm_of_another_name_fails(caplog):
    ring()
    assert "fire" in caplog.text
