"""Chapter 10 on language models: cache, sampling, servers, kernels, questions; tiny stand-ins and a local server."""

import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch

from beyondloss.data import HubError
from beyondloss.experiment import code_digest
from beyondloss.experiment.digest import Reach
from beyondloss.methods.hallucination import asking, kernels, models, questions
from beyondloss.methods.hallucination.asking import OnServer, OnThisMachine, Reply, ReplyCache, Request, ask


def tiny_bert(byte_tokenizer, folder, labels=None):
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, BertModel

    torch.manual_seed(1)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(vocab_size=262, max_position_embeddings=128, pad_token_id=257, **sizes)
    if labels:
        config.id2label, config.label2id = dict(enumerate(labels)), {n: i for i, n in enumerate(labels)}
    (BertForSequenceClassification if labels else BertModel)(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(byte_tokenizer).save_pretrained(folder)
    return str(folder)


class Parrot:
    """Counts what it is asked; may stop after some batches."""

    name, batch = "parrot", 2

    def __init__(self, patience=99):
        self.seen, self.patience = [], patience

    def answer(self, requests):
        if len(self.seen) >= self.patience:
            raise KeyboardInterrupt
        self.seen += requests
        return [Reply((request.prompt,) * request.samples, request.samples, 0.1) for request in requests]


def test_a_stopped_run_repeats_no_call(tmp_path):
    wanted, asked = (
        [Request(f"question {i}", samples=3) for i in range(7)],
        ReplyCache(tmp_path / "asked.sqlite", ["code"]),
    )
    first = Parrot(patience=4)
    with pytest.raises(KeyboardInterrupt):
        ask(first, wanted, asked)
    second = Parrot()
    found = ask(second, [*wanted, wanted[0]], asked)
    assert len(first.seen) == 4 and second.seen == wanted[4:]
    assert [reply.texts[0] for reply in found] == [request.prompt for request in [*wanted, wanted[0]]]
    third = Parrot()
    ask(third, [Request("question 0", samples=3, seed=1)], asked)
    assert len(third.seen) == 1  # another seed is another question


@pytest.mark.parametrize("code, batch, asked_again", [("code", 2, 0), ("other code", 2, 7), ("code", 3, 7)])
def test_replies_of_other_code_or_other_settings_are_not_taken(tmp_path, code, batch, asked_again):
    wanted = [Request(f"question {i}") for i in range(7)]
    ask(Parrot(), wanted, ReplyCache(tmp_path / "asked.sqlite", ["code"]))
    later = Parrot()
    later.batch = batch
    ask(later, wanted, ReplyCache(tmp_path / "asked.sqlite", [code]))
    assert len(later.seen) == asked_again


def test_the_code_that_answers_reaches_the_loader_and_the_tuned_twin():
    reached = {name for _, name in Reach.of(models.speaking).nodes}
    assert reached >= {"OnThisMachine", "OnServer", "tuned_twin", "uniforms"}
    assert models.answered_by() == (
        code_digest(models.speaking),
        "cuda" if torch.cuda.is_available() else "cpu",
    )


def test_a_model_on_this_machine_answers_line_by_line(tiny_llama):
    model = OnThisMachine(str(tiny_llama))
    wanted = [Request(text, samples=4, tokens=6, chat=False) for text in ("a", "longer prompt")]
    replies = model.answer(wanted)
    assert [len(reply.texts) for reply in replies] == [4, 4]
    assert all(4 <= reply.tokens <= 24 and reply.seconds > 0 for reply in replies)
    assert not any("\n" in text or text != text.strip() for reply in replies for text in reply.texts)
    assert [reply.texts for reply in replies] == [model.answer([request])[0].texts for request in wanted]
    assert model.text(Request("Hello", opening=" It is")) == "<user>Hello<assistant> It is"
    with pytest.raises(ValueError, match="differ in samples"):
        model.answer([wanted[0], replace(wanted[1], seed=1)])


class Server(BaseHTTPRequestHandler):
    """Answers as an OpenAI-compatible server does; `script` holds statuses that come first."""

    script, seen = [], []

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        Server.seen.append((self.path, self.headers.get("Authorization"), asked))
        status = Server.script.pop(0) if Server.script else 200
        choice = (
            {"message": {"content": " Paris "}}
            if self.path.endswith("chat/completions")
            else {"text": " Paris "}
        )
        said = {"choices": [choice] * asked["n"], "usage": {"completion_tokens": 7}}
        body = json.dumps(said if status == 200 else {"error": "no such model"}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(asking, "PATIENCE", 0.01)
    Server.script, Server.seen = [], []
    running = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}/v1"
    running.shutdown()
    running.server_close()


def test_a_server_is_asked_in_its_own_words(server):
    with OnServer(server, "small", "secret") as model:
        chat, plain = model.answer(
            [Request("Capital?", samples=3, opening="It is"), Request("A:", chat=False)]
        )
    assert chat == Reply(("Paris",) * 3, 7, chat.seconds) and plain.texts == ("Paris",)
    (path, key, asked), (other, _, bare) = Server.seen
    assert (path, key, asked["n"], asked["model"]) == ("/v1/chat/completions", "Bearer secret", 3, "small")
    assert [turn["role"] for turn in asked["messages"]] == ["user", "assistant"]
    assert other == "/v1/completions" and bare["prompt"] == "A:"


def test_a_busy_server_is_asked_again_and_a_refusal_is_told(server):
    with OnServer(server, "small") as model:
        Server.script = [429, 503]
        assert model.answer([Request("Capital?")])[0].texts == ("Paris",)
        Server.script = [404]
        with pytest.raises(HubError, match="status 404.*no such model"):
            model.answer([Request("Capital?")])
    with (
        OnServer("http://127.0.0.1:9/v1", "small") as nobody,
        pytest.raises(HubError, match="is the server up"),
    ):
        nobody.answer([Request("Capital?")])


# Kernels -----------------------------------------------------------------------------------------------------


def test_equality_reads_over_case_articles_and_punctuation():
    found = kernels.Equality()(["The Hague.", "Paris"], ["the hague", "hague", "Lyon"])
    assert found.tolist() == [[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]


def test_embeddings_are_cosines_and_each_text_is_encoded_once(byte_tokenizer, tmp_path):
    encode = kernels.sentence_encoder(tiny_bert(byte_tokenizer, tmp_path), batch=2)
    count = []
    kernel = kernels.Embedding(lambda texts: count.append(len(texts)) or encode(texts))
    gram = kernel(["Rome", "Oslo", "Rome"], ["Oslo", "Rome"])
    assert gram[0, 1] == pytest.approx(1) and gram[1, 0] == pytest.approx(1) and (gram >= 0).all()
    kernel(["Rome"], ["Oslo"])
    assert count == [2]
    single = encode(["Rome"])
    assert np.allclose(encode(["Rome", "a much longer text than the first"])[0], single[0], atol=1e-5)


def test_entailment_goes_both_ways_and_judges_a_pair_once(byte_tokenizer, tmp_path):
    folder = tiny_bert(byte_tokenizer, tmp_path, ["contradiction", "entailment", "neutral"])
    classify = kernels.entailment_classifier(folder)
    count = []
    kernel = kernels.Entailment(lambda pairs: count.append(len(pairs)) or classify(pairs))
    gram = kernel(["Rome", "Oslo"], ["Rome", "Oslo"])
    both = classify([("Rome", "Oslo"), ("Oslo", "Rome")]).mean()
    assert gram == pytest.approx(np.array([[1, both], [both, 1]]), abs=1e-5)
    kernel(["Oslo"], ["Rome"])
    assert count == [2]


def test_a_classifier_without_entailment_is_refused(byte_tokenizer, tmp_path):
    folder = tiny_bert(byte_tokenizer, tmp_path, ["good", "bad"])
    with pytest.raises(HubError, match="none of them is 'entailment'"):
        kernels.entailment_classifier(folder)


# Questions ---------------------------------------------------------------------------------------------------


def test_tables_make_questions_whose_examples_are_not_asked():
    asked = questions.capitals() + questions.elements()
    shown = [beginning for topic in questions.EXAMPLES for beginning, _ in questions.examples(topic)]
    assert len(asked) > 200 and not {q.text for q in asked} & set(shown)
    france = next(q for q in asked if "France" in q.text)
    assert questions.is_right("It is PARIS, of course", france) and not questions.is_right("Parisian", france)
    assert questions.dialogue(france).endswith("Q: What is the capital of France?\nA:")
    assert questions.statement(france).endswith("\nThe capital of France is")


ROWS = {
    "TriviaQA": {"question": "Who?", "answer": {"value": "Ada", "aliases": ["Lovelace", "Ada"]}},
    "Natural Questions": {"question": "Who?", "answer": ["Ada", "Lovelace"]},
    "SQuAD": {
        "question": " Who? ",
        "context": "…",
        "answers": {"text": ["Ada", "Lovelace"], "answer_start": [0, 4]},
    },
}


def set_folder(folder, row, config):
    folder.mkdir()
    (folder / "validation.jsonl").write_text("\n".join(json.dumps(row) for _ in range(4)))
    files = "data_files:\n  - split: validation\n    path: validation.jsonl"
    (folder / "README.md").write_text(
        f"---\nconfigs:\n- config_name: {config or 'default'}\n  {files}\n---\n"
    )
    return str(folder)


@pytest.mark.parametrize("name", list(ROWS))
def test_three_layouts_of_question_sets(name, tmp_path, fresh_dataset_cache):
    folder = set_folder(tmp_path / "set", ROWS[name], questions.SETS[name][1])
    found = questions.answered_set(name, 3, folder)
    assert found == [questions.Question("Who?", ("Ada", "Lovelace"), "", name)] * 3
    other = set_folder(tmp_path / "other", {"text": "no question"}, questions.SETS[name][1])
    with pytest.raises(HubError, match="has no column 'question'"):
        questions.answered_set(name, 3, other)


# The whole path ----------------------------------------------------------------------------------------------


def test_a_pair_of_tiny_models_is_measured(
    tiny_llama, byte_tokenizer, tmp_path, own_store, fresh_dataset_cache, monkeypatch
):
    """Every full-scale step: data set, two models, cache, entailment, cross-fitted detectors."""
    folder = set_folder(tmp_path / "set", ROWS["TriviaQA"], "rc.nocontext")
    rows = [ROWS["TriviaQA"] | {"question": f"Who is number {i}?"} for i in range(24)]
    (tmp_path / "set" / "validation.jsonl").write_text("\n".join(map(json.dumps, rows)))
    nli = tiny_bert(byte_tokenizer, tmp_path / "nli", ["contradiction", "entailment", "neutral"])
    point = models.ModelsPoint(
        target=f"{tiny_llama} as chat", verifier=f"{tiny_llama} as dialogue", data="TriviaQA", kernel="entailment",
        questions=24, m=3, tokens=3, batch=8, entailment=nli, data_folder=folder,
    )  # fmt: skip
    monkeypatch.setattr(questions, "is_right", lambda answer, question: int(question.text[-2]) % 2 == 0)
    monkeypatch.setattr(models.metrics, "bootstrap", lambda statistic, questions, resamples: (0.0, 1.0))
    (found,) = models.run_models([point])
    json.dumps(found)
    assert found["wrong_share"] == 0.5 and found["target_calls"] == found["verifier_calls"] == 72
    assert len(found["own_distance"]) == 24 and "value 0.5" in found["detector"]
    monkeypatch.setattr(models, "speaking", None)  # all is known now: no model is loaded
    assert models.run_models([point])[0]["auroc"] == found["auroc"]


def test_a_model_without_a_style_is_refused():
    with pytest.raises(ValueError, match="MODEL as STYLE"):
        models.ModelsPoint(target="Qwen/Qwen2.5-7B-Instruct", verifier="b as chat")
