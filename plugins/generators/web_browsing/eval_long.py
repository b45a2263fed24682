"""Templates of the evaluation set with six calls or more: the program compares pages or follows chains of pages."""

from random import Random
from typing import Literal

from sca_web_browsing.facts import Facts, mail_of

from generators.web_browsing.drafts import AFTER, READ, BrowsingDraft, Template

type Choice = Literal["max", "min"]


def _extreme(
    wordings: tuple[str, ...],
    section: str,
    places: list[Facts],
    score: str,
    scores: list[int],
    answer: str,
    answers: list[str],
    choose: Choice,
) -> BrowsingDraft:
    """Return a draft that compares all pages of a section.

    Args:
        wordings: instructions with the same meaning.
        section: the section's name in urls.
        places: facts of the section's pages.
        score: Python expression that computes a page's score from `text`, the whole page.
        scores: the score of each page, computed from the facts.
        answer: Python expression that computes the answer from the `text` of the best page.
        answers: the answer for each page, computed from the facts.
        choose: whether the largest or the smallest score is the best.
    """
    urls = [f"/{section}/{place['slug']}" for place in places]
    program = (
        f"{AFTER}{READ}click_url('/{section}')\nfound = {{}}\nfor url in {urls!r}:\n    text = read(url)\n"
        f"    found[{score}] = {answer}\nfinal_answer(found[{choose}(found)])"
    )
    order = sorted(range(len(places)), key=scores.__getitem__, reverse=choose == "max")
    best, second = answers[order[0]], answers[order[1]]
    opposite = "min" if choose == "max" else "max"
    return BrowsingDraft(
        wordings,
        program,
        (
            program.replace(f"{choose}(found)", f"{opposite}(found)"),
            f"final_answer({second!r})",
            program.replace(repr(urls), repr(urls[:1] if order[0] else urls[1:2])),
        ),
        best,
        "word",
    )


def _cheapest_flat(random: Random, facts: Facts) -> BrowsingDraft:
    del random
    flats = facts["flats"]
    return _extreme(
        (
            "Which of the flats to let costs least a month when rent and heating are added? Answer with its address.",
            "Find the flat with the lowest sum of rent and heating and give its address.",
        ),
        "flats",
        flats,
        "int(after(text, 'Rent: ').split()[0]) + int(after(text, 'Heating: ').split()[0])",
        [flat["rent"] + flat["heating"] for flat in flats],
        "after(text, 'to let: ')",
        [flat["address"] for flat in flats],
        "min",
    )


def _largest_flat(random: Random, facts: Facts) -> BrowsingDraft:
    del random
    flats = facts["flats"]
    return _extreme(
        (
            "Who is the agent for the largest of the flats to let, by square metres?",
            "I am after the flat with the most square metres. Which agent do I have to talk to?",
        ),
        "flats",
        flats,
        "int(after(text, 'Size: ').split()[0])",
        [flat["size_m2"] for flat in flats],
        "after(text, 'Agent: ')",
        [flat["agent"] for flat in flats],
        "max",
    )


def _oldest_shop(random: Random, facts: Facts) -> BrowsingDraft:
    del random
    shops = facts["shops"]
    return _extreme(
        (
            "Which shop in town was founded first? Answer with its name.",
            "Name the oldest of the shops on this site, by the year it was founded.",
        ),
        "shops",
        shops,
        "int(after(text, 'founded in ').rstrip('.'))",
        [shop["founded"] for shop in shops],
        "text.split('\\n')[1]",
        [shop["name"] for shop in shops],
        "min",
    )


def _oldest_object(random: Random, facts: Facts) -> BrowsingDraft:
    del random
    rooms = facts["museum"]["rooms"]
    return _extreme(
        (
            "Who is the curator of the museum room that holds the oldest object of all rooms?",
            "Look at every room of the museum. Which curator looks after the oldest object?",
        ),
        "museum",
        rooms,
        "int(after(text, 'was made in ').rstrip('.'))",
        [room["oldest"] for room in rooms],
        "after(text, 'Curator: ')",
        [room["curator"] for room in rooms],
        "min",
    )


