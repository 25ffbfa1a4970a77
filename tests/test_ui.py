"""The page's server over real HTTP: reading, following, answering, forking, and what stops strangers."""

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph.checkpoint.memory import InMemorySaver

from langgraph_rlm.testing import cell
from langgraph_rlm.ui import app

from .models import rlm, root, thread
from .servers import Served

KEY = "k" * 43
BUY = "try:\n    got = buy('tea', count=2)\nexcept RuntimeError as error:\n    got = str(error)\nFINAL([got])"
YES = {"type": "approve"}


class Shop:
    """A graph whose code buys things, and what was bought."""

    def __init__(self, *codes: str, saver: Any = None, **options: Any) -> None:
        self.bought: list[tuple[str, int]] = []

        def buy(item: str, count: int = 1) -> dict[str, Any]:
            """Buy something."""
            self.bought.append((item, count))
            return {"item": item, "count": count}

        self.saver = saver or InMemorySaver()
        self.graph = rlm(
            root(*codes or [BUY]),
            tools=[buy],
            interrupt_on={"buy": True},
            checkpointer=self.saver,
            **options,
        )


class Page:
    """A browser's view of the server: the cookie and the word, as the page itself has them."""

    def __init__(self, url: str, token: str = KEY) -> None:
        self.url = url.removesuffix("/v1")
        self.http = httpx.Client(base_url=self.url, timeout=30)
        came = self.http.get("/", params={"token": token})
        assert (came.status_code, came.headers["location"]) == (303, "/")
        boot = self.http.get("/").text.split('id="boot">')[1].split("</script>")[0]
        self.boot = json.loads(boot)
        self.word = {"x-csrf-token": self.boot["csrf"]}

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.http.get(path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        given = {"json": {} if body is None else body, "headers": self.word, **options}
        return self.http.post(path, **given)

    def records(self, name: str = "t", **options: Any) -> dict[str, Any]:
        told = self.get(f"/api/threads/{name}/records", **options)
        assert told.status_code == 200, told.text
        return {record["id"]: record for record in map(json.loads, told.text.splitlines())}

    def pauses(self, name: str = "t") -> list[Any]:
        return [each for each in self.records(name).values() if each["type"] == "pause"]

    def state(self, name: str = "t") -> str:
        return self.records(name)["trace"]["state"]

    def wait(self, is_so: Callable[[], Any], seconds: float = 20) -> Any:
        end = time.monotonic() + seconds
        while not (found := is_so()):
            assert time.monotonic() < end, "it did not come to be"
            time.sleep(0.02)
        return found

    @contextmanager
    def reader(self, name: str = "t", **options: Any) -> Iterator["Reader"]:
        with self.http.stream("GET", f"/api/threads/{name}/events", **options) as stream:
            yield Reader(stream)


class Reader:
    """One tab that follows a thread, in a thread of its own."""

    def __init__(self, stream: httpx.Response) -> None:
        assert stream.status_code == 200
        self.names: list[str] = []
        self.records: dict[str, Any] = {}
        self.state: dict[str, Any] = {}
        self.last = ""
        self._lines = stream.iter_lines()

    def until(self, is_so: Callable[["Reader"], Any]) -> Any:
        """Read on until something is so."""
        name = ""
        for line in self._lines:
            key, _, value = line.partition(": ")
            if key == "event":
                name = value
            elif key == "id":
                self.last = value
            elif key == "data":
                self._take(name, json.loads(value))
            if not line and (found := is_so(self)):
                return found
        raise AssertionError(f"the stream ended: {self.names}")

    def _take(self, name: str, data: Any) -> None:
        self.names.append(name)
        if name == "reset":
            self.records.clear()
        elif name == "record":
            self.records.update({record["id"]: record for record in data})
        elif name == "gone":
            for id in data["ids"]:
                self.records.pop(id, None)  # it may have come and gone between two looks
        elif name == "state":
            self.state = data


@contextmanager
def served(given: Any, **options: Any) -> Iterator[Page]:
    with Served(app(given, key=KEY, **options)) as server:
        yield Page(server.url)


class TestAnswering:
    @pytest.mark.parametrize(
        ("decision", "got", "bought"),
        [
            (YES, {"item": "tea", "count": 2}, [("tea", 2)]),
            ({"type": "edit", "args": {"item": "jam"}}, {"item": "jam", "count": 1}, [("jam", 1)]),
            ({"type": "reject", "message": "no"}, "buy failed: rejected by a human: no", []),
            ({"type": "respond", "message": "sold out"}, "sold out", []),
        ],
    )
    def test_every_decision_and_its_tool_runs_once(
        self, decision: Any, got: Any, bought: Any
    ) -> None:
        shop = Shop()
        shop.graph.invoke({"query": "shop"}, thread())
        with served(shop.graph, user="ann") as page:
            (pause,) = page.pauses()
            told = page.post("/api/threads/t/answers", {"answers": {pause["interrupt"]: decision}})
            assert (told.status_code, told.json()["runs"]) == (202, True)
            page.wait(lambda: page.state() == "done")
            assert not page.pauses()
            again = page.post("/api/threads/t/answers", {"answers": {pause["interrupt"]: decision}})
            assert again.status_code == 409
        state = shop.graph.get_state(thread()).values
        assert json.loads(state["answer"]) == [got]
        assert state["log"]["0.0/0/0"]["decision"]["by"] == "ann"
        assert shop.bought == bought

    def test_when_many_answer_at_once_one_counts(self) -> None:
        shop = Shop()
        shop.graph.invoke({"query": "shop"}, thread())
        with served(shop.graph) as page:
            (pause,) = page.pauses()
            body = {"answers": {pause["interrupt"]: YES}}

            async def all_of_them() -> list[int]:
                async with httpx.AsyncClient(
                    base_url=page.url, cookies=page.http.cookies, timeout=30
                ) as http:
                    posts = [
                        http.post("/api/threads/t/answers", json=body, headers=page.word)
                        for _ in range(8)
                    ]
                    return sorted([told.status_code for told in await asyncio.gather(*posts)])

            assert asyncio.run(all_of_them()) == [202] + [409] * 7
            page.wait(lambda: page.state() == "done")
        assert shop.bought == [("tea", 2)]

    @pytest.mark.parametrize(
        "wrong",
        [
            "yes",
            None,
            {"type": "nothing"},
            {"type": "edit", "args": {"item": 1}},
            {"type": "edit", "args": {"item": "x", "more": 1}},
            {"type": "edit", "edited_action": {"name": "sell", "args": {"item": "x"}}},
        ],
    )
    def test_a_wrong_answer_says_why_and_the_pause_stays(self, wrong: Any) -> None:
        shop = Shop()
        shop.graph.invoke({"query": "shop"}, thread())
        with served(shop.graph) as page:
            (pause,) = page.pauses()
            told = page.post("/api/threads/t/answers", {"answers": {pause["interrupt"]: wrong}})
            assert told.status_code == 422
            assert "still waits" in told.json()["error"]["message"]
            assert page.pauses() == [pause]
        assert not shop.bought

    def test_an_answer_waits_for_the_process_that_may_run_the_thread(self) -> None:
        """A page over a database alone only reads, and keeps what it is told."""
        shop = Shop()
        shop.graph.invoke({"query": "shop"}, thread())
        with served(shop.saver) as page:
            assert page.boot["can_run"] is False
            (pause,) = page.pauses()
            told = page.post("/api/threads/t/answers", {"answers": {pause["interrupt"]: YES}})
            assert told.json() == {"kept": [pause["interrupt"]], "runs": False}
            with page.reader() as reader:
                reader.until(lambda r: r.state.get("answers"))
                kept = reader.state["answers"][pause["interrupt"]]
                assert kept["type"] == "approve" and reader.state["can_run"] is False
                assert not shop.bought
                shop.graph.invoke(None, thread())
                reader.until(lambda r: r.state.get("state") == "done")
                assert not reader.state["answers"]
            for path, body in (
                ("threads", {"question": "q"}),
                ("threads/t/questions", {"question": "q"}),
                ("threads/t/continue", {}),
                ("threads/t/forks", {"place": "0", "value": "x"}),
            ):
                told = page.post(f"/api/{path}", body)
                assert told.status_code == 409 and "--graph" in told.json()["error"]["message"]
        assert shop.bought == [("tea", 2)]

    def test_an_external_call_gets_its_result(self) -> None:
        look = {"name": "look", "description": "Look.", "parameters": {"type": "object"}}
        graph = rlm(
            [cell("FINAL(look())")],
            external_tools=[{"type": "function", "function": look}],
            checkpointer=InMemorySaver(),
        )
        graph.invoke({"query": "q"}, thread())
        with served(graph) as page:
            (pause,) = page.pauses()
            answer = {"type": "result", "result": ["a", 1]}
            page.post("/api/threads/t/answers", {"answers": {pause["interrupt"]: answer}})
            page.wait(lambda: page.state() == "done")
        assert json.loads(graph.get_state(thread()).values["answer"]) == ["a", 1]


class TestRunning:
    def test_a_new_thread_a_further_question_and_a_fork_that_is_followed(self) -> None:
        graph = rlm(["FINAL(1)", "FINAL(2)", "FINAL(3)"], checkpointer=InMemorySaver())
        with served(graph) as page:
            assert page.boot["can_run"] is True
            begun = page.post("/api/threads", {"question": "first?"})
            assert begun.status_code == 201
            name = begun.json()["id"]
            page.wait(lambda: page.state(name) == "done")
            with page.reader(name) as reader:
                reader.until(lambda r: r.state.get("state") == "done")
                told = page.post(f"/api/threads/{name}/questions", {"question": "second?"})
                assert told.status_code == 202
                reader.until(
                    lambda r: (
                        r.records.get("trace", {}).get("questions") == 2
                        and r.state.get("state") == "done"
                    )
                )
                old = reader.records.get("trace", {})["checkpoint"]
                forked = page.post(
                    f"/api/threads/{name}/forks", {"place": "0", "value": "FINAL(77)"}
                )
                assert forked.status_code == 201, forked.text
                reader.until(lambda r: r.records.get("trace", {}).get("answer") == "77")
            branch = page.records(name, params={"checkpoint": old})
            assert branch["trace"]["answer"] == "2"
            (listed,) = page.get("/api/threads").json()["threads"]
            assert (listed["id"], listed["question"]) == (name, "first?")

    def test_a_run_is_stopped_and_continued(self) -> None:
        slow = threading.Event()
        calls: list[str] = []

        async def wait(text: str) -> str:
            """Wait."""
            calls.append(text)
            while not slow.is_set():
                await asyncio.sleep(0.01)
            return "done"

        graph = rlm([cell("FINAL(wait('x'))")], tools=[wait], checkpointer=InMemorySaver())
        with served(graph) as page:
            name = page.post("/api/threads", {"question": "q"}).json()["id"]
            page.wait(lambda: calls)
            assert page.state(name) == "running"
            for path, body in (
                ("questions", {"question": "q"}),
                ("continue", {}),
                ("forks", {"place": "0", "value": "FINAL(1)"}),
            ):
                told = page.post(f"/api/threads/{name}/{path}", body)
                assert (told.status_code, "running" in told.text) == (409, True)
            assert page.post(f"/api/threads/{name}/stop").status_code == 202
            assert page.state(name) == "stopped"
            assert page.post(f"/api/threads/{name}/stop").status_code == 409
            unfinished = page.post(f"/api/threads/{name}/questions", {"question": "q"})
            assert (unfinished.status_code, "unfinished" in unfinished.text) == (409, True)
            slow.set()
            assert page.post(f"/api/threads/{name}/continue").status_code == 202
            page.wait(lambda: page.state(name) == "done")
            assert page.post(f"/api/threads/{name}/continue").status_code == 409
        assert calls == ["x", "x"]

    def test_an_error_of_a_run_is_told_and_the_next_run_forgets_it(self) -> None:
        graph = rlm([ValueError("out of order: sk-abcdefgh12345678")], checkpointer=InMemorySaver())
        with served(graph) as page:
            name = page.post("/api/threads", {"question": "q"}).json()["id"]
            with page.reader(name) as reader:
                reader.until(lambda r: r.state.get("error") and r.state["state"] == "stopped")
                assert "out of order: [secret]" in reader.state["error"]

    def test_fork_errors_say_why(self) -> None:
        graph = rlm(["FINAL(1)"], checkpointer=InMemorySaver())
        graph.invoke({"query": "q"}, thread())
        with served(graph) as page:
            for place, value in (("9", "x"), ("0", ""), ("0", 7), ("trace", "x")):
                told = page.post("/api/threads/t/forks", {"place": place, "value": value})
                assert told.status_code == 422, told.text
                assert page.records()["trace"]["answer"] == "1"


class TestFollowing:
    def test_two_tabs_both_see_all_and_one_that_comes_back_gets_what_is_new(self) -> None:
        shop = Shop("FINAL([buy('tea'), buy('jam')])")
        shop.graph.invoke({"query": "shop"}, thread())
        with served(shop.graph) as page, page.reader() as one, page.reader() as other:
            for reader in (one, other):
                reader.until(lambda r: r.last)
            with page.reader(headers={"last-event-id": one.last}) as back:
                for _ in range(2):
                    (pause,) = page.pauses()
                    page.post("/api/threads/t/answers", {"answers": {pause["interrupt"]: YES}})
                    page.wait(lambda done=pause: done not in page.pauses())
                    page.wait(lambda: page.state() != "running")
                for reader in (one, other, back):
                    reader.until(lambda r: r.state.get("state") == "done")
            assert one.records == other.records == page.records()
            assert one.names.count("reset") == 1
            assert "reset" not in back.names and back.records.keys() < one.records.keys()
            with page.reader(headers={"last-event-id": "00000000-3"}) as stranger:
                stranger.until(lambda r: r.state)
                assert stranger.records == one.records

    def test_texts_contexts_and_files_that_the_thread_names(self, tmp_path: Path) -> None:
        context = "äöü€𝄞" * 2000
        picture = tmp_path / "dot.png"
        picture.write_bytes(_PNG)
        graph = rlm([cell("x = 'é' * 2000\nprint(x)\nFINAL(x)")], checkpointer=InMemorySaver())
        given = {"text": context, "dot": picture}
        graph.invoke({"query": "q", "context": given}, thread())
        graph.invoke({"query": "q", "context": "of another"}, thread("other"))
        with served(graph) as page:
            records = page.records()
            ref = records["trace"]["answer"]["ref"]
            told = page.get(f"/api/threads/t/texts/{ref}")
            assert told.text == "é" * 2000 and told.headers["content-type"].startswith("text/plain")
            (asked,) = [each for each in records.values() if each["type"] == "question"]
            text, dot = asked["contexts"]
            part = page.get(
                f"/api/threads/t/contexts/{text['digest']}", params={"start": 1, "end": 12}
            )
            assert (part.text, part.headers["x-range"]) == ("öü€", "2-9")
            shown = page.get(f"/api/threads/t/blobs/{dot['digest']}")
            assert shown.content == _PNG and shown.headers["content-type"] == "image/png"
            saved = page.get(f"/api/threads/t/blobs/{text['digest']}")
            assert saved.headers["content-type"] == "application/octet-stream"
            assert saved.headers["content-disposition"].startswith("attachment")
            assert "sandbox" in saved.headers["content-security-policy"]
            for name in ("texts", "contexts", "blobs"):
                for digest in (text["digest"].upper(), "0" * 64, "..", "%2e%2e%2fx", "a" * 63):
                    assert page.get(f"/api/threads/t/{name}/{digest}").status_code == 404
                foreign = page.get(f"/api/threads/other/{name}/{text['digest']}")
                assert foreign.status_code == 404
            for start, end in ((5, 2), (0, 1 << 30), (-1, 5), ("x", 1)):
                wrong = page.get(
                    f"/api/threads/t/contexts/{text['digest']}", params={"start": start, "end": end}
                )
                assert wrong.status_code == 422


_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
    "0000000d49444154789c6360606060000000050001a5f645400000000049454e44ae426082"
)

