from __future__ import annotations

import pytest
from app.schemas.order import OrderCreate
from app.schemas.user import UserCreate
from pydantic import ValidationError


@pytest.mark.parametrize(
    ("email", "valid"),
    [
        ("valid@example.com", True),
        ("User@Domain.org", True),
        ("invalid-email", False),
        ("@nodomain.com", False),
        ("", False),
    ],
)
def test_email_validation(email: str, valid: bool):
    if valid:
        user = UserCreate(email=email, password="ValidPass123!", name="Test")
        assert user.email == email.lower()
    else:
        with pytest.raises(ValidationError):
            UserCreate(email=email, password="ValidPass123!", name="Test")


@pytest.mark.parametrize(
    ("password", "missing"),
    [
        ("ValidPass123!", None),
        ("AnotherGood1@", None),
        ("short1A!", "at least 10 characters"),
        ("nouppercasepass1!", "an upper-case letter"),
        ("NOLOWERCASE1!", "a lower-case letter"),
        ("NoDigitsHere!", "a digit"),
        ("NoSpecialChar1", "a special character"),
    ],
)
def test_password_validation(password: str, missing: str | None):
    if missing is None:
        assert UserCreate(email="test@example.com", password=password, name="Test").password == password
    else:
        with pytest.raises(ValidationError, match=missing):
            UserCreate(email="test@example.com", password=password, name="Test")


@pytest.mark.parametrize("country", ["de", "DEU", "", "D1"])
def test_country_validation(country: str):
    line = {"item_id": "7b0c3a2e-6a0e-4c41-9a3b-0a3f6c9f5c11", "quantity": 1}

    with pytest.raises(ValidationError, match="country"):
        OrderCreate(country=country, lines=[line])


def test_order_needs_a_line():
    with pytest.raises(ValidationError, match="at least 1 item"):
        OrderCreate(country="DE", lines=[])