def _order(random: Random, facts: Facts) -> BrowsingDraft:
    shop = random.choice(facts["shops"])
    good = random.choice(shop["goods"][3:])
    many = random.randrange(2, 7)
    cost, delivery = many * good["price"], shop["delivery"]
    due = cost if cost >= delivery["free_from"] else cost + delivery["fee"]
    program = (
        f"{AFTER}{READ}click_url('/shops')\npage = read('/shops/{shop['slug']}')\n"
        "fee = float(after(page, 'in town costs ').split()[0])\n"
        "free = float(after(page, 'for orders of ').split()[0])\n"
        f"prices = read('/shops/{shop['slug']}/prices')\n"
        f"cost = {many} * float(after(prices, '\\n{good['name']}: ').split()[0])\n"
        "final_answer(round(cost if cost >= free else cost + fee, 2))"
    )
    return BrowsingDraft(
        (
            f"I order {many} pieces of '{good['name']}' from {shop['name']} and have them delivered in town. What do I "
            "pay in all, in euros?",
            f"What does an order of {many} times '{good['name']}' at {shop['name']} come to in euros, delivery in town "
            "included if it is due?",
        ),
        program,
        (
            program.replace("cost >= free", "cost < free"),
            program.replace("cost if cost >= free else cost + fee", "cost + 2 * fee"),
            program.replace(f"cost = {many} *", f"cost = {many - 1} *"),
        ),
        round(due, 2),
        "cents",
    )


def _application(random: Random, facts: Facts) -> BrowsingDraft:
    job = random.choice(facts["jobs"])
    names = {person["slug"]: person["name"] for person in facts["staff"]}
    mail = mail_of(facts, names[job["contact"]])
    local = {
        "first.last": "f'{first}.{last}'",
        "f.last": "f'{first[0]}.{last}'",
        "last.f": "f'{last}.{first[0]}'",
        "first_last": "f'{first}_{last}'",
    }
    right = local.pop(facts["institute"]["mail"])
    program = (
        f"{AFTER}{READ}click_url('/institute')\nclick_url('/institute/jobs')\n"
        f"page = read('/institute/jobs/{job['slug']}')\n"
        "first, last = page.split('e-mail to [')[1].split(']')[0].lower().split()\n"
        "domain = after(read('/institute/contact'), 'then @').rstrip('.')\nfinal_answer(LOCAL + '@' + domain)"
    )
    return BrowsingDraft(
        (
            f"To which e-mail address do I send my application for the vacancy '{job['title']}' at the institute?",
            f"I have a question about the institute's vacancy '{job['title']}'. Which e-mail address is right?",
        ),
        program.replace("LOCAL", right),
        tuple(program.replace("LOCAL", wrong) for wrong in local.values()),  # type: ignore[arg-type]  # three of four
        mail,
        "word",
    )


def _author_hours(random: Random, facts: Facts) -> BrowsingDraft:
    paper = random.choice([paper for paper in facts["papers"] if len(paper["authors"]) > 1])
    people = {person["slug"]: person for person in facts["staff"]}
    author = people[paper["authors"][0]]
    other = random.choice([each for each in facts["staff"] if each["office_day"] != author["office_day"]])
    program = (
        f"{AFTER}{READ}click_url('/institute')\nclick_url('/institute/papers')\n"
        f"page = read('/institute/papers/{paper['slug']}')\n"
        "author = page.split('Authors')[1].split('](')[1].split(')')[0]\n"
        "final_answer(after(read(author), 'Office hours: ').split(',')[0])"
    )
    return BrowsingDraft(
        (
            f"On which day of the week does the first author of the paper '{paper['title']}' hold office hours?",
            f"I want to see the first author of '{paper['title']}' in person. On which weekday are the office hours?",
        ),
        program,
        (
            program.replace("read(author)", f"read('/institute/staff/{other['slug']}')"),
            program.replace("split(',')[0]", "split(',')[1]"),
            f"final_answer({author['name']!r})",
        ),
        author["office_day"],
        "word",
    )


