"""Method `walk`: names of records, the solution's look-ups, the check, the policy, and the words of the instruction."""

import asyncio
import itertools
import random
from pathlib import Path
from typing import Any

import pytest
from sca_airline import policy
from sca_airline.environment import Airline

from sca_cli import plugins
from sca_cli.commands.explore import Walker
from sca_cli.errors import WorldError
from sca_cli.interfaces import Sampling, Tool, describe_tool
from sca_cli.methods import Workshop
from sca_cli.methods.walk import answers, make, paraphrase, words
from sca_cli.methods.walk.checks import NothingChanged, state_check
from sca_cli.methods.walk.knowledge import Knowledge, Write, _is_sayable, is_opaque
from sca_cli.methods.walk.lookups import NoWay, Program
from sca_cli.methods.walk.naming import NoName, distinguishing, in_words
from sca_cli.methods.walk.permitted import firm, rules_of
from sca_cli.methods.walk.requests import add, is_in_own_record
from sca_cli.prompts import Prompts
from sca_cli.records import JSON, EnvSpec, Exploration, Observation, Task
from sca_cli.sandbox import Limits, Sandbox
from sca_cli.verification.paper_filter import run_check

# ---------------------------------------------------------------- names

MUG = {"name": "Mug", "options": {"colour": "red", "size": "small"}, "price": 4.5, "item_id": "1234567"}
OTHER_MUG = {"name": "Mug", "options": {"colour": "blue", "size": "small"}, "price": 5.5, "item_id": "1234568"}
LAMP = {"name": "Lamp", "options": {"colour": "red"}, "price": 4.5, "item_id": "1234569"}


def test_a_name_alone_is_preferred() -> None:
    """If the name tells a record from the others, nothing else is said."""
    assert in_words(distinguishing(LAMP, [MUG, OTHER_MUG])) == "Lamp"


def test_options_are_preferred_to_prices() -> None:
    """Of two mugs, one is named by its colour and not by its price."""
    assert in_words(distinguishing(MUG, [OTHER_MUG])) == "the one with colour red"


def test_two_facts_name_a_record_if_one_does_not() -> None:
    """A red mug among a blue mug and a red lamp needs both facts, and a price that only it has is not used."""
    others = [OTHER_MUG, LAMP]
    facts = distinguishing(MUG | {"price": 9.0}, others)
    assert in_words(facts) == "Mug with colour red"
    assert [any(all(fact.holds(other) for fact in facts) for other in [each]) for each in others] == [False, False]


def test_parts_and_states_name_a_record() -> None:
    """An order is named by its status, or by an item if the status is not enough."""
    one = {"status": "pending", "items": [{"name": "Kite"}]}
    same = {"status": "pending", "items": [{"name": "Drum"}]}
    assert in_words(distinguishing(one, [{"status": "delivered", "items": []}])) == "the pending one"
    assert in_words(distinguishing(one, [same])) == "the one with the Kite"


def test_equal_records_have_no_name() -> None:
    """If no fact differs, or only ids differ, the record has no name."""
    with pytest.raises(NoName):
        distinguishing(MUG, [MUG | {"item_id": "99999999"}])


@pytest.mark.parametrize(
    ("value", "opaque"),
    [
        ("#W1234567", True), ("ada_moss_4821", True), ("4XK9TM", True), ("MSYABC", True), ("12345678", True),
        ("80258", False), ("2024-05-16", False), ("ada@example.com", False), ("12 Hill Road", False), ("red", False),
        (7, False), ("DEN", False),
    ],
)  # fmt: skip
def test_ids_are_told_from_words(value: JSON, opaque: bool) -> None:
    """Codes and texts of many digits are ids; dates, zip codes, addresses, words and numbers can be said."""
    assert is_opaque(value) == opaque


# ---------------------------------------------------------------- solutions


def find_user(email: str) -> str:
    """Find a user."""
    return email


def get_user(user_id: str) -> dict[str, JSON]:
    """Get a user."""
    return {"id": user_id}


def get_order(order_id: str) -> dict[str, JSON]:
    """Get an order."""
    return {"id": order_id}


def think(thought: str) -> str:
    """Think."""
    return thought


