"""Templates of the evaluation set with four or five calls: the program takes several steps or combines numbers."""

from random import Random

from sca_web_browsing.facts import Facts, mail_of

from generators.web_browsing.drafts import AFTER, BrowsingDraft, Template


def _room(random: Random, facts: Facts) -> BrowsingDraft:
    person, other = random.sample(facts["staff"], 2)
    program = (
        f"{AFTER}click_url('/institute')\nclick_url('/institute/staff')\n"
        f"click_url('/institute/staff/{person['slug']}')\npage = scroll_down()\nfinal_answer(after(page, 'Room: '))"
    )
    return BrowsingDraft(
        (
            f"In which room of the {facts['institute']['name']} does {person['name']} work?",
            f"I have a parcel for {person['name']} at the institute. Which room must it go to?",
        ),
        program,
        (
            program.replace(person["slug"], other["slug"]),
            program.replace("Room: ", "extension "),
            f"final_answer({person['department']!r})",
        ),
        person["room"],
        "word",
    )


def _pay(random: Random, facts: Facts) -> BrowsingDraft:
    job = random.choice(facts["jobs"])
    program = (
        f"{AFTER}click_url('/institute')\nclick_url('/institute/jobs')\n"
        f"hours = after(click_url('/institute/jobs/{job['slug']}'), 'Hours: ').split()[0]\n"
        "wage = after(scroll_down(), 'Pay: ').split()[0]\nfinal_answer(round(calculator(f'{hours} * {wage}'), 2))"
    )
    return BrowsingDraft(
        (
            f"The institute has a vacancy for a {job['title'].lower()}. How many euros does the job pay in a week?",
            f"What would I earn each week as {job['title'].lower()} at the institute, in euros?",
        ),
        program,
        (
            program.replace("{hours} * {wage}", "{wage}"),
            program.replace("{hours} * {wage}", "4 * {hours} * {wage}"),
            program.replace("{hours} * {wage}", "40.5 * {wage}"),
        ),
        round(job["hours"] * job["wage"], 2),
        "cents",
    )


def _closing(random: Random, facts: Facts) -> BrowsingDraft:
    shop = random.choice(facts["shops"])
    usual = shop["hours"]["Tuesday"][1]
    open_days = [day for day, times in shop["hours"].items() if times]
    late = max(open_days, key=lambda day: shop["hours"][day][1])
    program = (
        f"{AFTER}click_url('/shops')\nclick_url('/shops/{shop['slug']}')\n"
        "page = scroll_down() + '\\n' + scroll_down()\n"
        f"final_answer(after(page, '{late}: ').split(' to ')[1])"
    )
    return BrowsingDraft(
        (
            f"Until what time is {shop['name']} open on {late}? Answer as HH:MM.",
            f"When does {shop['name']} close on {late}s? Give the time as HH:MM.",
        ),
        program,
        (
            program.replace("[1])", "[0])"),
            program.replace(f"{late}: ", "Saturday: "),
            f"final_answer({usual if usual != shop['hours'][late][1] else '12:00'!r})",
        ),
        shop["hours"][late][1],
        "word",
    )


def _two_goods(random: Random, facts: Facts) -> BrowsingDraft:
    shop = random.choice(facts["shops"])
    first, second = random.sample(shop["goods"][:3], 2)
    many = random.randrange(2, 7)
    program = (
        f"{AFTER}click_url('/shops')\nclick_url('/shops/{shop['slug']}')\n"
        f"page = click_url('/shops/{shop['slug']}/prices')\n"
        f"one, other = (after(page, f'\\n{{name}}: ').split()[0] for name in ({first['name']!r}, {second['name']!r}))\n"
        f"final_answer(round(calculator(f'{many} * {{one}} + {{other}}'), 2))"
    )
    return BrowsingDraft(
        (
            f"What do {many} pieces of '{first['name']}' and one of '{second['name']}' cost together, in euros, at "
            f"{shop['name']}? I fetch them myself.",
            f"Add up {many} times '{first['name']}' and once '{second['name']}' at the prices of {shop['name']}, "
            "without delivery. How many euros is that?",
        ),
        program,
        (
            program.replace(f"{many} * {{one}} + {{other}}", f"{{one}} + {many} * {{other}}"),
            program.replace(f"{many} * {{one}} + ", "{one} + "),
            program.replace(" + {other}", ""),
        ),
        round(many * first["price"] + second["price"], 2),
        "cents",
    )