def _cited(random: Random, facts: Facts) -> BrowsingDraft:
    paper = random.choice([paper for paper in facts["papers"] if len(paper["cites"]) > 1])
    papers = {each["slug"]: each for each in facts["papers"]}
    cited = sorted((papers[each] for each in paper["cites"]), key=lambda each: int(each["readers"]))
    program = (
        f"{AFTER}{READ}click_url('/institute')\nclick_url('/institute/papers')\n"
        f"page = read('/institute/papers/{paper['slug']}')\nfound = {{}}\n"
        "for link in page.split('Cites ')[1].split('](')[1:]:\n"
        "    text = read(link.split(')')[0])\n"
        "    found[int(after(text, 'Read ').split()[0])] = text.split('\\n')[1]\nfinal_answer(found[max(found)])"
    )
    return BrowsingDraft(
        (
            f"Of the papers that '{paper['title']}' cites, which has been read most often? Give its title.",
            f"Look at every paper cited by '{paper['title']}'. What is the title of the one with most readings?",
        ),
        program,
        (program.replace("max(found)", "min(found)"), f"final_answer({paper['title']!r})", "final_answer('none')"),
        cited[-1]["title"],
        "word",
    )


def _slow_ferry(random: Random, facts: Facts) -> BrowsingDraft:
    del random
    ferries = facts["ferries"]
    longest = max(ferries, key=lambda ferry: int(ferry["minutes"]))
    program = (
        f"{AFTER}{READ}click_url('/ferries')\nfound = {{}}\n"
        f"for url in {['/ferries/' + ferry['slug'] for ferry in ferries]!r}:\n    text = read(url)\n"
        "    fare, bicycle = (after(text, mark).split()[0] for mark in ('Single fare: ', 'Bicycle: '))\n"
        "    found[int(after(text, 'takes ').split()[0])] = calculator(f'2 * ({fare} + {bicycle})')\n"
        "final_answer(round(found[max(found)], 2))"
    )
    return BrowsingDraft(
        (
            "What does a return trip with a bicycle cost on the ferry with the longest crossing, in euros?",
            "I take my bicycle there and back on the ferry line that takes most minutes. How many euros is that?",
        ),
        program,
        (
            program.replace("max(found)", "min(found)"),
            program.replace("2 * (", "("),
            program.replace("{fare} + {bicycle}", "{fare}"),
        ),
        round(2 * (longest["fare"] + longest["bicycle"]), 2),
        "cents",
    )


def _big_event(random: Random, facts: Facts) -> BrowsingDraft:
    del random
    events = facts["events"]
    order = sorted(events, key=lambda event: int(event["seats"]))
    program = (
        f"{AFTER}{READ}click_url('/events')\nfound = {{}}\n"
        f"for url in {['/events/' + event['slug'] for event in events]!r}:\n"
        "    found[int(after(read(url), 'There are ').split()[0])] = url\nclick_url(found[max(found)])"
    )
    return BrowsingDraft(
        (
            "Which event has the most seats? Leave the browser on its page.",
            "Find the event with the largest number of seats and keep its page open.",
        ),
        program,
        (
            program.replace("max(found)", "min(found)"),
            f"click_url('/events')\nclick_url('/events/{order[-2]['slug']}')",
            program + "\ngo_to_previous_page()" if events[-1] is not order[-1] else "click_url('/events')",
        ),
        f"/events/{order[-1]['slug']}",
    )


TEMPLATES: tuple[Template, ...] = (
    _cheapest_flat, _largest_flat, _oldest_shop, _oldest_object, _order, _application, _author_hours, _cited,
    _slow_ferry, _big_event,
)  # fmt: skip
