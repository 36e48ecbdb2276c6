"""Who the agents are: specifications and agents.toml, each mistake one sentence with the line at fault."""

from __future__ import annotations

import pytest

from darwin.agents.errors import AgentError, ModelsStopped
from darwin.agents.ledger import Allowance, Price, price_of, prices
from darwin.agents.members import TEMPLATE, members, read
from darwin.agents.upstream import Upstream
from darwin.errors import UsageError
from darwin.models import OPENAI, endpoint_of, seats
from tests.models.scripted import ScriptedServer


def test_a_specification_mixes_kinds():
    found = members("rules:4,openai:2", "gpt-5-mini", "file").members
    assert [m.kind for m in found] == ["rules"] * 4 + ["openai"] * 2
    assert [m.name for m in found][-1] == "Edsger" or len({m.name for m in found}) == 6
    assert {(m.model, m.style) for m in found} == {("", "diff"), ("gpt-5-mini", "file")}
    assert len(members("openai", "m").members) == 6


@pytest.mark.parametrize("text", ["openai:2", "openai"])
def test_a_model_has_to_be_named(text):
    with pytest.raises(AgentError, match="Give --model NAME"):
        members(text)


def test_agents_toml_says_everything(tmp_path):
    path = tmp_path / "agents.toml"
    path.write_text(
        '[[agent]]\nname = "Ada"\nmodel = "gpt-5"\nendpoint = "http://localhost:8000/v1"\ntemperature = 1\n'
        'temperament = "likes norms"\nstyle = "chunks"\nprompt_tokens = 9000\nanswer_tokens = 900\n'
        "calls = 5\ndollars = 0.5\n"
        '[[agent]]\nkind = "rules"\ntemperament = "bold"\n[limits]\ntokens = 100\n[prices]\n"gpt-5" = [1, 2]\n'
    )
    found = read(path)
    ada, alan = found.members
    assert (ada.model, ada.style, ada.temperament, ada.temperature) == ("gpt-5", "chunks", "likes norms", 1)
    assert (ada.limits, found.limits) == (Allowance(calls=5, dollars=0.5), Allowance(tokens=100))
    assert (alan.name, alan.kind, alan.temperament) == ("Alan", "rules", "bold")
    assert found.prices == {"gpt-5": Price(1.0, 2.0)}


def test_the_template_can_be_read(tmp_path):
    path = tmp_path / "agents.toml"
    path.write_text(TEMPLATE)
    assert [m.kind for m in read(path).members] == ["openai", "rules", "rules"]
    path.write_text(TEMPLATE.replace("# ", "").replace("Who the", "# Who the").replace("[limits]  ", "[limits]  #")
                    .replace("[prices]  ", "[prices]  #").replace("key = \"OPENROUTER_API_KEY\"    ", "key = \"K\" # ")
                    .replace("endpoint = \"http://localhost:8000/v1\"   ", "endpoint = \"http://localhost/v1\" # ")
                    .replace("temperament = \"bold\"          ", "temperament = \"bold\" # ")
                    .replace("style = \"diff\"                ", "style = \"diff\" # ")
                    .replace("prompt_tokens = 16000         ", "prompt_tokens = 16000 # ")
                    .replace("calls = 100                   ", "calls = 100 # ")
                    .replace("kind = \"openai\"                 ", "kind = \"openai\" # "))  # fmt: skip
    found = read(path)
    assert found.limits.dollars == 5.0 and found.members[0].key == "K"


MISTAKES = [
    ("unknown key", '[[agent]]\nmodel = "m"\nmodle = "x"\n', 3, '"modle" is unknown'),
    ("unknown table", '[[agent]]\nmodel = "m"\n[other]\nx = 1\n', 3, '"other" is unknown'),
    (
        "unknown kind",
        '[[agent]]\nmodel = "m"\n\n[[agent]]\nkind = "human"\n',
        5,
        'the kind "human" is unknown',
    ),
    ("no model", '[[agent]]\nmodel = "m"\n\n[[agent]]\nname = "Bob"\n', 4, "Bob has no model"),
    (
        "duplicate name",
        '[[agent]]\nname = "Ada"\nmodel = "m"\n[[agent]]\nname = "ada"\nmodel = "m"\n',
        5,
        "given twice",
    ),
    ("bad name", '[[agent]]\nname = "../x"\nmodel = "m"\n', 2, "will not do"),
    ("unknown style", '[[agent]]\nmodel = "m"\nstyle = "poem"\n', 3, "the styles are diff"),
    ("wrong type", '[[agent]]\nmodel = "m"\ntemperature = "hot"\n', 3, "expected type"),
    ("out of bounds", '[[agent]]\nmodel = "m"\ntemperature = 9\n', 3, "not between 0 and 2"),
    ("no address", '[[agent]]\nmodel = "m"\nendpoint = "localhost"\n', 3, "no address"),
    ("a key itself", '[[agent]]\nmodel = "m"\nkey = "sk-abc"\n', 3, "never the key itself"),
    ("a model for rules", '[[agent]]\nkind = "rules"\nmodel = "m"\n', 3, "of kind rules"),
    ("rules' temperament", '[[agent]]\nkind = "rules"\ntemperament = "wild"\n', 3, "unknown to rules"),
    ("unknown limit", '[[agent]]\nmodel = "m"\n[limits]\neuros = 5\n', 4, '"euros" is unknown'),
    ("no limit", '[[agent]]\nmodel = "m"\n[limits]\ndollars = -5\n', 4, "is no limit"),
    ("bad price", '[[agent]]\nmodel = "m"\n[prices]\n"m" = 5\n', 4, "two numbers"),
]