HOSTILE = "</script><script>alert(1)</script><!--\u2028'\"&{{x}}\x00\ud800"


class TestHostile:
    def test_what_models_and_documents_wrote_is_data(self) -> None:
        said = HOSTILE.replace("\ud800", "").replace("\x00", "")
        graph = rlm([cell(f"print({said!r})\nFINAL({said!r})")], checkpointer=InMemorySaver())
        name = "../../etc/passwd?x=<b>#é"
        graph.invoke({"query": said, "context": {said[:40]: said * 50}}, thread(name))
        with served(graph) as page:
            (listed,) = page.get("/api/threads").json()["threads"]
            assert (listed["id"], listed["question"]) == (name, said)
            quoted = httpx.QueryParams({"a": name}).__str__().removeprefix("a=").replace("+", "%20")
            records = page.records(quoted)
            assert records["trace"]["answer"] == said
            html = page.get("/", params={"thread": HOSTILE.replace("\ud800", "")})
            assert "alert(1)</script>" not in html.text.replace("\\u003c", "")
            assert html.headers["content-security-policy"].startswith("default-src 'none'")

    def test_bodies(self) -> None:
        graph = rlm(["FINAL(1)"], checkpointer=InMemorySaver())
        graph.invoke({"query": "q"}, thread())
        with served(graph) as page:
            json_type = {**page.word, "content-type": "application/json"}
            for body, status in (
                (b"", 400),
                (b"{", 400),
                (b"[" * 100_000, 400),
                (b'{"question": NaN}', 400),
                (b"\xff\xfe", 400),
                (b"[]", 422),
                (b'{"question": ""}', 422),
                (b'{"question": 7}', 422),
                (b'{"question": "q", "more": 1}', 422),
                (b'{"question": "' + b"x" * (9 << 20) + b'"}', 413),
            ):
                told = page.post(
                    "/api/threads/t/questions", content=body, json=None, headers=json_type
                )
                assert told.status_code == status, (body[:30], told.text)
                assert told.json()["error"]["message"]

            def endless() -> Iterator[bytes]:
                for _ in range(20):
                    yield b"x" * (1 << 20)

            told = page.post(
                "/api/threads/t/questions", content=endless(), json=None, headers=json_type
            )
            assert told.status_code == 413
            assert page.records()["trace"]["questions"] == 1

    @pytest.mark.parametrize(
        "name", ["none", "..", "%2e%2e", "a%00b", "t/texts", "%ff", "t%2f..%2ft"]
    )
    def test_threads_that_are_not_there(self, name: str) -> None:
        graph = rlm(["FINAL(1)"], checkpointer=InMemorySaver())
        graph.invoke({"query": "q"}, thread())
        with served(graph) as page:
            for method, path, body in (
                ("GET", "records", None),
                ("GET", "events", None),
                ("POST", "answers", {"answers": {"0" * 32: YES}}),
                ("POST", "questions", {"question": "q"}),
                ("POST", "stop", {}),
            ):
                url = f"{page.url}/api/threads/{name}/{path}"
                told = page.http.request(method, url, json=body, headers=page.word)
                assert told.status_code in (404, 422), (method, path, told.status_code)


