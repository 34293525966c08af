import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argenseg_model.errors import TokenizerError
from argenseg_model.tokenizer import BOS, PROMPT_TOKENS, Tokenizer, load_tokenizer, train_byte_bpe

OFFICIAL = Path(__file__).parent / "fixtures" / "tokenizer"
EXPECTED = json.loads((OFFICIAL / "expected.json").read_text(encoding="utf-8"))
CORPUS = [
    "Please segment all nuclei in this image.",
    "a small red circle left of the blue square",
    "Segment nothing.",
] * 9


@pytest.fixture(scope="module")
def official() -> Tokenizer:
    return load_tokenizer(OFFICIAL)


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return train_byte_bpe(CORPUS, 320, tmp_path_factory.mktemp("starter"))


@pytest.mark.parametrize("case", EXPECTED["cases"], ids=lambda case: ascii(case["text"][:30]))
def test_official_ids_and_text_equal_the_slow_tokenizer(official: Tokenizer, case: dict) -> None:
    assert official(case["text"]) == {"input_ids": case["ids"]}
    assert official.encode(case["text"], add_bos=False) == case["ids"][1:]
    assert official.decode(case["ids"]) == case["decoded"]


def test_official_length_and_special_tokens(official: Tokenizer) -> None:
    assert len(official) == EXPECTED["length"]
    assert official.special_tokens["<visual token 000063>"] == 1176
    assert official.special_tokens["<|im_end|>"] == official.special_tokens["[UNUSED_TOKEN_145]"] == 1098


def test_every_special_text_becomes_its_token_in_the_middle_of_text(official: Tokenizer, starter: Tokenizer) -> None:
    for tokenizer in (official, starter):
        for text, token_id in tokenizer.special_tokens.items():
            assert token_id in tokenizer.encode(f"the {text} dog", add_bos=False), text


def test_special_tokens_are_kept_on_demand(official: Tokenizer, starter: Tokenizer) -> None:
    text = "Sure, the segmentation result: <ge_start><ge_end>.<|im_end|>"
    for tokenizer in (official, starter):
        assert tokenizer.decode(tokenizer.encode(text), skip_special_tokens=False) == BOS + text
        assert tokenizer.decode(tokenizer.encode(text)) == "Sure, the segmentation result: ."


def test_starter_vocabulary_ends_with_the_special_tokens_in_order(starter: Tokenizer) -> None:
    names = [BOS, "</s>", "<pad>", *PROMPT_TOKENS]
    assert [starter.special_tokens[name] for name in names] == list(range(len(starter) - len(names), len(starter)))
    assert len(starter) == 320
    ids = starter("Please segment all nuclei in this image.")["input_ids"]
    assert ids[0] == starter.special_tokens[BOS] and ids.count(ids[0]) == 1
    assert len(ids) < 20  # merges were learned: 40 characters


@given(st.text())
def test_starter_round_trips_any_text(starter: Tokenizer, text: str) -> None:
    assert starter.decode(starter.encode(text), skip_special_tokens=False) == BOS + text


@given(st.text(alphabet=st.sampled_from("<>|_/[] abgeimstarn145UNSEDTOK")))
def test_official_keeps_ordinary_text(official: Tokenizer, text: str) -> None:
    if not any(special in text for special in official.special_tokens):
        assert official.decode(official.encode(text)) == text


def test_training_is_reproducible(starter: Tokenizer, tmp_path: Path) -> None:
    again = train_byte_bpe(iter(CORPUS), 320, tmp_path)
    assert again.encode("all red nuclei") == starter.encode("all red nuclei")
    assert [file.name for file in tmp_path.iterdir()] == ["tokenizer.json"]


def test_saved_copies_load_alike(official: Tokenizer, starter: Tokenizer, tmp_path: Path) -> None:
    for name, tokenizer in {"official": official, "starter": starter}.items():
        tokenizer.save(tmp_path / name)
        again = load_tokenizer(tmp_path / name)
        again.save(tmp_path / name)  # onto itself: nothing is lost
        assert load_tokenizer(tmp_path / name).special_tokens == tokenizer.special_tokens
        assert again("Segment the <mask>.") == tokenizer("Segment the <mask>.")


def test_what_is_saved_is_what_was_loaded(official: Tokenizer, starter: Tokenizer, tmp_path: Path) -> None:
    """Whatever became of the folder since: it was removed, or holds another tokenizer."""
    for tokenizer in (official, starter):
        tokenizer.save(tmp_path)
        loaded = load_tokenizer(tmp_path)
        shutil.rmtree(tmp_path)
        loaded.save(tmp_path)
        assert load_tokenizer(tmp_path)("all nuclei") == tokenizer("all nuclei")
        shutil.rmtree(tmp_path)
    other = train_byte_bpe(["another corpus"] * 9, 300, tmp_path / "source")
    assert other("all nuclei") != starter("all nuclei")
    starter.save(tmp_path / "source")
    other.save(tmp_path / "copy")
    assert load_tokenizer(tmp_path / "copy")("all nuclei") == other("all nuclei")


@pytest.mark.parametrize("token_id", [-1, 1177])
def test_an_id_outside_the_vocabulary_is_an_error(official: Tokenizer, token_id: int) -> None:
    with pytest.raises(TokenizerError, match="is no text"):
        official.decode([1, token_id])


def test_a_folder_without_tokenizer_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"needs tokenizer\.model"):
        load_tokenizer(tmp_path)


LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1477754\n"


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("tokenizer.model", LFS_POINTER),
        ("tokenizer.model", b""),
        ("tokenizer.model", (OFFICIAL / "tokenizer.model").read_bytes()[:5000]),
        ("tokenizer_config.json", None),
        ("tokenizer_config.json", b"{"),
        ("tokenizer_config.json", b"[]"),
        ("tokenizer_config.json", b"\xff\xfe"),
        ("tokenizer_config.json", b'{"added_tokens_decoder": {"x": {}}}'),
        ("tokenizer_config.json", b'{"added_tokens_decoder": {}}'),
        ("tokenizer_config.json", b'{"added_tokens_decoder": {"2000": {"content": "<far>", "special": true}}}'),
        ("tokenizer_config.json", b'{"added_tokens_decoder": {"99999999999": {"content": "<far>", "special": true}}}'),
        ("tokenizer_config.json", b"[" * 100_000),
        ("tokenizer_config.json", b'{"added_tokens_decoder": {"1": {"content": "<s>", "lstrip": true}}}'),
    ],
)
def test_damaged_official_files_are_named(tmp_path: Path, file: str, content: bytes | None) -> None:
    for name in ("tokenizer.model", "tokenizer_config.json"):
        shutil.copyfile(OFFICIAL / name, tmp_path / name)
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(TokenizerError, match=file):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", LFS_POINTER])
def test_a_damaged_starter_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(TokenizerError, match=r"tokenizer\.json"):
        load_tokenizer(tmp_path)


def test_the_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    shutil.copyfile(OFFICIAL / "tokenizer.model", tmp_path / "tokenizer.model")
    config = json.loads((OFFICIAL / "tokenizer_config.json").read_text(encoding="utf-8"))
    added = {i: entry for i, entry in config["added_tokens_decoder"].items() if int(i) < 1109}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": added}))
    with pytest.raises(TokenizerError, match="it lacks <mask>, <ge_start>"):
        load_tokenizer(tmp_path)


def test_a_vocabulary_smaller_than_the_bytes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="need 268"):
        train_byte_bpe(CORPUS, 200, tmp_path)
    assert not any(tmp_path.iterdir())
