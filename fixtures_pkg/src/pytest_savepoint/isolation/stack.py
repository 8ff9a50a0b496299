"""The stack of savepoints on the one connection, and the SQL that keeps it like independent transactions."""

from __future__ import annotations

from pytest_savepoint.isolation.statements import Statement
from pytest_savepoint.isolation.transaction import Transaction

__all__ = ["SavepointStack"]

_GUARD = "sp_guard"


class SavepointStack:
    """Which transactions are open, each above the one it is nested in; every method gives the SQL to send, or ''.

    The savepoint of level 0 always stands, for whichever transaction writes next, so that to begin costs nothing.
    """

    def __init__(self) -> None:
        self._open: list[Transaction] = []
        self._overdue: int | None = None
        self._guarded = False
        """A savepoint stands above them all, for a read of one that is not on top: its error must not cost the others."""
        self.failed: Transaction | None = None
        """The transaction whose error made the server refuse everything until a rollback."""
        self.lost: tuple[Transaction, Transaction] | None = None
        """A transaction that was rolled back, and one that had committed inside it."""

    def top_writer(self) -> Transaction | None:
        """The innermost transaction with changes that are neither committed nor rolled back."""
        return next((other for other in reversed(self._open) if other.wrote and not other.committed), None)

    def writes_alone(self, transaction: Transaction) -> bool:
        """No other open transaction has written."""
        return all(other is transaction or not other.wrote for other in self._open)

    def make_room(self, transaction: Transaction, statement: Statement) -> str:
        """Give the transaction a savepoint of its own to return to, where the statement needs one."""
        sql = self._make_way(transaction)
        occupies = statement.writes or transaction.read_only
        if transaction.level is None and (occupies or self._open):
            transaction.level = len(self._open)
            self._open.append(transaction)
            if transaction.level > 0:
                sql.append(f"SAVEPOINT sp_{transaction.level}")
            if transaction.read_only:
                sql.append("SET LOCAL transaction_read_only = on")
        if transaction.level is not None and self._open[-1] is not transaction and self.failed is None:
            self._guarded = True
            sql.append(f"SAVEPOINT {_GUARD}")
        if occupies and not transaction.wrote:
            transaction.begin_writing()
        return "; ".join(sql)

    def commit(self, transaction: Transaction) -> str:
        """Make a transaction's changes independent of every later rollback; below an open one that must wait."""
        sql = self._make_way(transaction)
        transaction.committed = True
        return "; ".join(sql + self._release_committed())

    def check(self, transaction: Transaction, constraints: str) -> str:
        """Check now what PostgreSQL checks at COMMIT.

        :param constraints: the deferred ones, as SET CONSTRAINTS names them.
        """
        checking = ["SET CONSTRAINTS ALL IMMEDIATE", f"SET CONSTRAINTS {constraints} DEFERRED"]
        return "; ".join(self._make_way(transaction) + checking)

    def roll_back(self, transaction: Transaction) -> str:
        """Undo a transaction's changes."""
        if transaction.level is None:
            return "; ".join(self._heal()) if self.failed is transaction else ""
        sql = self._make_way(transaction)
        sql += _back_to(transaction.level)
        self._forget_from(transaction)
        self.failed, self._guarded = None, False
        return "; ".join(sql + self._release_committed())

    def abandon(self, transaction: Transaction) -> None:
        """Undo a transaction's changes before the next statement, because nothing can be sent now."""
        if transaction.level is not None:
            self._overdue = transaction.level if self._overdue is None else min(self._overdue, transaction.level)
            self._forget_from(transaction)

    def overdue(self) -> str:
        """What has to be sent before anything else."""
        level, self._overdue = self._overdue, None
        if level is None:
            return ""
        self.failed, self._guarded = None, False
        return "; ".join(_back_to(level))

    def _make_way(self, transaction: Transaction) -> list[str]:
        """Leave what is above this transaction such that it can go on."""
        if self.failed is transaction:
            return []
        sql = self._heal() if self.failed is not None else []
        if self._guarded:
            self._guarded = False
            sql.append(f"RELEASE SAVEPOINT {_GUARD}")
        return sql + self._dissolve_readers_above(transaction)

    def _dissolve_readers_above(self, transaction: Transaction) -> list[str]:
        """Take back the savepoints of nested transactions that have only read, so that an outer one can go on."""
        sql = []
        if transaction.level is not None:
            while len(self._open) > transaction.level + 1 and not self._open[-1].wrote:
                reader = self._open.pop()
                sql.append(f"RELEASE SAVEPOINT sp_{reader.level}")
                reader.level = None
                if reader.absorbed is not None:
                    self._open[-1].absorbed = reader.absorbed
        return sql

    def _release_committed(self) -> list[str]:
        sql = []
        while self._open and self._open[-1].committed:
            done = self._open.pop()
            if done.read_only:
                # Its SET LOCAL goes with its savepoint.
                sql.append(f"ROLLBACK TO SAVEPOINT sp_{done.level}")
            sql.append(f"RELEASE SAVEPOINT sp_{done.level}")
            if not self._open:
                sql.append("SAVEPOINT sp_0")
            elif done.wrote:
                self._open[-1].absorbed = done
            done.end()
        return sql

    def _forget_from(self, transaction: Transaction) -> None:
        level = transaction.level or 0
        for inner in self._open[level + 1 :]:
            inner.broken_by = transaction
            if inner.committed:
                transaction.absorbed = inner
            elif inner.absorbed is not None:
                transaction.absorbed = inner.absorbed
            inner.level = None
        if transaction.absorbed is not None:
            self.lost = (transaction, transaction.absorbed)
        del self._open[level:]

    def _heal(self) -> list[str]:
        """Make the server accept statements again after the error of a transaction that is not at work now."""
        failed, self.failed = self.failed, None
        if self._guarded:
            return [f"ROLLBACK TO SAVEPOINT {_GUARD}"]
        if failed is None or failed.level is None:
            return ["ROLLBACK TO SAVEPOINT sp_0"]
        # It can do nothing but roll back; done now, whoever goes on is not nested in it.
        sql = _back_to(failed.level)
        self._forget_from(failed)
        failed.level = None
        failed.wake_waiting()
        return sql


def _back_to(level: int) -> list[str]:
    back = [f"ROLLBACK TO SAVEPOINT sp_{level}"]
    return [*back, f"RELEASE SAVEPOINT sp_{level}"] if level else back
