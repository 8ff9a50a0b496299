import pytest
from config import gateway, settings


class TestPrices:
    async def test_price_in_euro(self):
        assert settings().currency == "EUR"

    async def test_price_in_francs(self, monkeypatch):
        monkeypatch.setenv("CURRENCY", "CHF")
        assert settings().currency == "CHF"


class TestPayments:
    @pytest.fixture
    def sandbox(self, monkeypatch):
        monkeypatch.setenv("GATEWAY_URL", "http://sandbox")

    async def test_sandbox(self, sandbox):
        assert gateway().url == "http://sandbox"

    async def test_live(self):
        assert gateway().url == "http://live"
