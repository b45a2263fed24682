"""Templates of the evaluation set with at most three calls: the program looks up one fact."""

from random import Random

from sca_web_browsing.facts import Facts

from generators.web_browsing.drafts import AFTER, BrowsingDraft, Template


def _parking(random: Random, facts: Facts) -> BrowsingDraft:
    del random
    about = facts["services"]
    return BrowsingDraft(
        (
            "What is the most that parking at the station costs for one day, in euros?",
            "I want to leave my car on Salt Quay from morning to night. How many euros will I pay at most?",
        ),
        AFTER + "page = click_url('/faq')\nfinal_answer(int(after(page, 'at most ').split()[0]))",
        (
            AFTER + "page = click_url('/faq')\nfinal_answer(float(after(page, 'Salt Quay: ').split()[0]))",
            f"final_answer(round({about['parking_hour']} * 24, 2))",
            "click_url('/faq')\nfinal_answer('it is free')",
        ),
        about["parking_day"],
        "number",
    )


def _loan(random: Random, facts: Facts) -> BrowsingDraft:
    days = random.randrange(3, 15)
    fine = facts["services"]["late_cents"] * days
    program = (
        f"{AFTER}click_url('/faq')\npage = scroll_down()\n"
        f"final_answer({days} * int(after(page, 'a fine of ').split()[0]))"
    )
    return BrowsingDraft(
        (
            f"I bring one library book back {days} days late. How many cents do I owe?",
            f"What fine, in cents, is due for a single book that is {days} days overdue at the library?",
        ),
        program,
        (
            program.replace(f"{days} * ", ""),
            program.replace(f"{days} * ", f"{days + 1} * "),
            f"final_answer({days} * {facts['services']['loan_days']})",
        ),
        fine,
        "number",
    )


def _mayor(random: Random, facts: Facts) -> BrowsingDraft:
    del random
    program = (
        AFTER + "click_url('/about')\npage = scroll_down()\nfinal_answer(after(page, 'The mayor is ').split(',')[0])"
    )
    return BrowsingDraft(
        (
            "Who is the mayor of this town? Give the full name.",
            "I have to write to the town's mayor. What is the name?",
        ),
        program,
        (
            program.replace(".split(',')[0]", ".split()[0]"),
            "click_url('/shops')\nfinal_answer(scroll_down())",
            "final_answer('the mayor')",
        ),
        facts["town"]["mayor"],
        "word",
    )


def _owner(random: Random, facts: Facts) -> BrowsingDraft:
    shop, other = random.sample(facts["shops"], 2)
    program = (
        f"{AFTER}click_url('/shops')\npage = click_url('/shops/{shop['slug']}')\nfinal_answer(after(page, 'Owner: '))"
    )
    return BrowsingDraft(
        (f"Who owns the shop {shop['name']}? Give first and last name.", f"Name the owner of {shop['name']}."),
        program,
        (
            program.replace(shop["slug"], other["slug"]),
            f"final_answer({shop['owner'].split()[0]!r})",
            f"final_answer({shop['name']!r})",
        ),
        shop["owner"],
        "word",
    )


def _crossing(random: Random, facts: Facts) -> BrowsingDraft:
    ferry, other = random.sample(facts["ferries"], 2)
    program = (
        f"{AFTER}click_url('/ferries')\npage = click_url('/ferries/{ferry['slug']}')\n"
        "final_answer(int(after(page, 'takes ').split()[0]))"
    )
    return BrowsingDraft(
        (
            f"How many minutes does the ferry to {ferry['to']} take?",
            f"How long is the crossing to {ferry['to']}, in minutes?",
        ),
        program,
        (
            program.replace(ferry["slug"], other["slug"]),
            program.replace("int(after(page, 'takes '", "float(after(page, 'fare: '"),
            f"final_answer({ferry['minutes'] * 2})",
        ),
        ferry["minutes"],
        "number",
    )


def _venue(random: Random, facts: Facts) -> BrowsingDraft:
    event = random.choice(facts["events"])
    other = random.choice([each for each in facts["events"] if each["venue"] != event["venue"]])
    program = (
        f"{AFTER}click_url('/events')\npage = click_url('/events/{event['slug']}')\n"
        "final_answer(after(page, 'Place: '))"
    )
    return BrowsingDraft(
        (
            f"Where in town is the {event['title']} held?",
            f"I have a ticket for the {event['title']}. Which place do I go to?",
        ),
        program,
        (
            program.replace(event["slug"], other["slug"]),
            program.replace("Place: ", "Day: "),
            f"final_answer({event['title']!r})",
        ),
        event["venue"],
        "word",
    )


def _rent(random: Random, facts: Facts) -> BrowsingDraft:
    flat, other = random.sample(facts["flats"], 2)
    program = (
        f"{AFTER}click_url('/flats')\nclick_url('/flats/{flat['slug']}')\npage = scroll_down()\n"
        "final_answer(int(after(page, 'Rent: ').split()[0]))"
    )
    return BrowsingDraft(
        (
            f"What is the monthly rent, without heating, of the flat at {flat['address']}? Give the number of euros.",
            f"How many euros a month is the rent for {flat['address']}? Leave the heating out.",
        ),
        program,
        (
            program.replace(flat["slug"], other["slug"]),
            program.replace("Rent: ", "Heating: "),
            f"final_answer({flat['rent'] + flat['heating']})",
        ),
        flat["rent"],
        "number",
    )


def _open_room(random: Random, facts: Facts) -> BrowsingDraft:
    room, other = random.sample(facts["museum"]["rooms"], 2)
    url = f"/museum/{room['slug']}"
    return BrowsingDraft(
        (
            f"Open the museum's page about the {room['name']} and leave the browser there.",
            f"Take me to the page of the {room['name']} in the town museum.",
        ),
        f"click_url('/museum')\nclick_url('{url}')",
        (
            "click_url('/museum')",
            f"click_url('/museum')\nclick_url('/museum/{other['slug']}')",
            f"click_url('{url}')\ngo_to_previous_page()\nfinal_answer('{url}')",
        ),
        url,
    )


TEMPLATES: tuple[Template, ...] = (_parking, _loan, _mayor, _owner, _crossing, _venue, _rent, _open_room)