def _first_month(random: Random, facts: Facts) -> BrowsingDraft:
    flat = random.choice(facts["flats"])
    program = (
        f"{AFTER}click_url('/flats')\nclick_url('/flats/{flat['slug']}')\npage = scroll_down()\n"
        "rent, heating, months = (after(page, mark).split()[0] for mark in ('Rent: ', 'Heating: ', 'Deposit: '))\n"
        "final_answer(calculator(f'{rent} + {heating} + {months} * {rent}'))"
    )
    return BrowsingDraft(
        (
            f"I take the flat at {flat['address']}. How many euros must I pay for the first month, with heating and "
            "the deposit?",
            f"Add up rent, heating and deposit for the first month at {flat['address']}, in euros.",
        ),
        program,
        (
            program.replace(" + {months} * {rent}", ""),
            program.replace("{heating} + ", ""),
            program.replace("{months} * {rent}", "{months} * ({rent} + {heating})"),
        ),
        flat["rent"] * (1 + flat["deposit_months"]) + flat["heating"],
        "number",
    )


def _family(random: Random, facts: Facts) -> BrowsingDraft:
    museum, children = facts["museum"], random.choice((2, 3))
    program = (
        f"{AFTER}click_url('/museum')\npage = click_url('/museum/tickets') + '\\n' + scroll_down()\n"
        "adult, child = (after(page, mark).split()[0] for mark in ('Adults: ', 'Children under 15: '))\n"
        "family = after(page, 'Family ticket').split(': ')[1].split()[0]\n"
        f"final_answer(calculator(f'2 * {{adult}} + {children} * {{child}} - {{family}}'))"
    )
    return BrowsingDraft(
        (
            f"Two adults and {children} children under 15 visit the museum. How many euros does the family ticket save "
            "them against single tickets?",
            f"By how many euros is a family ticket cheaper than single tickets for two adults and {children} small "
            "children at the museum?",
        ),
        program,
        (
            program.replace(f" + {children} *", " + 1 *"),
            program.replace(" - {family}", ""),
            program.replace("2 * {adult}", "{adult}"),
        ),
        2 * museum["adult"] + children * museum["child"] - museum["family"],
        "number",
    )


def _mail(random: Random, facts: Facts) -> BrowsingDraft:
    person = random.choice(facts["staff"])
    mail = mail_of(facts, person["name"])
    first, last = person["name"].lower().split()
    program = (
        f"{AFTER}click_url('/institute')\nclick_url('/institute/staff')\n"
        f"click_url('/institute/staff/{person['slug']}')\npage = click_url('/institute/contact')\n"
        f"final_answer({mail.split('@')[0] + '@'!r} + after(page + '\\n' + scroll_down(), 'then @').rstrip('.'))"
    )
    return BrowsingDraft(
        (
            f"What is the e-mail address of {person['name']} at the {facts['institute']['name']}?",
            f"I would like to write to {person['name']} of the institute. Which e-mail address do I use?",
        ),
        program,
        (
            program.replace(repr(mail.split("@")[0] + "@"), repr(f"{last}{first}@")),
            f"final_answer({mail.removesuffix('.example') + '.com'!r})",
            f"final_answer({mail_of(facts, 'Robin Sample')!r})",
        ),
        mail,
        "word",
    )


def _contact_page(random: Random, facts: Facts) -> BrowsingDraft:
    job = random.choice(facts["jobs"])
    other = random.choice([person for person in facts["staff"] if person["slug"] != job["contact"]])
    url = f"/institute/staff/{job['contact']}"
    to_job = f"click_url('/institute')\nclick_url('/institute/jobs')\nclick_url('/institute/jobs/{job['slug']}')\n"
    return BrowsingDraft(
        (
            f"Who takes applications for the institute's vacancy '{job['title']}'? Leave the browser on the page of "
            "this person.",
            f"Open the page of the person who answers questions about the vacancy '{job['title']}'.",
        ),
        to_job + "page = scroll_down()\nclick_url(page.split('e-mail to ')[1].split('(')[1].split(')')[0])",
        (
            to_job,
            f"click_url('/institute/staff/{other['slug']}')",
            to_job + f"click_url('{url}')\ngo_to_previous_page()",
        ),
        url,
    )


TEMPLATES: tuple[Template, ...] = (
    _room, _pay, _closing, _two_goods, _first_month, _family, _mail, _contact_page,
)  # fmt: skip
