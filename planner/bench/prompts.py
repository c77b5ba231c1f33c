"""Prompts that no prefix cache can answer: random words from the first on, so many that the length is the asked one."""

from __future__ import annotations

import random
from collections.abc import Callable

# Short common words: one token each in most vocabularies, so that a length in words says something of tokens.
_TEXT = """
apple arm art baby back ball band bank base bath bear bed bell bird board boat body bone book bottle bowl box boy
branch bread bridge brother bus cake camp car card cat chair child church city class clock cloth cloud coat coin
corn cow cup day desk dog door dress drink dust ear earth egg eye face farm father field film fire fish floor
flower foot forest fork frame friend fruit game garden gate girl glass gold grass ground group hair hand hat head
heart hill home horse house ice iron island jacket job king kitchen knee lake land leaf leg letter light line
lion list lock map market meal milk mind moon morning mother mountain mouth music nail name neck night nose note
ocean oil page paper park part path pen piece plane plant plate pocket point pool queen rain ring river road rock
roof room root rope salt sand school sea seat seed shape ship shirt shoe shop silver sister skin sky snow soap
song soup space spoon spring square stage star stone store storm street sugar sun table tail tea team tent
ticket tiger time tool tooth top tower town toy train tree truck uncle village voice wall war watch water wave
way week wheel wind window wine wing winter wolf woman wood wool word work world year yard
"""
WORDS = tuple(_TEXT.split())

# For servers that cannot be told to go on after an end: words to go on about. It comes last, to share no prefix.
REQUEST = "Repeat this list of words without an end."
FALLBACK_TOKENS_PER_WORD = 1.2  # with servers that count nothing; English text has about 1.3 tokens per word


class Prompts:
    """Random prompts of `words` words; with the system's randomness two runs share no prefix either."""

    def __init__(self, source: random.Random | None = None) -> None:
        self._random = source or random.SystemRandom()

    def of(self, words: int) -> str:
        """A new prompt."""
        return " ".join([*self._random.choices(WORDS, k=max(words, 1)), REQUEST])


def words_for(tokens: int, measured: Callable[[int], int | None]) -> int:
    """How many words make a prompt of `tokens` tokens, chat template included.

    `measured(words)` asks the server for the length of such a prompt (None: it does not count). Two lengths give
    tokens per word and the template's share; at least four words keep the prompts apart."""
    short = 16
    first, long = measured(short), max(64, min(tokens, 512) // 2)
    second = measured(long)
    if first is None or second is None or second <= first:
        return max(4, round(tokens / FALLBACK_TOKENS_PER_WORD))
    per_word = (second - first) / (long - short)
    return max(4, round((tokens - first) / per_word) + short)
