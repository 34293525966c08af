"""Text <-> ids for the two kinds of checkpoint, behind one small interface (`Tokenizer`).

- The official layout: sentencepiece's `tokenizer.model`, and the added tokens of `tokenizer_config.json`. Some of these
  rename pieces that the sentencepiece model has (`[UNUSED_TOKEN_145]` is `<|im_end|>`), the others follow its end.
  Read by us: code named in the config's `auto_map` is never executed.
- The starter's: byte-level BPE in one `tokenizer.json` (Hugging Face `tokenizers`), special tokens behind the ordinary
  vocabulary. `train_byte_bpe` makes it.

In both, text between special tokens is encoded piece by piece and `<s>` is put in front once. A tokenizer turns the
text of a special token into that token: text that a person typed must be neutralised before it comes here.
"""

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Any

import sentencepiece
import tokenizers
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from argenseg_model.errors import TokenizerError
from argenseg_model.files import replace_file

BOS = "<s>"
PROMPT_TOKENS = (
    *("<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>"),
    *("<mask>", "<ge_start>", "<ge_end>", "<MASK_CONTEXT>"),
)
"""Special tokens of the prompt and answer templates: a tokenizer without them is none of ARGenSeg's."""

SENTENCEPIECE_FILE, CONFIG_FILE, BYTE_BPE_FILE = "tokenizer.model", "tokenizer_config.json", "tokenizer.json"
TOKENIZER_FILES = (SENTENCEPIECE_FILE, CONFIG_FILE, BYTE_BPE_FILE)


class Tokenizer(ABC):
    """Text to ids and back. `len(tokenizer)` is the number of ids it knows.

    `special_tokens` maps every text that becomes a special token to its id, the official visual tokens and the second
    spellings of renamed pieces included.
    """

    def __init__(self, special_tokens: Mapping[str, int], length: int, folder: Path, files: Mapping[str, bytes]):
        missing = [token for token in (BOS, *PROMPT_TOKENS) if token not in special_tokens]
        if missing:
            raise TokenizerError(
                f"{folder}: not an ARGenSeg tokenizer, it lacks {', '.join(missing)}; "
                "take the tokenizer files from the checkpoint's own folder"
            )
        self.special_tokens: Mapping[str, int] = MappingProxyType(dict(special_tokens))
        self._special_ids = frozenset(self.special_tokens.values())
        self._length = length
        self._files = dict(files)

    def __len__(self) -> int:
        return self._length

    def __deepcopy__(self, memo: dict[int, Any]) -> "Tokenizer":
        return self  # it never changes, so copies of a model share it

    def __call__(self, text: str) -> dict[str, list[int]]:
        """`{"input_ids": ids}` of the text, `<s>` first."""
        return {"input_ids": self.encode(text)}

    def encode(self, text: str, add_bos: bool = True) -> list[int]:
        """Ids of the text; the texts of special tokens become these tokens."""
        return [self.special_tokens[BOS], *self._encode(text)] if add_bos else self._encode(text)

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = True) -> str:
        """Text of the ids. Raises TokenizerError for an id beyond the vocabulary (a visual token of the starter)."""
        ids = [int(i) for i in ids]
        unknown = [i for i in ids if not 0 <= i < len(self)]
        if unknown:
            raise TokenizerError(f"id {unknown[0]} is no text: this tokenizer knows the ids 0 to {len(self) - 1}")
        if skip_special_tokens:
            return self._decode([i for i in ids if i not in self._special_ids])
        runs = groupby(ids, key=self._special_ids.__contains__)
        return "".join(
            "".join(map(self._special_text, run)) if special else self._decode(list(run)) for special, run in runs
        )

    def save(self, folder: str | Path) -> None:
        """Write the tokenizer's files into `folder` (made if need be): `load_tokenizer(folder)` gives the same one.

        They are those that were read, whatever lies there now.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in self._files.items():
            with replace_file(folder / name) as partial:
                partial.write_bytes(content)

    @abstractmethod
    def _encode(self, text: str) -> list[int]: ...

    @abstractmethod
    def _decode(self, ids: list[int]) -> str:
        """Text of ordinary ids (no special ones)."""

    @abstractmethod
    def _special_text(self, token_id: int) -> str: ...


class SentencePieceTokenizer(Tokenizer):
    """The tokenizer of an official checkpoint: ids equal those of its slow InternLM2 tokenizer."""

    def __init__(self, folder: Path):
        config_file = folder / CONFIG_FILE
        files = {name: _read(folder / name) for name in (SENTENCEPIECE_FILE, CONFIG_FILE)}
        try:
            self._pieces = sentencepiece.SentencePieceProcessor()
            self._pieces.LoadFromSerializedProto(files[SENTENCEPIECE_FILE])
        except RuntimeError as error:
            raise _unreadable(folder / SENTENCEPIECE_FILE, error) from error
        added = _added_tokens(config_file, files[CONFIG_FILE])
        self._added = {content: token_id for token_id, (content, _) in added.items()}
        special = {content: token_id for token_id, (content, is_special) in added.items() if is_special}
        length = max(len(self._pieces), max(added) + 1)
        behind = sorted(token_id for token_id in added if token_id >= len(self._pieces))
        gap = next((i for i, token_id in enumerate(behind, len(self._pieces)) if token_id != i), None)
        if gap is not None:
            raise TokenizerError(f"{config_file}: no added token has the id {gap}; fetch the file again")
        # The sentencepiece model still knows renamed pieces by their old names: those texts become special tokens too.
        renamed = {self._pieces.id_to_piece(i): i for i in special.values() if i < len(self._pieces)}
        super().__init__(renamed | special, length, folder, files)
        self._content = {token_id: content for token_id, (content, _) in added.items()}
        # Leftmost, longest match first, as the slow tokenizer's trie.
        longest_first = sorted(self._added, key=len, reverse=True)
        self._split = re.compile("(" + "|".join(map(re.escape, longest_first)) + ")").split

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = []
        for chunk in self._split(text):
            if chunk in self._added:
                ids.append(self._added[chunk])
            elif chunk:
                ids.extend(self._pieces.encode(chunk))
        return ids

    def _decode(self, ids: list[int]) -> str:
        return str(self._pieces.decode(ids))

    def _special_text(self, token_id: int) -> str:
        return self._content[token_id]


class ByteBPETokenizer(Tokenizer):
    """The starter's tokenizer: every text comes back from its ids unchanged."""

    def __init__(self, folder: Path):
        content = _read(folder / BYTE_BPE_FILE)
        try:
            self._bpe = tokenizers.Tokenizer.from_buffer(content)
        except Exception as error:  # the library raises plain Exception for a damaged file
            raise _unreadable(folder / BYTE_BPE_FILE, error) from error
        added = self._bpe.get_added_tokens_decoder()
        special = {token.content: token_id for token_id, token in added.items() if token.special}
        super().__init__(special, self._bpe.get_vocab_size(with_added_tokens=True), folder, {BYTE_BPE_FILE: content})

    def _encode(self, text: str) -> list[int]:
        return self._bpe.encode(text, add_special_tokens=False).ids

    def _decode(self, ids: list[int]) -> str:
        return self._bpe.decode(ids, skip_special_tokens=False)

    def _special_text(self, token_id: int) -> str:
        return str(self._bpe.id_to_token(token_id))


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """The tokenizer of a checkpoint folder: `tokenizer.model` (official layout) or `tokenizer.json` (the starter's).

    Raises TokenizerError when there is neither, or when a file is damaged or not one of an ARGenSeg checkpoint.
    """
    folder = Path(folder)
    if (folder / SENTENCEPIECE_FILE).is_file():
        return SentencePieceTokenizer(folder)
    if (folder / BYTE_BPE_FILE).is_file():
        return ByteBPETokenizer(folder)
    raise TokenizerError(
        f"{folder}: no tokenizer there; it needs {SENTENCEPIECE_FILE} and {CONFIG_FILE} (official layout), "
        f"or {BYTE_BPE_FILE}"
    )


