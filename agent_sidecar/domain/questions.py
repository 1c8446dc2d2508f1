"""Questions: how many a line asks, with punctuation or without.

A recogniser may write question marks or none. A sentence that ends with one is a question;
any other is read for the forms in which people ask: inversion (“is it …”, “what does it …”), tags
(“…, isn't it”), and requests for an answer (“tell me …”, “I was wondering how …”).
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from agent_sidecar.domain.words import plain_words

_SENTENCE = re.compile(r"[^.!?\u2026]+[.!?\u2026]*|[?]+")

_ASKING = frozenset("how what when where who whose why which".split())
_AUXILIARIES = frozenset(
    "is are was were am do does did has have had can could will would should might may".split()
)
# whom an auxiliary before them asks about
_SUBJECTS = frozenset("i you he she it we they this that these those there anyone".split())
_DETERMINERS = frozenset("the a an your my his her their our any".split())
# what a question may open after, in text without commas
_OPENERS = frozenset(
    "and but or so well okay ok yeah yes yep no nah oh um uh uhm hm hmm hi hello hey right sure "
    "now then also like just because wow please alright great thanks sorry actually maybe first "
    "nice cool good fine honestly".split()
)
# after these “do you” is no question: "neither do you", "as do you"
_NO_BREAK = _ASKING | {"neither", "nor", "as", "than", "only", "not", "never", "that", "if", "i"}
# openings that look like questions and are not
_EXCLAIMING = frozenset({("what", "a"), ("what", "an"), ("how", "nice"), ("how", "lovely")})
# at the end, these ask for a yes
_STRONG_TAGS = frozenset({"right", "correct", "huh", "eh"})
# "that is right", "you are absolutely right"
_BEFORE_NO_TAG = frozenset(
    "all is am are the not absolutely totally exactly quite so know be".split()
)
_WHOLE = frozenset(
    tuple(phrase.split())
    for phrase in (
        "and you|and yours|how about you|what about you|how about yourself|and yourself|you|"
        "what|why|how|who|when|where|really|how come|how so|like what|such as|for real|seriously|"
        "is that so|what else|anything else|why not|since when|says who|what if|so what|pardon|"
        "excuse me|come again|who is this|who is that|meaning|which one|how much|how many|how long|"
        "how often|what for|what kind|you sure|any questions|which|ready"
    ).split("|")
)
_ANYWHERE = tuple(
    tuple(phrase.split())
    for phrase in ("how about|what about|how come|what if|any idea|any ideas").split("|")
)


def _by_first_word(phrases: Iterable[Sequence[str]]) -> Mapping[str, Sequence[tuple[str, ...]]]:
    found: dict[str, list[tuple[str, ...]]] = {}
    for phrase in phrases:
        found.setdefault(phrase[0], []).append(tuple(phrase))
    return found


# a request for an answer, then what it is about; by its first word
_REQUESTS = _by_first_word(
    tuple(phrase.split())
    for phrase in (
        "was wondering|am wondering|i wonder|am curious|was curious|want to know|like to know|"
        "need to know|love to know|wanted to ask|want to ask|like to ask|wanted to know|tell me|"
        "let me know|explain to me|remind me|may i ask|let me ask"
    ).split("|")
)
_ABOUT = _ASKING | {"if", "whether", "about", "more", "you"}
# who says these tells, and does not ask: "they tell me", "do not tell me"
_TELLERS = frozenset("they he she people you not friends to will".split())


def question_count(text: str) -> int:
    """Return how many questions are asked."""
    return sum(_in_sentence(sentence) for sentence in _SENTENCE.findall(text))


def _in_sentence(sentence: str) -> int:
    if "?" in sentence:
        return 1
    words = plain_words(sentence)
    if not words:
        return 0
    if words in _WHOLE:
        return 1
    count, at = 0, 0
    while at < len(words):
        size = _asked_at(words, at)
        count += size > 0
        at += max(1, size)
    return count or int(_has_tag(words))


def _asked_at(words: Sequence[str], at: int) -> int:
    """Return how many words the opening of a question takes here; 0: none begins."""
    opens = at == 0 or words[at - 1] in _OPENERS
    if size := _request(words, at):
        return size
    if words[at] in _ASKING:
        return _open_question(words, at, opens=opens)
    if words[at] in _AUXILIARIES:
        if opens:
            return _closed_question(words, at)
        # in the middle only “do you”: “… is it …” may end one clause and begin another
        rest = [word for word in words[at + 1 : at + 3] if word != "not"]
        asks_you = rest[:1] == ["you"]
        return 2 if asks_you and words[at - 1] not in _NO_BREAK else 0
    return _fixed(words, at) if opens else 0


def _open_question(words: Sequence[str], at: int, *, opens: bool) -> int:
    """Find “what does it cost”, “how much is that”, “who pays”; not “when I get home”."""
    following = tuple(words[at + 1 : at + 6])
    if not following or (words[at], following[0]) in _EXCLAIMING:
        return 0
    for place, word in enumerate(following[:4]):
        if word in _AUXILIARIES and place + 1 < len(following):
            subject = following[place + 1]
            asked = subject in _SUBJECTS or (subject in _DETERMINERS and words[at] != "who")
            if asked and (opens or place or subject in _SUBJECTS):
                return place + 3
        if word in _SUBJECTS or word == "to":
            break
    if not opens:
        return 0
    # the asking word is the subject: "who pays for it", "what happens then", "how you doing"
    second = following[0]
    if (words[at], second) in {
        ("how", "about"),
        ("what", "about"),
        ("how", "come"),
        ("what", "if"),
    }:
        return 2
    if tuple(words[at : at + 3]) == ("how", "you", "doing"):
        return 3
    leads = words[at] in {"who", "what", "which", "whose", "how"}
    plain = second not in _SUBJECTS and second not in _DETERMINERS and second != "to"
    return 2 if leads and plain and len(words) - at > 1 + (words[at] == "how") else 0


def _closed_question(words: Sequence[str], at: int) -> int:
    """Find “is it real”, “do you have any”, “can't I just”; not “can do that”."""
    rest = words[at + 1 : at + 3]
    if rest and rest[0] == "not":
        rest = rest[1:]
    if not rest:
        return 0
    if rest[0] in _SUBJECTS:
        return 2
    determined = rest[0] in _DETERMINERS and words[at] in {"is", "are", "was", "were", "does", "do"}
    return 2 if determined and words[at] != "do" else 0


def _request(words: Sequence[str], at: int) -> int:
    for request in _REQUESTS.get(words[at], ()):
        end = at + len(request)
        if tuple(words[at:end]) != request or (at and words[at - 1] in _TELLERS):
            continue
        if request[-1] in {"wondering", "ask", "wonder"} or (
            end < len(words) and words[end] in _ABOUT
        ):
            # what it asks is one question with it
            return len(words) - at
    return 0


def _fixed(words: Sequence[str], at: int) -> int:
    for phrase in _ANYWHERE:
        if tuple(words[at : at + len(phrase)]) == phrase:
            return len(phrase)
    return 0


def _has_tag(words: Sequence[str]) -> bool:
    """Say whether it ends as people ask for a yes: “…, isn't it”, “…, right”, “and you”."""
    if tuple(words[-2:]) in {("and", "you"), ("about", "you"), ("or", "what")}:
        return True
    if len(words) > 2 and words[-1] in _STRONG_TAGS:
        return words[-2] not in _BEFORE_NO_TAG
    return (
        len(words) > 3
        and words[-1] in _SUBJECTS
        and words[-2] == "not"
        and words[-3] in _AUXILIARIES
    )