TOOLS: dict[str, Tool] = {each.__name__: describe_tool(each) for each in (find_user, get_user, get_order, think)}
ORDERS = {"order_7001": {"status": "pending"}, "order_7002": {"status": "delivered"}}


def knowledge(first: str = "I am Ada, my email is ada@example.com. My order order_7001 is late.") -> Knowledge:
    """Return what a small exploration found."""
    calls = [
        Observation(tool="think", kwargs={"thought": "ada@example.com"}, result=""),
        Observation(tool="find_user", kwargs={"email": "ada@example.com"}, result="ada_9001"),
        Observation(tool="get_user", kwargs={"user_id": "ada_9001"}, result={"name": "Ada", "orders": [*ORDERS]}),
        *(Observation(tool="get_order", kwargs={"order_id": key}, result=order) for key, order in ORDERS.items()),
    ]
    exploration = Exploration(env=EnvSpec(name="desk"), first_observation=first, observations=calls)
    return Knowledge(exploration, TOOLS, customer=True)


def test_an_id_is_reached_by_look_ups() -> None:
    """The solution finds the user by what she says, then reads her orders until one has the facts that are said."""
    program = Program(knowledge(), says_ids=False)
    reference = program.reference("order_7002")
    assert (reference.code, reference.words) == ("order_id", "the delivered one")
    assert program.text.splitlines()[:2] == [
        "user = find_user(email='ada@example.com')",
        "user_2 = get_user(user_id=user)",
    ]
    assert "think" not in program.text


def test_an_id_that_the_customer_knows_is_said() -> None:
    """If ids are said, one of the first observation is a literal; one that nothing leads to is no value at all."""
    program = Program(knowledge())
    assert program.reference("order_7001").literal
    with pytest.raises(NoWay):
        program.reference("order_9999")


def test_look_ups_use_no_value_that_was_not_said() -> None:
    """A customer who does not say her email cannot be found by it."""
    with pytest.raises(NoWay):
        Program(knowledge("I am Ada."), says_ids=False).reference("order_7002")


@pytest.mark.sandbox
def test_tasks_of_a_desk_pass_their_own_proofs() -> None:
    """Tasks of a retail exploration: the solution passes, failure cases fail, and the instruction says each id."""
    env = plugins.parse_env("retail")
    with Sandbox(Limits()) as sandbox:
        exploration = asyncio.run(Walker([env], sandbox, 3, 160).explore(0))
        place = sandbox.describe(env)
        workshop = Workshop(None, Sampling(), Prompts(), sandbox, *place)
        tasks = [asyncio.run(make.make(workshop, exploration, seed)) for seed in range(3)]
        assert asyncio.run(make.make(workshop, exploration, 1)) == tasks[1]
        for task in tasks:
            assert task.error is None
            assert run_check(sandbox, task, task.solution, "").outcome == "pass"
            assert [run_check(sandbox, task, text, "").outcome for text in task.failure_cases] == ["fail"] * 3
            assert all(value in task.instruction for value in opaque_literals(task))


def get_case(case_id: str) -> dict[str, JSON]:
    """Get a case."""
    return {"id": case_id}


def list_parts() -> dict[str, JSON]:
    """List all parts."""
    return {}


def close_case(case_id: str, part_id: str) -> str:
    """Close a case."""
    return case_id + part_id


CASES: dict[str, JSON] = {
    "case_1001": {"colour": "red", "parts": [{"name": "Mug", "part_id": "part_7001"}]},
    "case_1002": {
        "colour": "blue",
        "parts": [
            {"name": "Mug", "part_id": "part_7001"},
            {"name": "Kite", "part_id": "part_7002"},
            {"name": "Kite", "part_id": "part_7002"},
        ],
    },
}


def program_of_cases() -> Program:
    """Return an empty solution in a world of two cases that hold the same part."""
    calls = [Observation(tool="get_case", kwargs={"case_id": key}, result=case) for key, case in CASES.items()]
    calls.append(Observation(tool="list_parts", result={"parts": [{"name": "Kite", "part_id": "part_7002"}]}))
    exploration = Exploration(
        env=EnvSpec(name="desk"), first_observation="I am Ada. Mine are case_1001 and case_1002.", observations=calls
    )
    tools = {each.__name__: describe_tool(each) for each in (get_case, close_case, list_parts)}
    return Program(Knowledge(exploration, tools, customer=True))


