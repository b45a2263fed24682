"""The pages of the research institute: people, papers, vacancies.

E-mail addresses follow a pattern, and only the contact page states it.
"""

from collections.abc import Callable

from sca_web_browsing.facts import MAIL_PATTERNS, Facts, mail_of

_PATTERN_WORDS = dict(
    zip(
        MAIL_PATTERNS,
        (
            "the first name, a dot and the last name",
            "the first letter of the first name, a dot and the last name",
            "the last name, a dot and the first letter of the first name",
            "the first name, an underscore and the last name",
        ),
        strict=True,
    )
)


def institute_pages(facts: Facts) -> dict[str, Callable[[], list[str]]]:
    """Return the pages below `/institute`."""
    people = {person["slug"]: person for person in facts["staff"]}
    papers = {paper["slug"]: paper for paper in facts["papers"]}
    pages: dict[str, Callable[[], list[str]]] = {
        "/institute": lambda: _front(facts),
        "/institute/contact": lambda: _contact(facts),
        "/institute/staff": lambda: [
            "Staff",
            "[Institute](/institute)",
            *(f"- {_person_link(person)}, {person['department']}" for person in facts["staff"]),
        ],
        "/institute/papers": lambda: [
            "Papers, oldest first",
            "[Institute](/institute)",
            *(f"- {_paper_link(paper)}" for paper in facts["papers"]),
        ],
        "/institute/jobs": lambda: [
            "Vacancies",
            "[Institute](/institute)",
            *(f"- [{job['title']}](/institute/jobs/{job['slug']}), {job['department']}" for job in facts["jobs"]),
        ],
    }
    for person in facts["staff"]:
        pages[f"/institute/staff/{person['slug']}"] = lambda person=person: _person(person, facts["papers"])  # type: ignore[misc]
    for paper in facts["papers"]:
        pages[f"/institute/papers/{paper['slug']}"] = lambda paper=paper: _paper(paper, people, papers)  # type: ignore[misc]
    for job in facts["jobs"]:
        pages[f"/institute/jobs/{job['slug']}"] = lambda job=job: _job(job, people[job["contact"]])  # type: ignore[misc]
    return pages


def _front(facts: Facts) -> list[str]:
    return [
        facts["institute"]["name"],
        "[Start page](/)",
        f"{len(facts['staff'])} people in four departments, and a boat that is always being painted.",
        "[Staff](/institute/staff)",
        "[Papers](/institute/papers)",
        "[Vacancies](/institute/jobs)",
        "[Contact](/institute/contact)",
    ]


def _contact(facts: Facts) -> list[str]:
    return [
        f"{facts['institute']['name']}: contact",
        "[Institute](/institute)",
        "The gate is manned from seven to seven.",
        "E-mail addresses of the staff are all made in one way, in small letters:",
        f"{_PATTERN_WORDS[facts['institute']['mail']]}, then @{facts['institute']['domain']}.",
        f"Robin Sample would have the address {mail_of(facts, 'Robin Sample')}.",
    ]


def _person_link(person: Facts) -> str:
    return f"[{person['name']}](/institute/staff/{person['slug']})"


def _paper_link(paper: Facts) -> str:
    return f"[{paper['title']}](/institute/papers/{paper['slug']}) ({paper['year']})"


def _person(person: Facts, papers: list[Facts]) -> list[str]:
    begins, ends = person["office_hours"]
    own = [f"- {_paper_link(paper)}" for paper in papers if person["slug"] in paper["authors"]]
    return [
        person["name"],
        "[All staff](/institute/staff)",
        f"{person['position']}, department of {person['department']}",
        f"With the institute since {person['joined']}",
        "E-mail: see [contact](/institute/contact)",
        f"Room: {person['room']}",
        f"Telephone: extension {person['telephone']}",
        f"Office hours: {person['office_day']}, {begins} to {ends}",
        f"Papers here: {len(own)}",
        *own,
    ]


def _paper(paper: Facts, people: dict[str, Facts], papers: dict[str, Facts]) -> list[str]:
    return [
        paper["title"],
        "[All papers](/institute/papers)",
        f"Published in {paper['year']} in {paper['journal']}, {paper['length_pages']} pages",
        "Authors",
        *(f"- {_person_link(people[author])}" for author in paper["authors"]),
        "Summary",
        f"We collected {paper['samples']} samples to find out what is known of {paper['topic']}.",
        "It is less than we thought, and some of it was known to our grandparents.",
        f"Read {paper['readers']} times in the library",
        f"Cites {len(paper['cites'])} papers of the institute",
        *(f"- {_paper_link(papers[cited])}" for cited in paper["cites"]),
    ]


def _job(job: Facts, contact: Facts) -> list[str]:
    return [
        f"Vacancy: {job['title']}",
        "[All vacancies](/institute/jobs)",
        f"Department: {job['department']}",
        "You like early mornings and do not mind rain.",
        f"Hours: {job['hours']} a week",
        f"Pay: {job['wage']:.2f} euros an hour",
        f"Apply until {job['deadline']}",
        f"Questions and applications by e-mail to {_person_link(contact)}",
    ]
