"""Every table; importing this package fills `Base.metadata`."""

from app.database import Base
from app.models.audit import AuditEntry
from app.models.item import Item
from app.models.notification import Notification
from app.models.order import Order, OrderLine, OrderStatus
from app.models.rule import Rule
from app.models.user import User

__all__ = ["AuditEntry", "Base", "Item", "Notification", "Order", "OrderLine", "OrderStatus", "Rule", "User"]
