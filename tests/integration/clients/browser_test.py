"""A person on the page of a running cluster, played by a headless Chromium.

Usage: browser_test.py TESSERA [FOLDER_FOR_SCREENSHOTS]
"""
import sys

from browser import Browser
from running_cluster import RunningCluster

QUESTION = "A farm has 19 goats and 18 spiders. How many legs do they have in total?"
IS_IDLE = "document.getElementById('stop').hidden"
# Counts what is shown while blocks fill.
WATCH = """
window.seen = {masked: 0, provisional: 0};
new MutationObserver(() => {
  for (const kind of Object.keys(seen)) {
    seen[kind] = Math.max(seen[kind], document.querySelectorAll('#turns .' + kind).length);
  }
}).observe(document.getElementById('turns'), {childList: true, subtree: true});
"""


def number(browser: Browser, element: str) -> float:
    return float(browser.evaluate(f"document.getElementById('{element}').textContent"))


def turns(browser: Browser, kind: str = "turn") -> list[str]:
    return browser.evaluate(f"[...document.querySelectorAll('#turns .{kind}')].map((turn) => turn.textContent)")


def send(browser: Browser, question: str):
    browser.evaluate("document.getElementById('question').focus()")
    browser.type(question)
    browser.evaluate("document.getElementById('send').click()")


def check_answer(browser: Browser, expected: str):
    browser.evaluate(WATCH)
    browser.evaluate("document.getElementById('threshold').value = 1")
    browser.evaluate("document.getElementById('slow').checked = true")
    send(browser, QUESTION)
    browser.wait_until("window.seen.masked > 3 && window.seen.provisional > 0")
    browser.evaluate("document.getElementById('slow').checked = false")
    browser.wait_until(IS_IDLE)
    assert turns(browser) == [QUESTION, expected], turns(browser)
    assert browser.evaluate("document.querySelectorAll('#turns :is(.masked, .provisional)').length") == 0
    assert number(browser, "steps") > 10
    assert 0 < number(browser, "per-forward") <= 1.5
    assert number(browser, "per-second") > 0


def check_stop(browser: Browser):
    browser.evaluate("document.getElementById('slow').checked = true")
    send(browser, QUESTION)
    browser.wait_until("Number(document.getElementById('steps').textContent) > 3")
    browser.evaluate("document.getElementById('stop').click()")
    browser.wait_until(IS_IDLE)
    assert turns(browser, "note") == ["Stopped."]
    browser.evaluate("document.getElementById('slow').checked = false")


def check_error(browser: Browser):
    """What the server says is shown, and the question can be changed and sent again."""
    send(browser, "word " * 6000)
    browser.wait_until(IS_IDLE + " && document.querySelector('#turns .error') !== null")
    assert "prompt and output together" in turns(browser, "error")[0], turns(browser, "error")
    assert "word word" in browser.evaluate("document.getElementById('question').value")
    browser.evaluate("document.getElementById('new').click()")
    assert turns(browser) == []


def check_phone(browser: Browser):
    browser.call("Emulation.setDeviceMetricsOverride", width=360, height=700, deviceScaleFactor=1, mobile=True)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 360, "it scrolls sideways"
    assert browser.evaluate("document.getElementById('send').getBoundingClientRect().bottom") <= 700


def main():
    with RunningCluster(sys.argv[1], "--tp", "1") as cluster, Browser() as browser:
        answer = cluster.post("/v1/chat/completions", {"messages": [{"role": "user", "content": QUESTION}],
                                                       "decoding": {"accept_threshold": 1.0}})
        browser.call("Page.navigate", url=cluster.url + "/")
        browser.wait_until("document.getElementById('model')?.textContent === 'tiny-sdar'")
        check_answer(browser, answer["choices"][0]["message"]["content"])
        if len(sys.argv) > 2:
            browser.screenshot(sys.argv[2] + "/page.png")
        check_stop(browser)
        check_error(browser)
        check_phone(browser)
        foreign = [url for url in browser.urls if not url.startswith((cluster.url, "data:"))]
        assert not foreign, foreign
        unexpected = [error for error in browser.errors if "400" not in error]
        assert not unexpected, unexpected
    assert cluster.exit_code == 0, cluster.exit_code


main()
