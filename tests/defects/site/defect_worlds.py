"""Two small stateful worlds for the planted defects, as a plugin: `PYTHONPATH=tests/defects/site sca env list`."""

import random
from typing import Any

from sca_cli import Environment, Register, ToolError, hookimpl, tool

_PRODUCTS = (
    ("LMP-01", "Desk lamp", "lighting"), ("LMP-02", "Floor lamp", "lighting"), ("BLB-10", "Bulb, warm", "lighting"),
    ("CHR-20", "Office chair", "furniture"), ("CHR-21", "Stool", "furniture"), ("DSK-30", "Standing desk", "furniture"),
    ("PEN-40", "Gel pen", "paper"), ("NTB-41", "Notebook A5", "paper"), ("NTB-42", "Notebook A4", "paper"),
    ("MUG-50", "Coffee mug", "kitchen"), ("KTL-51", "Kettle", "kitchen"), ("TRY-52", "Tray", "kitchen"),
)  # fmt: skip
_PEOPLE = ("Alice Moreau", "Bruno Keller", "Chiara Rossi", "David Okafor", "Elif Demir", "Femke de Vries")
_CITIES = ("Ghent", "Porto", "Turku", "Lyon", "Graz", "Bergen")


@hookimpl
def sca_register_environments(register: Register) -> None:
    """Register `warehouse` and `bank`."""
    register("warehouse", "defect_worlds:Warehouse", help="products, stock and orders; faults=N breaks one seed in N")
    register("bank", "defect_worlds:Bank", help="customers, accounts and transfers; faults=N breaks one seed in N")