def raw(page: Page, method: str, path: str, headers: Mapping[str, str], body: str = "") -> int:
    """One request by hand: httpx would set its own Host."""
    import http.client

    host = page.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=20)
    connection.putrequest(method, path, skip_host=True)
    for key, value in {"host": host, "content-length": str(len(body)), **headers}.items():
        connection.putheader(key, value)
    connection.endheaders(body.encode())
    status = connection.getresponse().status
    connection.close()
    return status


class TestStrangers:
    @pytest.fixture
    def shop(self) -> Shop:
        shop = Shop()
        shop.graph.invoke({"query": "shop"}, thread())
        return shop

    def test_nobody_reads_without_the_token(self, shop: Shop) -> None:
        with served(shop.graph) as page:
            port = page.url.rpartition(":")[2]
            for headers in (
                {},
                {"authorization": "Bearer wrong"},
                {"authorization": f"Basic {KEY}"},
                {"cookie": f"langgraph_rlm_ui_{port}={KEY}"},
                {"cookie": f"langgraph_rlm_ui_{port}="},
            ):
                for path in ("/api/threads", "/api/threads/t/records", "/api/threads/t/events"):
                    told = httpx.get(f"{page.url}{path}", headers=headers)
                    assert told.status_code == 401
                    assert "question" not in told.text
                told = httpx.get(page.url, headers=headers)
                assert (told.status_code, "csrf" in told.text) == (401, False)
            wrong = {"cookie": f"langgraph_rlm_ui_{port}=\u00ff"}
            assert raw(page, "GET", "/api/threads", wrong) == 401
            for token in ("wrong", "", KEY[:-1], f"{KEY}x", "\ud7ff"):
                told = httpx.get(page.url, params={"token": token})
                assert (told.status_code, "set-cookie" in told.headers) == (401, False)
            bearer = httpx.get(
                f"{page.url}/api/threads", headers={"authorization": f"Bearer {KEY}"}
            )
            assert bearer.status_code == 200

    def test_the_cookie_is_kept_from_other_sites_and_scripts(self, shop: Shop) -> None:
        with Served(app(shop.graph, key=KEY)) as server:
            url = server.url.removesuffix("/v1")
            told = httpx.get(url, params={"token": KEY})
            cookie = told.headers["set-cookie"].lower()
            assert "httponly" in cookie and "samesite=strict" in cookie
            assert KEY not in told.headers["set-cookie"] and "token" not in told.headers["location"]
            led = httpx.get(url, params={"token": KEY}, headers={"sec-fetch-site": "cross-site"})
            assert (led.status_code, KEY in led.text) == (200, False)
            for headers in (told.headers, httpx.get(url).headers, led.headers):
                assert headers["x-content-type-options"] == "nosniff"
                assert headers["cache-control"] == "no-store"
                assert headers["referrer-policy"] == "no-referrer"
                assert "frame-ancestors 'none'" in headers["content-security-policy"]

    def test_no_other_site_does_anything(self, shop: Shop) -> None:
        with served(shop.graph) as page:
            (pause,) = page.pauses()
            path = "/api/threads/t/answers"
            body = json.dumps({"answers": {pause["interrupt"]: YES}})
            cookie = "; ".join(f"{k}={v}" for k, v in page.http.cookies.items())
            good = {"cookie": cookie, "content-type": "application/json", **page.word}
            bearer = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
            host = page.url.removeprefix("http://")
            wrong: list[tuple[dict[str, str], int]] = [
                ({**good, "x-csrf-token": ""}, 403),
                ({**good, "x-csrf-token": "\u00ff"}, 403),
                ({**good, "origin": "http://evil.example"}, 403),
                ({**good, "origin": "null"}, 403),
                ({**good, "origin": "http://localhost:1"}, 403),
                ({**good, "origin": f"http://{host}.evil.example"}, 403),
                ({**good, "sec-fetch-site": "cross-site"}, 403),
                ({**good, "sec-fetch-site": "same-site"}, 403),
                ({**good, "content-type": "text/plain"}, 415),
                ({**good, "content-type": "application/x-www-form-urlencoded"}, 415),
                ({**good, "content-type": "text/plain; application/json"}, 415),
                ({**good, "host": "evil.example"}, 403),
                ({**good, "host": f"evil.example:{host.partition(':')[2]}"}, 403),
                ({**good, "host": ""}, 403),
                ({**good, "host": "127.0.0.1@evil.example"}, 403),
                ({**bearer, "host": "evil.example"}, 403),
                ({**bearer, "origin": "http://evil.example"}, 403),
                ({key: value for key, value in good.items() if key != "cookie"}, 401),
            ]
            for headers, status in wrong:
                assert raw(page, "POST", path, headers, body) == status, headers
            for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"):
                assert raw(page, method, path, good) in (404, 405)
            assert raw(page, "GET", "/api/threads", {**good, "sec-fetch-site": "cross-site"}) == 403
            assert raw(page, "GET", "/api/threads", {**good, "host": "evil.example"}) == 403
            assert raw(page, "GET", f"/?token={KEY}", {"host": "evil.example"}) == 403
            assert page.pauses() == [pause] and not shop.bought
            assert raw(page, "POST", path, {**good, "origin": page.url}, body) == 202
            page.wait(lambda: page.state() == "done")
        assert shop.bought == [("tea", 2)]

    def test_a_page_without_a_key_is_not_made(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from langgraph_rlm import ConfigurationError

        monkeypatch.delenv("LANGGRAPH_RLM_API_KEY", raising=False)
        for key in (None, "", [], ["a", ""]):
            with pytest.raises(ConfigurationError, match="give key="):
                app(shop.graph, key=key)
        with pytest.raises(ConfigurationError, match="checkpointer"):
            app(rlm(["FINAL(1)"]), key=KEY)