def test_a_value_is_read_from_the_record_that_the_write_names() -> None:
    """A part that two cases hold is looked up in the case of each write, though it was found in the other."""
    program = program_of_cases()
    found = {"part_id": {"call": 0, "path": ["parts", 0, "part_id"]}}
    said = [
        add(program, Write("close_case", {"case_id": case, "part_id": "part_7001"}, found)).details[1:]
        for case in CASES
    ]
    assert [write.partition("part_id=")[2] for write in program.writes] == [
        "case['parts'][0]['part_id'])",
        "next(each for each in case_2['parts'] if each.get('name') == 'Mug')['part_id'])",
    ]
    assert [[detail.words for detail in details] for details in said] == [["as in its parts"], ["Mug"]]


def test_a_record_that_occurs_twice_has_no_name() -> None:
    """ "the Kite" of a case with two equal kites may be one or both."""
    with pytest.raises(NoWay):
        add(program_of_cases(), Write("close_case", {"case_id": "case_1002", "part_id": "part_7002"}, {}))


# ---------------------------------------------------------------- checks


PEOPLE: list[JSON] = [{"name": "Ada", "born": 1}, {"name": "Eve", "born": 2}]


class Desk:
    """The session of a world after a solution."""

    def __init__(self, case: JSON) -> None:
        self.case = case

    def call(self, tool: str, args: list[JSON], kwargs: dict[str, JSON]) -> Observation:
        """Look the case up."""
        return Observation(tool=tool, args=args, kwargs=kwargs, result=self.case)


def check_after(people: JSON, answer: JSON = None) -> str:
    """Return the check of a write that gives a case these people."""
    case: JSON = {"case_id": "case_1001", "people": PEOPLE}
    calls = [Observation(tool="get_case", kwargs={"case_id": "case_1001"}, result=case)]
    exploration = Exploration(env=EnvSpec(name="desk"), observations=calls)
    found = Knowledge(exploration, {"get_case": describe_tool(get_case)}, customer=False)
    write = Write("set_people", {"case_id": "case_1001", "people": people}, {})
    return state_check(found, Desk({"case_id": "case_1001", "people": people}), answer, [write])  # type: ignore[arg-type]


def accepts(check: str, people: JSON, *answer: JSON) -> bool:
    """Run a check in a world whose case has these people."""
    names: dict[str, Any] = {"get_case": lambda case_id: {"case_id": case_id, "people": people}}
    exec(check, names)
    return bool(names["evaluate"](*answer))


def test_another_order_of_records_is_no_change() -> None:
    """A write that gives the same people in another order makes no task."""
    with pytest.raises(NothingChanged):
        check_after(PEOPLE[::-1])


def test_people_are_compared_without_order_and_with_all_fields() -> None:
    """The new person may be at any position; another person, exchanged fields or one person twice are wrong."""
    new: list[JSON] = [{"name": "Ada", "born": 1}, {"name": "Mia", "born": 3}]
    check = check_after(new)
    assert accepts(check, new)
    assert accepts(check, new[::-1])
    exchanged: list[JSON] = [{"name": "Ada", "born": 3}, {"name": "Mia", "born": 1}]
    for wrong in (PEOPLE, exchanged, [new[0], new[0]], [new[1], new[1]], new[:1], [*new, new[0]], None):
        assert not accepts(check, wrong)


@pytest.mark.parametrize(
    ("right", "alike", "others"),
    [
        ("yes", ["yes", " Yes. ", True, "true"], ["no", False, None, "yes yes", 1, ""]),
        ("no", ["No", False], ["yes", True, None, 0]),
        ("gold", ["Gold.", "GOLD"], ["silver", "golden", None]),
        (9.5, [9.5, "9.5", " 9.50 "], [9.4, "9", True, None, "nan", [9.5], ""]),
        (1, [1, 1.0, "1", "1."], [True, 2, "one"]),
    ],
)
def test_an_answer_may_have_another_form(right: JSON, alike: list[JSON], others: list[JSON]) -> None:
    """Case, blanks and a full stop do not matter, True is yes, and a number may be a text; other values are wrong."""
    new: list[JSON] = [{"name": "Mia", "born": 3}]
    check = check_after(new, right)
    assert [accepts(check, new, answer) for answer in alike] == [True] * len(alike)
    assert [accepts(check, new, answer) for answer in others] == [False] * len(others)


