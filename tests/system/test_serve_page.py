"""An endpoint's pages in Chromium, under the policy that they are served with, with answers that a test gives."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from helpers.canned_endpoint import CannedEndpoint, serve_canned
from helpers.chromium import started_browser
from helpers.endpoint_facts import HOSTILE, SCRIPT, make_facts, make_hostile_facts, make_number_facts

pytestmark = [pytest.mark.slow, pytest.mark.needs("Chromium")]

GLAD = {"predicted": "glad", "probability": 0.9731}
REASONS = {
    "prediction": GLAD,
    "pieces": [
        {"text": "Such", "effect": None, "is_read": False, "is_known": True},
        {"text": " ", "effect": None, "is_read": True, "is_known": True},
        {"text": "fine", "effect": 2.0, "is_read": True, "is_known": True},
        {"text": "\n", "effect": None, "is_read": True, "is_known": True},
        {"text": "rayn", "effect": -0.9, "is_read": True, "is_known": False},
    ],
    "parts": [{"name": f"part {number}", "effect": 2.0 - number / 4, "note": "a note"} for number in range(12)],
    "note": "What an effect is.",
}
# Violations of the policy, which would stop an attack, but must not even come up.
WATCH = """
window.violations = [];
document.addEventListener('securitypolicyviolation', event => violations.push(event.violatedDirective));
"""


@dataclass
class Seen:
    """What happened in the browser: requests, and what no page may cause."""

    requests: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with started_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def served() -> Iterator[CannedEndpoint]:
    with serve_canned() as endpoint:
        yield endpoint


@pytest.fixture
def endpoint(served: CannedEndpoint) -> CannedEndpoint:
    served.facts, served.asked = make_facts(), []
    served.answers = {"/predict": (200, {"predictions": [GLAD]}), "/explain": (200, REASONS)}
    served.may_answer.set()
    return served


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def page(browser: Browser, endpoint: CannedEndpoint, seen: Seen) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1200, "height": 900}, base_url=endpoint.uri)
    context.add_init_script(WATCH)
    opened = context.new_page()
    opened.on("request", lambda request: seen.requests.append(request.url.removeprefix(endpoint.uri)))
    opened.on("pageerror", lambda error: seen.faults.append(str(error)))
    opened.on("dialog", lambda dialog: (seen.faults.append(f"dialog {dialog.message}"), dialog.dismiss()))
    # Chromium itself logs an error for each answer of 400 and above.
    is_own = lambda message: message.type in ("error", "warning") and "Failed to load" not in message.text  # noqa: E731
    opened.on("console", lambda message: seen.faults.append(message.text) if is_own(message) else None)
    yield opened
    seen.faults += opened.evaluate("window.violations")
    context.close()
    assert seen.faults == []


def ask(page: Page, text: str = "Such fine\nrayn") -> None:
    page.get_by_label("text").fill(text)
    page.get_by_role("button", name="Ask the model").click()


def find_wide(page: Page) -> list[str]:
    """Name what reaches out of the viewport."""
    return page.evaluate(
        """() => [...document.querySelectorAll('html, body *')].filter(element =>
            element.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5 ||
            (element === document.documentElement && element.scrollWidth > element.clientWidth)
        ).map(element => element.outerHTML.slice(0, 200))"""
    )


def test_asking_shows_label_probability_and_version(page: Page, endpoint: CannedEndpoint) -> None:
    page.goto("/")
    ask(page)
    expect(page.locator(".headline")).to_have_text("glad")
    answer = page.locator("#answer")
    expect(answer).to_contain_text("probability of 'glad'")
    expect(answer).to_contain_text("0.973")
    expect(answer).to_contain_text("Answered by moods/4")
    assert answer.locator(".bar").evaluate("bar => bar.style.width") == "97.3%"
    assert answer.get_attribute("aria-live") == "polite"
    expect(page.get_by_text("What decided")).to_be_visible()
    body = {"texts": [{"text": "Such fine\nrayn"}]}
    assert endpoint.asked == [("/predict", None, body), ("/explain", None, body)]


def test_reasons_are_shaded_by_effect_and_their_parts_listed(page: Page) -> None:
    page.goto("/")
    ask(page)
    pieces = page.locator(".pieces")
    assert pieces.evaluate("one => one.textContent") == "Such fine\nrayn"
    for text, name, line, title in (("fine", "for5", "solid", "+2.000"), ("rayn", "against3", "dashed", "−0.900")):
        mark = pieces.locator("mark", has_text=text)
        assert name in (mark.get_attribute("class") or "").split()
        assert mark.get_attribute("title") == title
        assert mark.evaluate("one => getComputedStyle(one).borderBottomStyle") == line
        assert mark.evaluate("one => getComputedStyle(one).backgroundColor") != "rgba(0, 0, 0, 0)"
    expect(pieces.locator(".unread")).to_have_text("Such")
    expect(pieces.locator(".unknown")).to_have_text("rayn")
    rows = page.locator(".parts tbody tr:visible")
    expect(rows).to_have_count(10)
    expect(rows.first).to_have_text("part 0+2.000a note")
    page.get_by_role("button", name="Show all 12").click()
    expect(rows).to_have_count(12)
    expect(rows.last).to_contain_text("−0.750")
    expect(page.locator("#explanation")).to_contain_text("What an effect is.")


def test_long_input_with_many_pieces_is_shown_whole(page: Page, endpoint: CannedEndpoint) -> None:
    many = [{"text": "a ", "effect": 0.5, "is_read": True, "is_known": True}] * 150_000  # more than a call's arguments
    endpoint.answers["/explain"] = (200, REASONS | {"pieces": many})
    page.goto("/")
    ask(page)
    expect(page.locator(".pieces mark")).to_have_count(len(many))


def test_hostile_words_of_facts_answers_and_input_appear_literally(page: Page, endpoint: CannedEndpoint) -> None:
    script, image, entity, end, _ = HOSTILE
    endpoint.facts = facts = make_hostile_facts()
    prediction = {"predicted": script, "probability": 0.5, image: end, "__proto__": entity, "constructor": [image]}
    pieces = [{"text": one, "effect": 1.0, "is_read": True, "is_known": True} for one in HOSTILE]
    parts = [{"name": one, "effect": -1.0, "note": image} for one in HOSTILE]
    endpoint.answers["/predict"] = (200, {"predictions": [prediction]})
    endpoint.answers["/explain"] = (200, {"prediction": {}, "pieces": pieces, "parts": parts, "note": script})
    page.goto("/")
    expect(page).to_have_title(facts.model)
    typed = [SCRIPT, end, '\\"\u2028', "{}", image]
    for name, text in zip(facts.columns, typed, strict=True):
        page.get_by_label(name, exact=True).fill(text)
    page.get_by_role("button", name="Ask the model").click()
    expect(page.locator(".headline")).to_have_text(script)
    assert page.locator(".values :is(th, td)").all_inner_texts() == [
        *(image, end, "__proto__", entity, "constructor", json.dumps([image])),
    ]
    assert page.locator(".pieces").evaluate("one => one.textContent") == "".join(HOSTILE)
    assert page.locator(".parts td:first-child").all_inner_texts() == list(HOSTILE)
    expect(page.locator("#explanation .hint")).to_have_text(script)
    assert endpoint.asked[0][2] == {"__proto__": [dict(zip(facts.columns, typed, strict=True))]}
    assert page.locator("img, main script, main b b").count() == 0


def test_watch_of_the_browser_sees_what_a_hostile_word_would_do(page: Page, seen: Seen) -> None:
    page.goto("/")
    page.evaluate("word => { document.body.innerHTML += word; }", HOSTILE[1])
    page.wait_for_function("violations.length")
    violations = page.evaluate("violations.splice(0)")
    assert violations
    assert seen.faults
    seen.faults.clear()


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ((422, {"error_code": "X", "message": f"there is no row: {SCRIPT}"}), f"there is no row: {SCRIPT}"),
        ((429, {"error_code": "X", "message": "too much waits"}), "too much waits"),
        ((502, "<h1>Bad gateway</h1>"), "The server answered with status 502."),
        ((500, {"message": {"not": "a text"}}), "The server answered with status 500."),
        ((200, "<h1>Sign in</h1>"), "The server's answer cannot be read."),
        ((200, {"predictions": []}), "The server's answer cannot be read."),
        ((200, {"predictions": [0.5]}), "The server's answer cannot be read."),
    ],
)
def test_error_is_shown_as_its_sentence_and_a_former_answer_goes(
    page: Page, endpoint: CannedEndpoint, answer: tuple[int, Any], sentence: str
) -> None:
    page.goto("/")
    ask(page)
    expect(page.get_by_text("What decided")).to_be_visible()
    endpoint.answers["/predict"] = answer
    ask(page)
    expect(page.get_by_role("alert")).to_have_text(sentence)
    expect(page.locator("#answer")).to_be_empty()
    expect(page.locator("#explanation")).to_be_empty()
    endpoint.answers["/predict"] = (200, {"predictions": [GLAD]})
    ask(page)
    expect(page.locator(".headline")).to_have_text("glad")
    expect(page.get_by_role("alert")).to_be_empty()


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        ((404, {"error_code": "NOT_FOUND", "message": "this model has no reasons"}), "this model has no reasons"),
        ((200, {"pieces": 5}), "The server's answer cannot be read."),
    ],
)
def test_error_of_the_explanation_leaves_the_answer(
    page: Page, endpoint: CannedEndpoint, answer: tuple[int, Any], sentence: str
) -> None:
    endpoint.answers["/explain"] = answer
    page.goto("/")
    ask(page)
    expect(page.get_by_role("alert")).to_have_text(sentence)
    expect(page.locator(".headline")).to_have_text("glad")


def test_server_that_cannot_be_reached_is_told(page: Page) -> None:
    page.goto("/")
    page.route("**/predict", lambda route: route.abort())
    ask(page)
    expect(page.get_by_role("alert")).to_have_text("The server cannot be reached.")
    expect(page.get_by_role("button", name="Ask the model")).to_be_enabled()


def test_token_is_sent_as_header_and_kept_for_the_tab_alone(page: Page, endpoint: CannedEndpoint) -> None:
    endpoint.facts = make_facts(needs_token=True)
    page.goto("/")
    ask(page)
    expect(page.locator(".headline")).to_be_visible()
    token = page.get_by_label("Token")
    assert token.get_attribute("type") == "password"
    token.fill("s3cret")
    ask(page)
    expect(page.get_by_text("What decided")).to_be_visible()  # perhaps the first request's
    page.wait_for_function("sessionStorage.length")
    page.reload()
    expect(token).to_have_value("s3cret")
    assert page.evaluate("[localStorage.length, document.cookie]") == [0, ""]
    assert {header for _, header, _ in endpoint.asked} == {None, "Bearer s3cret"}


def test_wrong_token_is_told_not_kept_and_gets_the_focus(page: Page, endpoint: CannedEndpoint) -> None:
    endpoint.facts = make_facts(needs_token=True)
    endpoint.answers["/predict"] = (401, {"error_code": "UNAUTHORIZED", "message": "the token is wrong"})
    page.goto("/")
    page.get_by_label("Token").fill("wrong")
    ask(page)
    expect(page.get_by_role("alert")).to_have_text("the token is wrong")
    expect(page.get_by_label("Token")).to_be_focused()
    page.get_by_label("Token").fill("漢")
    ask(page)
    expect(page.get_by_role("alert")).to_have_text("The token has a character that no token has.")
    assert page.evaluate("sessionStorage.length") == 0
    assert len(endpoint.asked) == 1


def test_button_is_disabled_while_the_page_waits_and_gets_the_focus_back(page: Page, endpoint: CannedEndpoint) -> None:
    endpoint.may_answer.clear()
    page.goto("/")
    button = page.get_by_role("button", name="Ask the model")
    page.get_by_label("text").fill("fine")
    page.keyboard.press("Tab")
    expect(button).to_be_focused()
    page.keyboard.press("Enter")
    expect(button).to_be_disabled()
    expect(page.get_by_role("status")).to_have_text("Waiting for the answer …")
    page.get_by_label("text").press("Control+Enter")  # does not ask twice
    page.evaluate("document.activeElement.blur()")
    endpoint.may_answer.set()
    expect(page.get_by_text("What decided")).to_be_visible()
    expect(button).to_be_enabled()
    expect(button).to_be_focused()
    expect(page.get_by_role("status")).to_be_empty()
    assert [path for path, _, _ in endpoint.asked] == ["/predict", "/explain"]


def test_keyboard_alone_fills_in_the_example_and_asks(page: Page, endpoint: CannedEndpoint) -> None:
    endpoint.facts = make_facts(can_explain=False)
    page.goto("/")
    for _ in range(4):  # documentation, text, ask, example
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_label("text")).to_be_focused()
    expect(page.get_by_label("text")).to_have_value("What a fine day.")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    page.keyboard.type("Yes.")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".headline")).to_be_visible()
    assert endpoint.asked == [("/predict", None, {"texts": [{"text": "What a fine day.\nYes."}]})]


def test_numbers_are_sent_as_numbers_and_anything_else_as_typed(page: Page, endpoint: CannedEndpoint) -> None:
    endpoint.facts = make_number_facts()
    endpoint.answers["/predict"] = (200, {"predictions": [{"predicted": -152.36187744, "lower": 1, "is_new": True}]})
    page.goto("/")
    typed = {"age": " -1.5e-3 ", "sex": "1,5", "bmi": "", "bp": "1e999", "visits": "0x10"}
    for name, text in typed.items():
        page.get_by_label(name, exact=True).fill(text)
    page.keyboard.press("Enter")
    expect(page.locator(".headline")).to_have_text("−152.362")
    assert page.locator(".values :is(th, td)").all_inner_texts() == ["lower", "1", "is_new", "true"]
    assert endpoint.asked == [("/predict", None, {"patients": [typed | {"age": -0.0015}]})]


def test_pages_at_360_pixels_do_not_scroll_sideways(page: Page, endpoint: CannedEndpoint) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    long = "x" * 300
    endpoint.answers["/predict"] = (200, {"predictions": [{"predicted": long, "probability": 0.1, long: 2}]})
    pieces = [{"text": long, "effect": 1.0, "is_read": True, "is_known": True}]
    parts = [{"name": long, "effect": 1.0, "note": long}]
    endpoint.answers["/explain"] = (200, {"prediction": {}, "pieces": pieces, "parts": parts, "note": long})
    for facts in (make_facts(needs_token=True), make_hostile_facts(), make_number_facts(), make_facts(model=long)):
        endpoint.facts = facts
        page.goto("/")
        page.get_by_role("button", name="Ask the model").click()
        expect(page.locator(".headline")).to_be_visible()
        if facts.can_explain:
            expect(page.get_by_text("What decided")).to_be_visible()
        assert find_wide(page) == []
        page.goto("/docs")
        page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
        assert find_wide(page) == []


def test_documentation_asks_for_its_style_alone(page: Page, endpoint: CannedEndpoint, seen: Seen) -> None:
    endpoint.facts = facts = make_hostile_facts()
    page.goto("/docs")
    expect(page.get_by_role("heading", level=1)).to_have_text(facts.model)
    assert set(seen.requests) <= {"/docs", "/page.css", "/favicon.ico"}
    page.locator(".command").first.click()
    selected = page.evaluate("getSelection().toString()")
    assert selected.strip() == page.locator(".command").first.evaluate("one => one.textContent").strip()
