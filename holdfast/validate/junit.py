"""A run as JUnit XML, which every CI reads: a suite per client, a case per step, the console with a failure.

A console is a guest's text: what XML cannot hold, not even escaped, is replaced.
"""

from __future__ import annotations

from xml.etree import ElementTree

from holdfast.client.text import console_text
from holdfast.validate.smoke import Outcome
from holdfast.validate.steps import FAILED, SKIPPED, Result


def junit_of(outcome: Outcome, name: str) -> bytes:
    """The document."""
    root = ElementTree.Element("testsuites", name=name, time=f"{outcome.took_s:.3f}")
    for client in sorted({result.client for result in outcome.results}):
        results = [result for result in outcome.results if result.client == client]
        suite = _suite(root, f"{name} client {client}", results)
        for result in results:
            _case(suite, name, result)
    left = _suite(root, f"{name} leftovers", [])
    case = ElementTree.SubElement(left, "testcase", classname=name, name="nothing is left behind")
    left.set("tests", "1")
    if outcome.left:
        left.set("failures", "1")
        ElementTree.SubElement(case, "failure", message=_safe("left: " + ", ".join(outcome.left)))
    return bytes(ElementTree.tostring(root, "utf-8", xml_declaration=True))


def _suite(root: ElementTree.Element, name: str, results: list[Result]) -> ElementTree.Element:
    counts = {
        "tests": len(results),
        "failures": sum(result.outcome == FAILED for result in results),
        "skipped": sum(result.outcome == SKIPPED for result in results),
    }
    return ElementTree.SubElement(root, "testsuite", {"name": name, **{key: str(n) for key, n in counts.items()}})


def _case(suite: ElementTree.Element, name: str, result: Result) -> None:
    words = f"loop {result.loop} step {result.number} {result.step}"
    case = ElementTree.SubElement(suite, "testcase", classname=name, name=words, time=f"{result.took_s:.3f}")
    if result.outcome == SKIPPED:
        ElementTree.SubElement(case, "skipped")
    if result.outcome == FAILED:
        ElementTree.SubElement(case, "failure", message=_safe(result.words))
        ElementTree.SubElement(case, "system-out").text = _safe(result.console)


def _safe(text: str) -> str:
    return console_text(text).encode("utf-8", "replace").decode()