def test_a_question_names_the_record_of_its_field() -> None:
    """The field of a case is called so, whatever else the customer says; a question for yes or no says it."""
    calls = [Observation(tool="get_case", kwargs={"case_id": "case_1001"}, result={"insurance": "yes"})]
    exploration = Exploration(env=EnvSpec(name="desk"), first_observation="I am Ada.", observations=calls)
    program = Program(Knowledge(exploration, {"get_case": describe_tool(get_case)}, customer=True))
    program.variables[0] = "case"
    write = Write("close_case", {"case_id": "case_1001", "payment_id": "visa"}, {})
    request = words.Request("close_case", [words.Detail("payment", "the visa", words.Kind.RECORD)])
    answer = answers.of_record(program, write, request, random.Random(0))
    assert answer is not None
    assert (answer.words, answer.code) == ("the insurance of the case (yes or no)", "case['insurance']")


@pytest.mark.parametrize(("value", "asked"), [(9.5, True), (-9.5, False), (0, False), ("visa", True)])
def test_a_negative_difference_is_not_asked_for(value: JSON, asked: bool) -> None:
    """People say a difference below zero with or without its sign."""
    assert answers.is_answer("price_difference", value) == asked


def opaque_literals(task: Task) -> list[str]:
    """Return the ids that a solution contains."""
    return [part for part in task.solution.split("'") if is_opaque(part)]


# ---------------------------------------------------------------- policy


FLIGHT: JSON = [{"flight_number": "F1", "date": "2024-05-20"}]
OTHER_FLIGHT: JSON = [{"flight_number": "F2", "date": "2024-05-20"}]


def airline_call(tool: str, **arguments: JSON) -> str | None:
    """Return why the airline's policy forbids a call for the customer of a made-up reservation."""
    env = Airline()
    user = env.store.users[env._customer] | {"membership": "regular"}
    reservation = {
        "user_id": env._customer, "flights": FLIGHT, "cabin": "economy", "insurance": "no", "passengers": [{}],
        "created_at": "2024-05-01T00:00:00", "total_baggages": 1, "nonfree_baggages": 0, "origin": "DEN",
        "destination": "BOS", "flight_type": "one_way",
    } | arguments.pop("reservation", {})  # fmt: skip
    status = arguments.pop("status", "available")
    flight = {"origin": "DEN", "destination": "BOS", "dates": {"2024-05-20": {"status": status}}}
    env.store.users = {env._customer: user | {"reservations": ["R1"]}}
    env.store.reservations, env.store.flights = {"R1": reservation}, {"F1": flight, "F2": flight}
    return policy.forbids(env.store, env._customer, tool, arguments)


@pytest.mark.parametrize(
    ("tool", "arguments", "allowed"),
    [
        ("cancel_reservation", {}, False),
        ("cancel_reservation", {"reservation": {"cabin": "business"}}, True),
        ("cancel_reservation", {"reservation": {"created_at": "2024-05-15T01:00:00"}}, True),
        ("cancel_reservation", {"status": "cancelled"}, True),
        ("cancel_reservation", {"reservation": {"cabin": "business"}, "status": "landed"}, False),
        ("cancel_reservation", {"reservation": {"user_id": "someone_else"}}, False),
        ("update_reservation_baggages", {"total_baggages": 2, "nonfree_baggages": 1}, True),
        ("update_reservation_baggages", {"total_baggages": 2, "nonfree_baggages": 0}, False),
        ("update_reservation_baggages", {"total_baggages": 0, "nonfree_baggages": 0}, False),
        ("update_reservation_flights", {"cabin": "business", "flights": FLIGHT}, True),
        ("update_reservation_flights", {"cabin": "economy", "flights": FLIGHT}, False),
        ("update_reservation_flights", {"cabin": "economy", "flights": OTHER_FLIGHT}, True),
        ("update_reservation_passengers", {"passengers": [{"first_name": "A"}]}, True),
        ("update_reservation_passengers", {"passengers": [{"first_name": "A"}, {"first_name": "A"}]}, False),
    ],
)  # fmt: skip
def test_rules_that_tools_do_not_enforce(tool: str, arguments: dict[str, JSON], allowed: bool) -> None:
    """`allows` of the airline knows the rules of changing and cancelling."""
    assert (airline_call(tool, reservation_id="R1", **arguments) is None) == allowed


