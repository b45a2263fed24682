"""Read the parts of a reply that a model marks with tags, `<solution>…</solution>`, in time linear in its length."""

import re

_PARTS = re.compile(r"<(?:instruction|evaluation_function|solution|failure_case)(?:\s[^<>]*)?>", re.IGNORECASE)


def tag_contents(text: str, tag: str) -> list[str]:
    """Return what each `<tag>…</tag>` of a reply contains, without the blanks around it; empty ones are left out.

    Upper and lower case are the same, a tag may have attributes, and the last tag of a reply may be without an end.
    """
    opening = re.compile(rf"<{tag}(?:\s[^<>]*)?>", re.IGNORECASE)
    closing = closing_tag(tag)
    contents: list[str] = []
    place = 0
    while begin := opening.search(text, place):
        end = closing.search(text, begin.end())
        if end is None:
            rest = text[begin.end() :]
            contents += [] if _PARTS.search(rest) else [rest]
            break
        contents.append(text[begin.end() : end.start()])
        place = end.end()
    return [content.strip() for content in contents if content.strip()]


def closing_tag(tag: str) -> re.Pattern[str]:
    """Return the pattern of the tag that ends a part."""
    return re.compile(rf"</{tag}\s*>", re.IGNORECASE)
