import logging

from siren import ring


def test_quiet_night():
    logging.getLogger("town").setLevel(logging.CRITICAL)  # SP505


def test_alarm_is_written(caplog):
    ring()
    assert "alarm" in caplog.text