@pytest.mark.parametrize(
    ("tool", "arguments", "rule"),
    [
        ("update_reservation_baggages", {"total_baggages": 2, "nonfree_baggages": 1, "status": "landed"}, None),
        ("update_reservation_passengers", {"passengers": [{"first_name": "A"}], "status": "landed"}, None),
        ("update_reservation_flights", {"cabin": "economy", "flights": OTHER_FLIGHT, "status": "landed"}, ""),
        ("cancel_reservation", {"reservation": {"insurance": "yes"}}, ""),
        ("cancel_reservation", {"status": "landed"}, ""),
    ],
)  # fmt: skip
def test_what_the_policy_does_not_say_is_not_forbidden(tool: str, arguments: dict[str, JSON], rule: str | None) -> None:
    """After a flight has left, only its cabin stays; a customer's reason may allow her to cancel what is insured."""
    assert airline_call(tool, reservation_id="R1", **arguments) == rule


def test_the_cabin_of_a_flight_that_has_left_stays() -> None:
    """The policy says so."""
    call = {"reservation_id": "R1", "cabin": "business", "flights": FLIGHT, "status": "flying"}
    assert airline_call("update_reservation_flights", **call)


@pytest.mark.parametrize(("amount", "status", "allowed"), [(100, "cancelled", False), (100, "available", False)])
def test_regular_members_get_no_certificate(amount: int, status: str, allowed: bool) -> None:
    """A regular member without insurance gets none; an insured one gets 100 dollars for a cancelled flight."""
    assert (airline_call("send_certificate", amount=amount, status=status) is None) == allowed
    insured = airline_call("send_certificate", amount=amount, status=status, reservation={"insurance": "yes"})
    assert (insured is None) == (status == "cancelled")


@pytest.mark.sandbox
def test_rules_are_told_for_each_write() -> None:
    """A retail customer may change her own order and no other customer's; an environment without rules allows all."""
    env = plugins.load_environment(EnvSpec(name="retail"))
    env.reset(4)
    own = next(key for key, order in env.orders.items() if order["user_id"] == env.who)  # type: ignore[attr-defined]
    other = next(key for key, order in env.orders.items() if order["user_id"] != env.who)  # type: ignore[attr-defined]
    writes = [Write("cancel_pending_order", {"order_id": key, "reason": "x"}, {}) for key in (own, other)]
    with Sandbox(Limits()) as sandbox:
        rules = rules_of(sandbox, Exploration(env=EnvSpec(name="retail"), seed=4), writes)
        assert [rule is None for rule in rules] == [True, False]
        assert rules_of(sandbox, Exploration(env=EnvSpec(name="web_browsing"), seed=4), writes) == [None, None]


RULES = '''
from sca_cli import Environment, tool
import os
class Desk(Environment):
    """A desk."""
    def reset(self, seed): pass
    def state(self): return {}
    @tool(writes=True)
    def close(self, number: int) -> int:
        """Close a case."""
        return number
    def allows(self, tool, arguments):
        if arguments["number"] == 3:
            raise RuntimeError("no such case")
        return "only even numbers" if arguments["number"] % 2 or os.access("/etc/passwd", os.R_OK) else None
'''


@pytest.mark.sandbox
def test_the_rules_of_a_file_are_asked_in_its_world(tmp_path: Path) -> None:
    """`allows` of a `python:` file runs in the jail, without the files of the machine; its error is the world's."""
    (tmp_path / "desk.py").write_text(RULES)
    exploration = Exploration(env=EnvSpec(name="python", options={"target": f"{tmp_path / 'desk.py'}:Desk"}))
    one, two, three = (Write("close", {"number": number}, {}) for number in (1, 2, 3))
    with Sandbox(Limits()) as sandbox:
        assert rules_of(sandbox, exploration, [one, two]) == ["only even numbers", None]
        mended = (Write("close", {"number": 9}, {}), "only even numbers")
        without_number = (Write("close", {"case": "a"}, {}), "a rule")
        assert firm(sandbox, exploration, [mended, without_number]) == [without_number]
        with pytest.raises(WorldError, match="no such case"):
            rules_of(sandbox, exploration, [two, three])