@pytest.mark.parametrize(("text", "line", "words"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_a_mistake_is_one_sentence_with_its_line(tmp_path, text, line, words):
    path = tmp_path / "agents.toml"
    path.write_text(text)
    with pytest.raises(AgentError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}, line {line}: ") and words in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "names no agent"), ("[[agent]\n", "is not TOML"), ("agent = 1\n", "names no agent")],
)
def test_what_is_no_list_of_agents_is_named(tmp_path, text, words):
    path = tmp_path / "agents.toml"
    path.write_text(text)
    with pytest.raises(AgentError, match=words):
        read(path)


def test_keys_go_only_where_they_belong(tmp_path, monkeypatch):
    path = tmp_path / "agents.toml"
    path.write_text('[[agent]]\nmodel = "m"\n[[agent]]\nmodel = "m"\nendpoint = "http://other/v1"\n'
                    '[[agent]]\nmodel = "m"\nendpoint = "http://third/v1"\nkey = "THIRD_KEY"\n')  # fmt: skip
    monkeypatch.setenv("OPENAI_API_KEY", "sk-first")
    monkeypatch.setenv("THIRD_KEY", "sk-third")
    found = [endpoint_of(m) for m in read(path).members]
    assert [(e.url, e.key) for e in found] == [
        (OPENAI, "sk-first"),
        ("http://other/v1", ""),
        ("http://third/v1", "sk-third"),
    ]
    monkeypatch.delenv("THIRD_KEY")
    with pytest.raises(
        UsageError, match=r"agents\.toml, line 9: Barbara's key should be in THIRD_KEY, and that"
    ):
        endpoint_of(read(path).members[2])
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(
        UsageError, match=r"agents\.toml, line 2: Ada asks the model m, but there is neither a key"
    ):
        endpoint_of(read(path).members[0])


def test_an_endpoint_that_will_not_do_is_named_with_its_line_and_its_keys_name(tmp_path, monkeypatch):
    monkeypatch.setenv("THIRD_KEY", "sk-wrong")
    path = tmp_path / "agents.toml"
    agent = '[[agent]]\nmodel = "m"\nendpoint = "{}"\nkey = "THIRD_KEY"\n'
    path.write_text(agent.format("http://127.0.0.1:9/v1"))
    with pytest.raises(
        AgentError, match=r"127\.0\.0\.1:9 \(endpoint in .*agents\.toml, line 3\) cannot be reached"
    ):
        Upstream(endpoint_of(read(path).members[0])).models()
    with ScriptedServer(lambda body: "", key="sk-right") as server:
        path.write_text(agent.format(server.url))
        with pytest.raises(ModelsStopped, match=r"Check THIRD_KEY \(.*agents\.toml, line 4\)\.$"):
            Upstream(endpoint_of(read(path).members[0])).models()
        path.write_text(agent.format(server.url).replace('key = "THIRD_KEY"\n', ""))
        with pytest.raises(ModelsStopped, match=r"agents\.toml, line 3 names no key for this endpoint\.$"):
            Upstream(endpoint_of(read(path).members[0])).models()


def test_prices_are_known_free_here_and_the_users_own_win(tmp_path, monkeypatch):
    assert price_of("openai/gpt-5-mini:free", prices()) == prices()["gpt-5-mini"]
    assert price_of("unheard-of", prices()) is None
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:8000/v1")
    assert seats(members("openai:1", "gpt-5"))[0].price == Price(0.0, 0.0)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://far.invalid/v1")
    assert seats(members("openai:1", "gpt-5"))[0].price == prices()["gpt-5"]
