"""What a run promises, through the public graph: answers, limits, nudges, and what wrong code gets to see."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ChatMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.checkpoint.memory import InMemorySaver

from langgraph_rlm import (
    BlobError,
    BlobStore,
    ConfigurationError,
    ContextError,
    Limits,
    ThreadBusyError,
    create_rlm,
)
from langgraph_rlm.storage.ingest import ingest
from langgraph_rlm.testing import ScriptedModel, cell

from .jails import SANDBOXES
from .models import echo, rlm, root, shown, thread


def ask(*codes: str, context: Any = None, **options: Any) -> dict[str, Any]:
    return rlm(root(*codes), **options).invoke({"query": "q", "context": context})


class TestAnswers:
    @pytest.mark.parametrize(
        ("reply", "answer"),
        [
            (cell("FINAL('yes')"), "yes"),
            (cell("x = 'yes'\nFINAL_VAR('x')"), "yes"),
            (cell("x = 'yes'") + "\nFINAL_VAR(x)", "yes"),
            (cell("answer['content'] = 'yes'\nanswer['ready'] = True"), "yes"),
            (cell("answer = {'content': 'yes', 'ready': True}"), "yes"),
            ("Clearly.\n\nFINAL(f(x) and (g(y)))", "f(x) and (g(y))"),
            (cell("FINAL({'a': [1, 2.5, None]})"), '{"a":[1,2.5,null]}'),
            (cell("FINAL(42)\nFINAL(43)"), "42"),
            (
                cell(
                    "def f():\n    try:\n        FINAL('in')\n    except Exception:\n        pass\nf()\nFINAL('out')"
                ),
                "in",
            ),
            (cell("result = 'value itself'\nFINAL_VAR(result)"), "value itself"),
            (cell("print('first')") + cell("FINAL('second block')"), "second block"),
        ],
    )
    def test_every_way_to_end_a_run(self, reply: str, answer: str) -> None:
        out = rlm([reply]).invoke({"query": "q"})
        assert (out["answer"], out["stop_reason"]) == (answer, "answered")
        assert [message.content for message in out["messages"]] == [answer]

    def test_final_inside_a_string_of_code_does_not_end_the_run(self) -> None:
        model = root("s = '''\nFINAL(no)\n'''\nprint('FINAL(no)')", "FINAL('yes')")
        assert rlm(model).invoke({"query": "q"})["answer"] == "yes"

    def test_a_final_beside_a_cell_that_failed_does_not_count(self) -> None:
        model = ScriptedModel(
            replies=[
                cell("1/0") + "\nFINAL(blind)",
                cell("1/0") + "\nFINAL_VAR(x)",
                cell("FINAL('seen')"),
            ]
        )
        assert rlm(model).invoke({"query": "q"})["answer"] == "seen"
        assert "FINAL" in shown(model, 1)

    def test_a_variable_that_is_not_there_is_said(self) -> None:
        model = ScriptedModel(replies=["FINAL_VAR(nope)", cell("FINAL('ok')")])
        assert rlm(model).invoke({"query": "q"})["answer"] == "ok"
        assert "no variable 'nope'" in shown(model, 1)


class TestRepl:
    def test_a_cell_that_raises_keeps_what_it_had_bound(self) -> None:
        model = root("x = 5\ny = x / 0\nz = 1", "FINAL(x)")
        assert rlm(model).invoke({"query": "q"})["answer"] == "5"
        assert "ZeroDivisionError" in shown(model, 1)

    def test_a_function_sees_what_its_globals_are_now(self) -> None:
        assert ask("k = 1\ndef f():\n    return k", "k = 2", "FINAL(f())")["answer"] == "2"

    def test_shadowed_names_are_bound_anew_for_the_next_cell_and_the_model_is_told(self) -> None:
        model = root("llm_query = 5\ncontext = 'mine'", "FINAL(llm_query(context))")
        assert rlm(model).invoke({"query": "q", "context": "the input"})["answer"] == "len=9"
        assert "context, llm_query" in shown(model, 1)

    def test_an_input_is_sent_to_the_interpreter_once(self) -> None:
        """Ten turns over 20 MB take hardly longer than one."""
        context = "word " * 4_000_000
        started = time.monotonic()
        ask("n = len(context)", "FINAL(n)", context=context)
        one = time.monotonic() - started
        started = time.monotonic()
        assert ask(*["n = len(context)"] * 10, "FINAL(n)", context=context)["answer"] == str(
            len(context)
        )
        assert time.monotonic() - started < 4 * one + 1

    @pytest.mark.parametrize(
        ("code", "said"),
        [
            ("def f(:", "SyntaxError"),
            ("exit()", "Error"),
            ("import sys\nsys.exit(3)", "Error"),
            ("import os\nprint(os.environ['HOME'])", "Error"),
            ("open('/etc/passwd').read()", "PermissionError"),
            ("llm_query(5)", "llm_query: prompt 0 must be a str, got int"),
            ("llm_query()", "missing a required argument: 'prompt'"),
            ("llm_query_batched('abc')", "prompts must be a list of str, got str"),
            ("llm_query('a', model='nope')", "model='nope' is not known"),
            ("llm_query('  ')", "prompt 0 is empty"),
            ("rlm_query_batched(['a'], contexts=[1, 2])", "contexts must be a list of 1"),
            ("peek(0, 5, of='other')", "of='other' is no context"),
            ("peek(0, 5, of=['context'])", "of=['context'] is no context"),
            ("context_info(of={})", "of={} is no context"),
            ("grep('(?=x)')", "grep"),
            ("list(map(llm_query, ['a']))", "comprehension"),
            ("price(3, 4)", "takes 1 arguments, got 2"),
            ("price(thing=3)", "unknown thing"),
            ("price('many')", "price(count: int) -> int: count"),
        ],
    )
    def test_what_wrong_code_gets_to_see(self, code: str, said: str) -> None:
        def price(count: int) -> int:
            """The price of so many."""
            return count

        model = root(code, "FINAL('went on')")
        assert (
            rlm(model, tools=[price]).invoke({"query": "q", "context": "abc"})["answer"]
            == "went on"
        )
        assert said in shown(model, 1)

    def test_a_failing_call_is_an_exception_or_an_entry(self) -> None:
        def fails(text: str) -> Any:
            return ValueError("no luck") if "bad" in text else "fine"

        code = "try:\n    llm_query('bad')\nexcept RuntimeError as e:\n    caught = str(e)\nFINAL([caught] + llm_query_batched(['ok', 'bad']))"
        graph = rlm([cell(code)], sub=fails, checkpointer=InMemorySaver())
        out = graph.invoke({"query": "q"}, thread())
        assert json.loads(out["answer"]) == [
            "llm_query failed: ValueError: no luck",
            "fine",
            "Error: ValueError: no luck",
        ]
        log = graph.get_state(thread()).values["log"]
        assert [log[place]["error"] for place in ("0.0/0/0", "0.0/1/0", "0.0/1/1")] == [
            "ValueError: no luck",
            None,
            "ValueError: no luck",
        ]

    def test_code_picks_a_model_by_name(self) -> None:
        graph = rlm(
            [cell("FINAL(llm_query('x', model='loud') + llm_query('x'))")],
            models={"loud": ScriptedModel(answer=str.upper)},
        )
        assert graph.invoke({"query": "q"})["answer"] == "Xlen=1"

    def test_reads_are_logged_as_byte_ranges(self) -> None:
        graph = rlm(
            [
                cell(
                    "FINAL([peek(2, 4), peek(3, 6), grep('needle')[0]['line'], context_info()['length']])"
                )
            ],
            checkpointer=InMemorySaver(),
        )
        out = graph.invoke({"query": "q", "context": "äbcdefgh\n" * 10 + "a needle\n"}, thread())
        assert json.loads(out["answer"]) == ["cd", "def", 11, 99]
        (ranges,) = graph.get_state(thread()).values["log"]["0.0"]["reads"].values()
        assert ranges == [[3, 7], [100, 108]]

    def test_parallel_children_keep_their_output_apart(self) -> None:
        class Sub(ScriptedModel):
            def _scripted(self, messages: list[Any]) -> Any:
                return super()._scripted(messages) if messages[0].type == "system" else "leaf"

        sub = Sub(
            replies=[
                cell("for _ in range(50):\n    print(context)\n    llm_query('wait')"),
                cell("FINAL(context)"),
            ]
        )
        rlm(
            [cell("FINAL(rlm_query_batched(['q', 'q', 'q'], contexts=['AAA', 'BBB', 'CCC']))")],
            sub=sub,
            limits={"max_depth": 2},
        ).invoke({"query": "q"})
        seen = [messages[-1].text for messages in sub.prompts if len(messages) == 4]
        assert len(seen) == 3
        assert all(sum(name in text for name in ("AAA", "BBB", "CCC")) == 1 for text in seen)


class TestReplies:
    @pytest.mark.parametrize(
        "reply",
        [
            "",
            "   ",
            "I am thinking about it.",
            "```repl\nprint(1)\n",
            "```\nprint(1)\n```",
            AIMessage(""),
            AIMessage([]),
        ],
    )
    def test_a_reply_that_does_nothing_gets_a_nudge(self, reply: Any) -> None:
        model = ScriptedModel(replies=[reply, cell("FINAL('recovered')")])
        assert rlm(model).invoke({"query": "q"})["answer"] == "recovered"
        assert model.prompts[1][-1].type == "human"
        assert shown(model, 1).strip()

    def test_a_reply_of_another_role_is_a_reply(self) -> None:
        """Some models answer with a `ChatMessage`, which has neither usage nor tool calls."""

        class Other(ScriptedModel):
            async def _agenerate(
                self, messages: list[Any], stop: Any = None, run_manager: Any = None, **kwargs: Any
            ) -> Any:
                message = ChatMessage(role="oracle", content=cell("FINAL('spoken')"))
                return ChatResult(generations=[ChatGeneration(message=message)])

        assert create_rlm(Other()).invoke({"query": "q"})["answer"] == "spoken"

    def test_braces_in_a_custom_prompt_are_text(self) -> None:
        model = root("FINAL('ok')")
        rlm(model, prompt="Answer as {json: {{x}}} with 100%s {% raw").invoke({"query": "{q} %s"})
        assert "Answer as {json: {{x}}} with 100%s {% raw" in model.prompts[0][0].text
        assert "{q} %s" in model.prompts[0][1].text

    def test_the_context_is_never_in_the_conversation_or_a_checkpoint(self) -> None:
        saver, secret = InMemorySaver(), "unlikely words " * 10_000
        model = root(*["print('turn')"] * 4, "FINAL(len(context))")
        rlm(model, checkpointer=saver).invoke({"query": "q", "context": secret}, thread())
        sizes = [sum(len(message.text) for message in messages) for messages in model.prompts]
        assert max(sizes) < 20_000
        stored = repr(saver.storage) + repr(saver.writes) + repr(saver.blobs)
        assert "unlikely words " * 50 not in stored


class TestLimits:
    def test_iterations(self) -> None:
        model = ScriptedModel(replies=[cell("print('still')")] * 3 + ["FINAL(best so far)"])
        out = rlm(model, limits={"max_iterations": 3}).invoke({"query": "q"})
        assert (out["answer"], out["stop_reason"], model.calls) == (
            "best so far",
            "max_iterations",
            4,
        )
        assert "max_iterations of 3" in shown(model, 3)

    @pytest.mark.parametrize(
        ("reply", "answer"),
        [
            (cell("FINAL('in code')"), "in code"),
            (cell("FINAL({'n': 1})"), '{"n":1}'),
            ("<think>hm</think>in prose", "in prose"),
            (cell("FINAL(x)"), cell("FINAL(x)").strip()),
        ],
    )
    def test_the_best_answer_may_come_in_another_form(self, reply: str, answer: str) -> None:
        model = ScriptedModel(replies=[cell("x = 1"), reply])
        assert rlm(model, limits={"max_iterations": 1}).invoke({"query": "q"})["answer"] == answer

    def test_iterations_of_prose_alone(self) -> None:
        model = ScriptedModel(replies=["hm"])
        out = rlm(model, limits={"max_iterations": 2}).invoke({"query": "q"})
        assert (out["answer"], out["stop_reason"], model.calls) == ("hm", "max_iterations", 3)

    def test_sub_calls_over_the_whole_tree(self) -> None:
        """Two children are two sub-calls, the first one's three make five: the second's three are refused. One more is made, and the next ends the run."""

        class Sub(ScriptedModel):
            def _scripted(self, messages: list[Any]) -> Any:
                return super()._scripted(messages) if messages[0].type == "system" else "leaf"

        code = "try:\n    FINAL(' '.join(llm_query_batched(['a', 'b', 'c'])))\nexcept ValueError as error:\n    FINAL(str(error))"
        sub = Sub(replies=[cell(code)])
        model = ScriptedModel(
            replies=[
                cell(
                    "r = rlm_query_batched(['x', 'y'])\nprint(r)\nmore = [llm_query('late'), llm_query('later')]"
                ),
                "what I have",
            ]
        )
        out = rlm(model, sub=sub, limits={"max_depth": 2, "max_sub_calls": 6}).invoke(
            {"query": "q"}
        )
        assert (out["answer"], out["stop_reason"]) == ("what I have", "max_sub_calls")
        assert out["usage"]["sub_calls"] == 6
        assert shown(model, 1).count("leaf") == 3
        assert "a batch of 3, but sub-calls left: 1." in shown(model, 1)
        assert "Limit max_sub_calls of 6 reached" in shown(model, 1)

    def test_what_code_makes_of_the_calls_it_had_counts(self) -> None:
        code = "done = []\nfor i in range(9):\n    try:\n        done.append(llm_query(f'{i}'))\n    except RuntimeError:\n        break\nFINAL(len(done))"
        graph = rlm([cell(code)], limits={"max_sub_calls": 5}, checkpointer=InMemorySaver())
        out = graph.invoke({"query": "q"}, thread())
        assert (out["answer"], out["stop_reason"]) == ("5", "max_sub_calls")
        graph.rlm.sessions.drop_all()
        model = graph.rlm.model
        model.replies = [*model.replies, cell("FINAL(done)")]
        assert json.loads(graph.invoke({"query": "and now?"}, thread())["answer"]) == ["len=1"] * 5

    def test_code_that_never_stops_asking_is_stopped_and_rolled_back(self) -> None:
        code = "x = 2\nwhile True:\n    try:\n        llm_query('again')\n    except RuntimeError:\n        pass"
        model = ScriptedModel(replies=[cell("x = 1"), cell(code), "no more", cell("FINAL(x)")])
        graph = rlm(model, limits={"max_sub_calls": 5}, checkpointer=InMemorySaver())
        assert graph.invoke({"query": "q"}, thread())["stop_reason"] == "max_sub_calls"
        assert graph.invoke({"query": "and now?"}, thread())["answer"] == "1"

    def test_an_endless_loop_is_stopped_and_rolled_back(self) -> None:
        model = root("x = 1", "x = 2\nwhile True:\n    pass", "FINAL(x)")
        started = time.monotonic()
        assert rlm(model, limits={"max_cell_seconds": 1}).invoke({"query": "q"})["answer"] == "1"
        assert time.monotonic() - started < 10
        assert "rolled back" in shown(model, 2)

    def test_endless_memory_and_endless_output_end_the_cell_alone(self) -> None:
        model = root(
            "x = []\nwhile True:\n    x.append('a' * 10**6)",
            "x = None\nwhile True:\n    print('b' * 1000)",
            "FINAL('fine')",
        )
        assert (
            rlm(model, limits={"max_heap_bytes": 64 << 20}).invoke({"query": "q"})["answer"]
            == "fine"
        )
        assert "MemoryError" in shown(model, 1)

    def test_output_is_shown_head_and_tail(self) -> None:
        model = root("print('a' * 5000 + 'z' * 5000)", "FINAL(1)")
        rlm(model, limits={"max_output_chars": 1000}).invoke({"query": "q"})
        text = shown(model, 1)
        assert "aaa" in text
        assert "zzz" in text
        assert "9,001" in text or "9001" in text
        assert len(text) < 2000

    def test_calls_in_flight_are_limited_over_the_whole_tree(self) -> None:
        import threading

        lock, now, most = threading.Lock(), [0], [0]

        class Sub(ScriptedModel):
            async def _agenerate(
                self, messages: list[Any], stop: Any = None, run_manager: Any = None, **kwargs: Any
            ) -> Any:
                with lock:
                    now[0] += 1
                    most[0] = max(most[0], now[0])
                try:
                    return await super()._agenerate(messages, stop, run_manager, **kwargs)
                finally:
                    with lock:
                        now[0] -= 1

            def _scripted(self, messages: list[Any]) -> Any:
                return super()._scripted(messages) if messages[0].type == "system" else "leaf"

        sub = Sub(replies=[cell("FINAL(llm_query_batched(['a'] * 10))")], seconds=0.02)
        out = rlm(
            [cell("FINAL(rlm_query_batched(['x'] * 6))")],
            sub=sub,
            limits={"max_depth": 2, "max_concurrency": 4},
        ).invoke({"query": "q"})
        assert out["usage"]["sub_calls"] == 66
        assert 2 <= most[0] <= 4

    @pytest.mark.parametrize(
        "wrong",
        [
            {"max_iterationz": 3},
            {"max_iterations": 0},
            {"max_depth": "deep"},
            {"max_cell_seconds": -1},
        ],
    )
    def test_an_unknown_or_impossible_limit_names_the_limits(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(ConfigurationError, match="The limits are: max_depth"):
            Limits(**wrong)


class TestInputs:
    def test_messages_give_the_question_its_context_and_the_instructions(self) -> None:
        model = root("FINAL([context[0]['content'], len(context)])")
        messages = [
            SystemMessage("Speak softly."),
            HumanMessage("fact: 7"),
            AIMessage("noted"),
            HumanMessage("which fact?"),
        ]
        out = rlm(model).invoke({"messages": messages})
        assert json.loads(out["answer"]) == ["fact: 7", 2]
        assert "Speak softly." in model.prompts[0][0].text
        assert "which fact?" in model.prompts[0][1].text

    def test_a_follow_up_finds_variables_and_both_contexts(self) -> None:
        model = root("x = len(context)\nFINAL(x)", "FINAL([x, context, context_0, context_1])")
        graph = rlm(model, checkpointer=InMemorySaver())
        graph.invoke({"query": "first", "context": "one"}, thread())
        graph.rlm.sessions.drop_all()
        out = graph.invoke({"query": "second", "context": "two!"}, thread())
        assert json.loads(out["answer"]) == [3, "two!", "one", "two!"]
        assert out["usage"]["turns"] == 1

    def test_a_context_too_large_for_the_heap_is_read_by_the_host(self) -> None:
        model = root("print(context)", "FINAL(grep('needle')[0]['line'])")
        graph = rlm(model, limits={"max_heap_bytes": 1 << 20})
        assert (
            graph.invoke({"query": "q", "context": "hay\n" * 200_000 + "needle\n"})["answer"]
            == "200001"
        )
        assert "NameError" in shown(model, 1)
        assert "too large to be loaded: then context_info(), grep and peek read it" in shown(
            model, 1
        )
        assert "peek" in model.prompts[0][1].text

    @pytest.mark.parametrize(
        "given",
        [
            {"query": ""},
            {"query": " \n"},
            {"query": 5},
            {},
            {"messages": []},
            {"messages": [AIMessage("hi")]},
            "text",
        ],
    )
    def test_no_question_is_a_clear_error(self, given: Any) -> None:
        with pytest.raises(ContextError, match=r"question|input must be"):
            rlm([cell("FINAL(1)")]).invoke(given)

    @pytest.mark.parametrize("context", ["", [], {}])
    def test_an_empty_context_is_a_clear_error(self, context: Any) -> None:
        with pytest.raises(ContextError, match="empty"):
            rlm([cell("FINAL(1)")]).invoke({"query": "q", "context": context})

    @pytest.mark.parametrize("sandbox", SANDBOXES)
    def test_half_a_character_is_a_question_mark_for_code_and_models_and_stops_nothing(
        self, sandbox: Any
    ) -> None:
        """Lone surrogates: in a question, contexts, a reply and a sub-model's answer."""
        model = ScriptedModel(
            replies=[
                "hm \ud800",
                cell("FINAL([context, history[0]['reply'], llm_query(context['a'])])"),
            ]
        )
        sub = ScriptedModel(answer=lambda prompt: f"{prompt} \udfff")
        out = rlm(model, sub=sub, sandbox=sandbox).invoke(
            {"query": "half \udcff", "context": {"a": "x\ud83d"}}
        )
        assert json.loads(out["answer"]) == [{"a": "x?"}, "hm ?", "x? ?"]
        assert all(
            message.text.isascii()
            for messages in (*model.prompts, *sub.prompts)
            for message in messages
        )

    def test_a_str_that_names_a_file_is_text_and_the_user_is_warned(self, tmp_path: Path) -> None:
        (tmp_path / "contract.txt").write_text("what is in it")
        graph = rlm([cell("FINAL(context)")])
        with pytest.warns(UserWarning, match="give Path"):
            out = graph.invoke({"query": "q", "context": str(tmp_path / "contract.txt")})
        assert out["answer"] == str(tmp_path / "contract.txt")

    def test_a_vanished_blob_is_named(self, tmp_path: Path) -> None:
        graph = rlm(
            root("x = 1", "FINAL(len(context))"),
            checkpointer=InMemorySaver(),
            blob_store=tmp_path / "own",
            interrupt_on={},
        )
        asyncio.run(_one_turn(graph, {"query": "q", "context": "x" * 30_000_000}))
        for file in [
            path
            for path in (tmp_path / "own").rglob("*")
            if path.is_file() and path.stat().st_size > 10_000_000
        ]:
            file.unlink()
        with pytest.raises(BlobError, match="missing"):
            graph.invoke(None, thread())

    def test_two_callers_on_one_thread_at_once(self) -> None:
        graph = rlm(
            ScriptedModel(replies=[cell("FINAL(1)")], seconds=0.3), checkpointer=InMemorySaver()
        )

        async def both() -> list[Any]:
            return await asyncio.gather(
                *(graph.ainvoke({"query": "q"}, thread()) for _ in range(2)), return_exceptions=True
            )

        first, second = asyncio.run(both())
        assert first["answer"] == "1"
        assert isinstance(second, ThreadBusyError)
        assert graph.invoke({"query": "q"}, thread())["answer"] == "1"

    def test_two_users_at_once_share_nothing(self) -> None:
        class Own(ScriptedModel):
            def _scripted(self, messages: list[Any]) -> Any:
                return (
                    cell("x = context\nllm_query('wait')")
                    if len(messages) == 2
                    else cell("FINAL(x)")
                )

        graph = rlm(
            Own(), sub=ScriptedModel(answer=echo, seconds=0.01), checkpointer=InMemorySaver()
        )

        async def users() -> list[Any]:
            return await asyncio.gather(
                *(
                    graph.ainvoke({"query": "q", "context": f"secret {n}"}, thread(str(n)))
                    for n in range(30)
                )
            )

        assert [out["answer"] for out in asyncio.run(users())] == [f"secret {n}" for n in range(30)]