# ---------------------------------------------------------------- words


ID, RECORD, NUMBER = words.Kind.ID, words.Kind.RECORD, words.Kind.NUMBER


@pytest.mark.parametrize(
    ("tool", "details", "said"),
    [
        ("cancel_pending_order", [("order", "#W12", ID), ("reason", "no longer needed")],
         ["cancel my pending order #W12", 'The reason is "no longer needed".']),
        ("cancel_pending_order", [("order", "the pending one with the Kite", RECORD)],
         ["cancel my pending order with the Kite"]),
        ("return_delivered_order_items",
         [("order", "#W12", ID), ("items", "Mug and Kite", RECORD), ("payment method", "the paypal", RECORD)],
         ["return the Mug and Kite from my delivered order #W12", "my paypal"]),
        ("update_reservation_baggages",
         [("reservation", "the one from JFK", RECORD), ("bags", "3", NUMBER), ("nonfree bags", "1", NUMBER),
          ("payment", "as in its payment history")],
         ["the baggages of my reservation from JFK", "I want 3 bags and 1 nonfree bag.",
          "the same payment as in its payment history"]),
        ("modify_user_address", [("address", "12 Hill Road, Reno")], ["my address to 12 Hill Road, Reno"]),
        ("modify_order_payment", [("order", "#W12", ID), ("payment method", "the paypal", RECORD)],
         ["the payment method of my order #W12 to my paypal"]),
        ("update_reservation_flights",
         [("reservation", "4XK9TM", ID), ("cabin", "business"), ("flights", words.UNCHANGED)],
         ["my reservation 4XK9TM", "cabin", "business", "The flights should stay as they are."]),
        ("send_certificate", [("amount", "100", NUMBER)], ["send me a certificate", "amount", "100"]),
        ("take_back", [("title", "Dune", RECORD)], ["take back the title Dune"]),
        ("set_price", [("name", "nails", words.Kind.NAME), ("price", "6", NUMBER)], ["set the price of nails to 6"]),
        ("closeTicket", [("ticket", "the only one I have", RECORD)], ["close the only ticket I have"]),
    ],
)  # fmt: skip
def test_an_instruction_says_who_and_what(tool: str, details: list[Any], said: list[str]) -> None:
    """The introduction comes first; sentences without colons and names of tools say each detail, in every form."""
    request = words.Request(tool, [words.Detail(*detail) for detail in details])
    for seed in range(6):
        text = words.instruction("I am Ada.", [request], random.Random(seed), customer=True)
        assert text.startswith("I am Ada. ")
        assert all(part in text for part in said)
        assert not {":", ";", "_"} & set(text)
        assert not paraphrase.problem_of(text, text, [request])


def test_documentation_says_what_a_verb_alone_does_not() -> None:
    """A tool whose name has no noun is asked for with the first sentence of its documentation."""
    details = [words.Detail("member", "Ada"), words.Detail("title", "Dune")]
    request = words.Request("lend", details, "Lend a book to a member; return how many books the member now holds.")
    text = words.instruction("", [request], random.Random(0), customer=False)
    assert "lend a book to a member" in text
    assert "The member is Ada. The title is Dune." in text


def test_a_kind_and_its_facts_are_one_name() -> None:
    """A variant of a product is named by both."""
    assert words.joined(["Mug", "the one with colour red"]) == "the Mug with colour red"
    assert words.joined(["the pending one", "Mug"]) == "the pending one, Mug"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Hi, I am Ada Moss. Could you cancel my order #W12? It is no longer needed.", ""),
        ("Hi, I am Ada Moss. Could you cancel my order? It is no longer needed.", "leaves out"),
        ("Hi, I am Ada Moss. Cancel order #W12 of 3 May, it is no longer needed.", "adds"),
        ("Hi, I am Eve Moss. Cancel order #W12, it is no longer needed.", "leaves out"),
        ("I am Ada Moss. Use cancel_order to cancel #W12, it is no longer needed.", "names a tool"),
        ("I am Ada Moss. Please return order #W12, it is no longer needed.", "leaves out 'cancel'"),
        ("I am Ada Moss. Do not cancel order #W12, it is no longer needed.", "adds 'not'"),
        ("I am Ada Moss. Cancel order #W12, it is no longer needed, and refund by paypal.", "adds 'paypal'"),
        ("I am Ada Moss. Cancel order #W12 and two others, they are no longer needed.", "adds 'two'"),
    ],
)
def test_a_paraphrase_keeps_the_facts(text: str, problem: str) -> None:
    """A paraphrase with the same facts is accepted; one that loses or adds a fact, or names a tool, is rejected."""
    original = 'I am Ada Moss. Please cancel my pending order #W12. The reason is "no longer needed".'
    details = [words.Detail("order", "#W12", ID), words.Detail("reason", "no longer needed")]
    requests = [words.Request("cancel_pending_order", details)]
    found = paraphrase.problem_of(text, original, requests, frozenset({"paypal", "pending"}))
    assert found.startswith(problem)
    assert bool(problem) == bool(found)