def train_byte_bpe(corpus: Iterable[str], vocab_size: int, folder: str | Path) -> Tokenizer:
    """Train a starter tokenizer on the corpus, write `folder/tokenizer.json`, return it loaded.

    `vocab_size` counts everything (at least 256 bytes + 12 special tokens); a small corpus may give fewer ids. The
    special tokens come last: `<s> </s> <pad>`, then PROMPT_TOKENS; a model's visual tokens follow behind and are not in
    the file.
    """
    special = [BOS, "</s>", "<pad>", *PROMPT_TOKENS]
    alphabet = ByteLevel.alphabet()
    smallest = len(alphabet) + len(special)
    if vocab_size < smallest:
        raise TokenizerError(f"vocab_size is {vocab_size}; bytes and special tokens alone need {smallest}")
    bpe = tokenizers.Tokenizer(BPE())
    bpe.pre_tokenizer = ByteLevel(add_prefix_space=False)
    bpe.decoder = ByteLevelDecoder()
    bpe.train_from_iterator(
        corpus, BpeTrainer(vocab_size=vocab_size - len(special), initial_alphabet=alphabet, show_progress=False)
    )
    bpe.add_special_tokens(special)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with replace_file(folder / BYTE_BPE_FILE) as partial:
        bpe.save(str(partial))
    return load_tokenizer(folder)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise _unreadable(file, error) from error


def _added_tokens(config_file: Path, content: bytes) -> dict[int, tuple[str, bool]]:
    """{id: (content, whether it is special)} of `added_tokens_decoder`."""
    try:
        entries: dict[str, Any] = json.loads(content.decode("utf-8"))["added_tokens_decoder"]
        added = {int(i): (str(entry["content"]), bool(entry.get("special"))) for i, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _unreadable(config_file, error) from error
    if not added or min(added) < 0 or not all(content for content, _ in added.values()):
        raise TokenizerError(f"{config_file}: no added tokens, or an empty one; fetch the file again")
    for entry in entries.values():
        if any(entry.get(flag) for flag in ("lstrip", "rstrip", "single_word")):
            raise TokenizerError(
                f"{config_file}: {entry['content']} asks for lstrip, rstrip or single_word: not an ARGenSeg tokenizer"
            )
    return added


def _unreadable(file: Path, error: Exception) -> TokenizerError:
    reason = str(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
    return TokenizerError(
        f"{file}: cannot be read ({reason[:200]}); fetch it again from the checkpoint's source "
        "(a file of some 130 bytes is a Git LFS pointer, not the file itself)"
    )