class _Faulty(Environment):
    """A world that fails as a world for some seeds: at a call whose place the seed decides.

    Args:
        faults: one seed in this many is broken; 0 for none.
    """

    def __init__(self, faults: str = "0") -> None:
        self._one_in = int(faults)
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Decide whether and when a call is to fail."""
        broken = self._one_in and seed % self._one_in == 0
        self._calls_left = 1 + seed % 3 if broken else -1

    def state(self) -> dict[str, Any]:
        """Return everything."""
        return self._state

    def _entry(self, table: str, key: str) -> Any:
        """Return an entry, or say which there are; every tool comes through here."""
        self._calls_left -= 1
        if self._calls_left == 0:
            raise RuntimeError("the database is gone")
        if key not in self._state[table]:
            raise ToolError(f"no '{key}' in {table}")
        return self._state[table][key]


class Warehouse(_Faulty):
    """Products on shelves and orders of customers."""

    policy = "You run a small warehouse. Prices are in euros. Only open orders may be changed, shipped or cancelled."

    def reset(self, seed: int) -> None:
        """Draw prices, stock and twelve orders."""
        super().reset(seed)
        draw = random.Random(f"warehouse {seed}")
        products = {
            sku: {
                "sku": sku,
                "name": name,
                "category": category,
                "price": draw.randrange(200, 9000) / 100,
                "stock": draw.randrange(15, 60),
                "reorder_level": draw.randrange(5, 45),
            }
            for sku, name, category in _PRODUCTS
        }
        orders = {}
        for number in range(1001, 1013):
            skus = draw.sample(sorted(products), draw.randrange(1, 4))
            orders[f"O-{number}"] = {
                "order_id": f"O-{number}",
                "customer": _PEOPLE[number % len(_PEOPLE)],
                "status": ("open", "open", "shipped", "open")[number % 4],
                "express": draw.random() < 0.4,
                "items": [{"sku": sku, "quantity": draw.randrange(1, 9)} for sku in skus],
                "notes": [],
            }
        self._state = {"products": products, "orders": orders}

    def _open(self, order_id: str) -> dict[str, Any]:
        order: dict[str, Any] = self._entry("orders", order_id)
        if order["status"] != "open":
            raise ToolError(f"order {order_id} is {order['status']}")
        return order

    @tool
    def list_products(self, category: str = "") -> list[str]:
        """List the SKUs of all products, or of one category: lighting, furniture, paper or kitchen."""
        return [sku for sku, p in self._state["products"].items() if category in ("", p["category"])]

    @tool
    def get_product(self, sku: str) -> dict[str, Any]:
        """Return {'sku', 'name', 'category', 'price', 'stock', 'reorder_level'} of a product."""
        return dict(self._entry("products", sku))

    @tool
    def list_orders(self, status: str = "") -> list[str]:
        """List the ids of all orders, or of those that are open, shipped or cancelled."""
        return [key for key, order in self._state["orders"].items() if status in ("", order["status"])]

    @tool
    def get_order(self, order_id: str) -> dict[str, Any]:
        """Return {'order_id', 'customer', 'status', 'express', 'items': [{'sku', 'quantity'}], 'notes'} of an order."""
        return dict(self._entry("orders", order_id))

    @tool
    def orders_of(self, customer: str) -> list[str]:
        """List the ids of a customer's orders; the full name is needed."""
        return [key for key, order in self._state["orders"].items() if order["customer"] == customer]

    @tool(writes=True)
    def set_price(self, sku: str, price: float) -> float:
        """Give a product another price; return it."""
        if price <= 0:
            raise ToolError("a price is above 0")
        self._entry("products", sku)["price"] = price
        return price

    @tool(writes=True)
    def receive_stock(self, sku: str, quantity: int) -> int:
        """Put a delivery on the shelf; return the stock there is then."""
        if quantity <= 0:
            raise ToolError("a delivery holds at least 1")
        product = self._entry("products", sku)
        product["stock"] += quantity
        return int(product["stock"])

    @tool(writes=True)
    def ship_order(self, order_id: str) -> str:
        """Ship an open order: its items leave the shelf."""
        order = self._open(order_id)
        for item in order["items"]:
            if self._state["products"][item["sku"]]["stock"] < item["quantity"]:
                raise ToolError(f"not enough {item['sku']} on the shelf")
        for item in order["items"]:
            self._state["products"][item["sku"]]["stock"] -= item["quantity"]
        order["status"] = "shipped"
        return "shipped"

    @tool(writes=True)
    def cancel_order(self, order_id: str) -> str:
        """Cancel an open order."""
        self._open(order_id)["status"] = "cancelled"
        return "cancelled"

    @tool(writes=True)
    def change_quantity(self, order_id: str, sku: str, quantity: int) -> int:
        """Set how many of a product an open order has; 0 takes it off the order. Return how many items are left."""
        order = self._open(order_id)
        if quantity < 0 or all(item["sku"] != sku for item in order["items"]):
            raise ToolError(f"order {order_id} has no {sku}, or the quantity is below 0")
        order["items"] = [
            {"sku": sku, "quantity": quantity} if item["sku"] == sku else item
            for item in order["items"]
            if item["sku"] != sku or quantity
        ]
        return len(order["items"])

    @tool(writes=True)
    def add_note(self, order_id: str, text: str) -> int:
        """Add a note to an order; return how many it has then."""
        notes = self._entry("orders", order_id)["notes"]
        notes.append(text)
        return len(notes)