def test_a_paraphrase_does_not_exchange_details() -> None:
    """Of two requests, each keeps its own details."""
    requests = [
        words.Request("cancel_order", [words.Detail("order", "#W1", ID)]),
        words.Request("return_order", [words.Detail("order", "#W2", ID)]),
    ]
    original = "Please cancel my order #W1. Also, please return my order #W2."
    assert not paraphrase.problem_of("Cancel order #W1 and return order #W2.", original, requests)
    exchanged = paraphrase.problem_of("Cancel order #W2 and return order #W1.", original, requests)
    assert exchanged == "exchanges details of two requests"


def moved(places: list[list[JSON]]) -> list[Write]:
    """Return the writes that are left of one that sets an address, whose fields have these places."""

    def get_home(user_id: str) -> dict[str, JSON]:
        """Get an address."""
        return {"id": user_id}

    def move(street: str, city: str, zip_code: str) -> str:
        """Move."""
        return street + city + zip_code

    homes = [{"street": f"{n} Hill", "city": f"City{n}", "zip_code": f"1000{n}"} for n in (1, 2)]
    calls = [Observation(tool="get_home", kwargs={"user_id": str(n)}, result=home) for n, home in enumerate(homes)]
    values = {name: homes[call][name] for call, name in places}  # type: ignore[call-overload]
    calls.append(Observation(tool="move", kwargs=values, result="", writes=True))
    sources: JSON = [{}, {}, {name: {"call": call, "path": [name]} for call, name in places}]
    exploration = Exploration(env=EnvSpec(name="desk"), observations=calls, extra={"sources": sources})
    return Knowledge(exploration, {each.__name__: describe_tool(each) for each in (get_home, move)}, False).writes


def test_a_value_is_named_by_the_record_of_its_own_write() -> None:
    """ "as in its payment history" is said only if the record that the write names holds the value, and no other."""

    def get_order(order_id: str) -> dict[str, JSON]:
        """Get an order."""
        return {"id": order_id}

    def refund(order_id: str, card: str) -> str:
        """Refund."""
        return order_id + card

    cards = {"order_1": "card_1111", "order_2": "card_2222"}
    calls = [
        Observation(tool="get_order", kwargs={"order_id": key}, result={"paid": [{"card": card}]})
        for key, card in cards.items()
    ]
    exploration = Exploration(env=EnvSpec(name="desk"), observations=calls)
    found = Knowledge(exploration, {each.__name__: describe_tool(each) for each in (get_order, refund)}, False)
    for order_id, card in itertools.product(cards, cards.values()):
        write = Write("refund", {"order_id": order_id, "card": card}, {})
        assert is_in_own_record(found, write, card) == (cards[order_id] == card)


def test_fields_of_an_object_are_called_alike() -> None:
    """An object is used if its fields come from fields with similar names; a date is no last name."""
    good = {"fields": {"last_name": {"call": 0, "path": ["owner", "last_name"]}}}
    bad = {"fields": {"last_name": {"call": 0, "path": ["flights", 0, "date"]}}}
    assert (_is_sayable(good), _is_sayable(bad)) == (True, False)


def test_an_address_is_that_of_one_record() -> None:
    """A write whose street and city come from different records makes no task; one with a whole address does."""
    assert len(moved([[0, "street"], [0, "city"], [0, "zip_code"]])) == 1
    assert moved([[0, "street"], [1, "city"], [0, "zip_code"]]) == []
