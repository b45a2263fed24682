"""`Store`: flights, reservations and users in memory; every change can be undone."""

from typing import Any

Record = dict[str, Any]
Tables = dict[str, dict[str, Record]]
"""`flights`, `reservations` and `users`, each a dictionary from id to record."""

_ABSENT = object()


class Store:
    """Hold the tables; make every change with `put`, which saves the old value for `rewind`.

    The store does not copy the tables when it loads or changes them. So a forked session writes only to the memory of
    the records that it changes.
    """

    def __init__(self, tables: Tables) -> None:
        self._loaded = tables
        self._changes: list[tuple[dict[str, Any], str, Any]] = []
        self.open(tables)

    def open(self, tables: Tables) -> None:
        """Use other tables until `rewind`."""
        self.flights, self.reservations, self.users = tables["flights"], tables["reservations"], tables["users"]
        self.departures: dict[str, list[Record]] = {}
        for flight in self.flights.values():
            self.departures.setdefault(flight["origin"], []).append(flight)

    def put(self, record: dict[str, Any], key: str, value: Any) -> None:
        """Set one key of a record or table; replace lists and objects completely, never change them in place."""
        self._changes.append((record, key, record.get(key, _ABSENT)))
        record[key] = value

    def rewind(self) -> None:
        """Undo every change since the tables were loaded."""
        while self._changes:
            record, key, before = self._changes.pop()
            if before is _ABSENT:
                del record[key]
            else:
                record[key] = before
        if self.flights is not self._loaded["flights"]:
            self.open(self._loaded)

    def tables(self) -> Tables:
        """Return the tables themselves."""
        return {"flights": self.flights, "reservations": self.reservations, "users": self.users}
