"""The demo: its lines are the same for the same seed, and both answers are checked against the truth."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from langgraph_rlm.cli.demo import build, complaints_in, questions
from langgraph_rlm.cli.main import main
from tests.openai_server import Body, OpenAIServer, turn_of


@pytest.fixture(autouse=True)
def _own_temp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temp"))


def demo(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["demo", "--lines", "20000", "--sub-calls", "20", *arguments])


def test_the_offline_demo_finds_both_truths_and_leaves_nothing_behind(tmp_path: Path) -> None:
    result = demo()
    assert result.exit_code == 0, result.stderr
    first = result.stdout.splitlines()[0]
    assert "scripted" in first
    assert "langgraph-rlm demo --model openai:gpt-5" in first
    assert result.stdout.count("right, as the lines were made") == 2
    assert "20 of 20" in result.stderr
    assert list((tmp_path / "temp").iterdir()) == []


def test_the_demo_keeps_its_folder_when_asked(tmp_path: Path) -> None:
    result = demo("--keep")
    (kept,) = (tmp_path / "temp").iterdir()
    assert f"Kept: {kept}" in result.stderr
    assert {path.name for path in kept.iterdir()} >= {"lines.txt", "threads.db", "blobs"}


def test_the_same_seed_makes_the_same_lines(tmp_path: Path) -> None:
    one, same, other = (
        build(tmp_path / str(i), lines=5_000, sub_calls=10, seed=seed)
        for i, seed in enumerate((1, 1, 2))
    )
    assert one.path.read_bytes() == same.path.read_bytes() != other.path.read_bytes()
    assert len(one.path.read_text().splitlines()) == 5_000
    assert one.path.read_text().count(f"the magic number is {one.magic}") == 1


@pytest.mark.parametrize("seed", range(5))
def test_the_truth_is_what_the_lines_say(tmp_path: Path, seed: int) -> None:
    """The sub-model goes by the words of a remark, the truth by how the remark was made."""
    haystack = build(tmp_path / "lines", lines=4_000, sub_calls=100, seed=seed)
    assert len(complaints_in(haystack.path.read_text()).splitlines()) == haystack.complaints
    assert complaints_in("an only line of small words") == "NONE"


def test_an_answer_is_right_when_its_only_number_is_the_truth(tmp_path: Path) -> None:
    needle, _ = questions(build(tmp_path / "lines", lines=1_000, sub_calls=10, seed=0), 10)
    assert needle.is_right(f"The magic number is {int(needle.truth):,}.")
    assert not needle.is_right(f"{needle.truth} or 7")
    assert not needle.is_right("unknown")


def test_a_real_model_gets_the_same_questions_and_the_truth_is_shown_beside_its_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def reply(body: Body) -> str:
        return "```repl\nFINAL(len(context))\n```" if turn_of(body) == 0 else "FINAL(12)"

    with OpenAIServer(reply) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "any")
        result = demo("--model", "openai:scripted")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("Demo with openai:scripted")
    assert result.stdout.count("the truth is") == 2
    assert "Answer 2: 12 (the truth is" in result.stdout
    assert "magic number" in server.requests[0]["messages"][-1]["content"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sub-model", "openai:small"], "--sub-model needs --model"),
        (["--lines", "1000", "--sub-calls", "500"], "500 sub-calls need at least 2000 lines"),
    ],
)
def test_a_demo_that_cannot_be_is_refused(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(main, ["demo", *arguments])
    assert result.exit_code == 2
    assert message in result.stderr


def test_without_its_key_a_real_model_is_one_clear_line() -> None:
    result = demo("--model", "openai:gpt-5")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert "OPENAI_API_KEY" in result.stderr
    assert len(result.stderr.splitlines()) == 1
