import functools
import os
from dataclasses import dataclass


@dataclass
class Settings:
    currency: str
    page_size: int


@functools.lru_cache  # SP706
def settings() -> Settings:
    return Settings(os.environ.get("CURRENCY", "EUR"), int(os.environ.get("PAGE_SIZE", "20")))


_gateway = None


class Gateway:
    def __init__(self) -> None:
        self.url = os.getenv("GATEWAY_URL", "http://live")


def gateway() -> Gateway:
    global _gateway
    if _gateway is None:
        _gateway = Gateway()  # SP706
    return _gateway