class Bank(_Faulty):
    """Customers with accounts."""

    policy = "You are a bank's clerk. Amounts are in euros. A frozen account takes part in no transfer."

    def reset(self, seed: int) -> None:
        """Draw two accounts a customer, with their transactions."""
        super().reset(seed)
        draw = random.Random(f"bank {seed}")
        customers, accounts = {}, {}
        for place, name in enumerate(_PEOPLE):
            key, mail = f"C-{place + 1}", name.split()[0].lower()
            customers[key] = {"customer_id": key, "name": name, "email": f"{mail}@mail.example", "city": _CITIES[place]}
            for offset, kind in enumerate(("checking", "savings")):
                number = f"A-{101 + 2 * place + offset}"
                moves = [
                    {
                        "date": f"2025-{draw.randrange(1, 7):02}-{draw.randrange(1, 29):02}",
                        "amount": draw.randrange(-40000, 60000) / 100,
                        "text": draw.choice(("rent", "salary", "groceries", "refund", "insurance")),
                    }
                    for _ in range(draw.randrange(3, 7))
                ]
                accounts[number] = {
                    "account_id": number,
                    "owner": key,
                    "kind": kind,
                    "balance": draw.randrange(50000, 500000) / 100,
                    "frozen": False,
                    "transactions": sorted(moves, key=lambda move: str(move["date"])),
                }
        accounts[draw.choice(sorted(accounts))]["frozen"] = True
        self._state = {"customers": customers, "accounts": accounts}

    @tool
    def list_customers(self) -> list[str]:
        """List the ids of all customers."""
        return list(self._state["customers"])

    @tool
    def find_customer(self, name: str) -> str:
        """Return the id of the customer of that full name, in any case of letters."""
        for key, customer in self._state["customers"].items():
            if customer["name"].casefold() == name.strip().casefold():
                return str(key)
        raise ToolError(f"no customer named '{name}'")

    @tool
    def get_customer(self, customer_id: str) -> dict[str, Any]:
        """Return {'customer_id', 'name', 'email', 'city'} of a customer."""
        return dict(self._entry("customers", customer_id))

    @tool
    def accounts_of(self, customer_id: str) -> list[str]:
        """List the ids of a customer's accounts."""
        self._entry("customers", customer_id)
        return [key for key, account in self._state["accounts"].items() if account["owner"] == customer_id]

    @tool
    def get_account(self, account_id: str) -> dict[str, Any]:
        """Return {'account_id', 'owner', 'kind', 'balance', 'frozen'} of an account."""
        account = dict(self._entry("accounts", account_id))
        del account["transactions"]
        return account

    @tool
    def transactions(self, account_id: str) -> list[dict[str, Any]]:
        """List an account's transactions by date, each {'date', 'amount', 'text'}; money that left is negative."""
        return list(self._entry("accounts", account_id)["transactions"])

    @tool(writes=True)
    def transfer(self, source: str, target: str, amount: float, text: str = "transfer") -> float:
        """Move money between two accounts; return what is left on the source."""
        giving, taking = self._entry("accounts", source), self._entry("accounts", target)
        if giving["frozen"] or taking["frozen"]:
            raise ToolError("a frozen account takes part in no transfer")
        if not 0 < amount <= giving["balance"] or source == target:
            raise ToolError("the amount must be above 0 and on the account, and the accounts two")
        for account, change in ((giving, -amount), (taking, amount)):
            account["balance"] = round(account["balance"] + change, 2)
            account["transactions"].append({"date": "2025-07-01", "amount": change, "text": text})
        return float(giving["balance"])

    @tool(writes=True)
    def set_frozen(self, account_id: str, frozen: bool) -> bool:
        """Freeze an account or set it free."""
        self._entry("accounts", account_id)["frozen"] = frozen
        return frozen

    @tool(writes=True)
    def update_email(self, customer_id: str, email: str) -> str:
        """Give a customer another e-mail address."""
        if "@" not in email:
            raise ToolError(f"'{email}' is no e-mail address")
        self._entry("customers", customer_id)["email"] = email
        return email

    @tool(writes=True)
    def update_city(self, customer_id: str, city: str) -> str:
        """Record that a customer has moved."""
        self._entry("customers", customer_id)["city"] = city
        return city

    @tool(writes=True)
    def open_account(self, customer_id: str, kind: str) -> str:
        """Open an empty checking or savings account; return its id."""
        self._entry("customers", customer_id)
        if kind not in ("checking", "savings"):
            raise ToolError("an account is checking or savings")
        number = f"A-{101 + len(self._state['accounts'])}"
        self._state["accounts"][number] = {
            "account_id": number,
            "owner": customer_id,
            "kind": kind,
            "balance": 0.0,
            "frozen": False,
            "transactions": [],
        }
        return number
