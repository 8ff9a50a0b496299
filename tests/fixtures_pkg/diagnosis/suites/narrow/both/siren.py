import logging

log = logging.getLogger("town.siren")


def ring():
    log.warning("alarm")
