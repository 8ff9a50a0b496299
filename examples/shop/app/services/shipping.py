"""The price of a parcel, asked from another company's server."""

from __future__ import annotations

from decimal import Decimal

import httpx

from app.core.exceptions import ShippingUnavailableError


async def fetch_rate(http: httpx.AsyncClient, country: str, weight_grams: int) -> Decimal:
    response = await http.get("/rates", params={"country": country, "grams": weight_grams})
    response.raise_for_status()
    return Decimal(str(response.json()["price"]))


class ShippingService:
    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def quote(self, country: str, weight_grams: int) -> Decimal:
        """:raises ShippingUnavailableError: when there is no usable answer, whatever the reason."""
        try:
            return await fetch_rate(self.http, country, weight_grams)
        except (httpx.HTTPError, KeyError, ValueError, ArithmeticError) as error:
            raise ShippingUnavailableError("Shipping rates are not available now; try again later.") from error