class TestSetUp:
    @pytest.mark.parametrize(
        ("model", "said"),
        [
            ("gpt-5", "names no provider"),
            ("openai:gpt-5", "OPENAI_API_KEY"),
            ("acme:big", "model='acme:big' cannot be used"),
            (7, "is not a chat model"),
        ],
    )
    def test_a_model_that_cannot_be_used(self, model: Any, said: str) -> None:
        with pytest.raises(ConfigurationError, match=said):
            create_rlm(model)

    def test_an_unknown_sandbox_or_tool(self) -> None:
        with pytest.raises(ConfigurationError, match="'docker' is not known"):
            rlm(["x"], sandbox="docker")
        with pytest.raises(ConfigurationError, match="not among the tools"):
            rlm(["x"], interrupt_on={"nothing": True})


async def _one_turn(graph: Any, given: dict[str, Any]) -> None:
    async for update in graph.astream(given, thread(), stream_mode="checkpoints"):
        if update["next"] == ["plan_code"] and "0.0" in update["values"]["log"]:
            return


@pytest.mark.parametrize("fatal", [SystemExit, KeyboardInterrupt])
def test_an_exit_in_a_users_tool_reaches_the_caller_and_harms_no_other_run(
    fatal: type[BaseException],
) -> None:
    """asyncio ends its loop at these two, and that loop serves every sync caller."""

    def leave() -> None:
        """Leave."""
        raise fatal("from a tool")

    with pytest.raises(fatal):
        rlm([cell("leave()")], tools=[leave]).invoke({"query": "go"})
    assert rlm([cell("FINAL(1)")]).invoke({"query": "go"})["answer"] == "1"


def test_a_caller_who_knows_a_digest_cannot_have_what_is_stored_under_it(tmp_path: Path) -> None:
    """What looks like an input by reference is data where it comes from outside."""
    store = BlobStore.open(tmp_path / "shared")
    handle = ingest("another user's secret", store).as_dict()
    graph = rlm([cell("FINAL(context)")], blob_store=store)
    assert json.loads(
        graph.invoke({"query": "go", "context": {"rlm_handles": [handle]}})["answer"]
    ) == {"rlm_handles": [handle]}
    with pytest.raises(ContextError, match="question is empty or not a text"):
        graph.invoke({"query": {"blob": handle["digest"], "chars": 21}})


def test_a_sync_call_that_would_wait_for_itself_says_so() -> None:
    inner = rlm([cell("FINAL(1)")])

    async def ask() -> str:
        """Ask another RLM, wrongly."""
        return inner.invoke({"query": "go"})["answer"]

    model = ScriptedModel(replies=[cell("ask()"), cell("FINAL(2)")])
    assert rlm(model, tools=[ask]).invoke({"query": "go"})["answer"] == "2"
    assert "Await ainvoke there" in shown(model, 1)
