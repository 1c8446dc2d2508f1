"""General statements of going along and of holding back, which lines of any talk are near to.

They give fitted weights a footing that does not depend on what the fitted calls were about. Their
vectors travel inside the weights, so a change here counts from the next fitting on.
"""

ALONG: dict[str, tuple[str, ...]] = {
    "agrees": (
        "Yes, I would like that.",
        "Sure, I can do that.",
        "Okay, let's do it.",
        "That works for me, count me in.",
        "I am happy to do it.",
        "Yes, definitely, I agree.",
        "I would be willing to try.",
        "You have convinced me.",
    ),
    "wants it": (
        "I really want to do something about it.",
        "I want things to be different.",
        "I would love to be able to do that.",
        "I wish I could change this.",
        "I am looking forward to it.",
        "I hope to get there soon.",
    ),
    "thinks he can": (
        "I think I could do that.",
        "I have done it before and it worked.",
        "I know that I can manage it.",
        "It would not be hard for me.",
        "I could start with a small step.",
        "I can afford that.",
    ),
    "names reasons": (
        "It would be better for my family and my health.",
        "I would feel much better.",
        "It matters a lot to me.",
        "I need to do this for my kids.",
        "This is important and it would help.",
        "I worry about what happens if nothing changes.",
    ),
    "commits himself": (
        "I am going to do it this week.",
        "I will take care of it.",
        "I promise that I will.",
        "I have already started.",
        "I have decided to do it.",
        "I am ready.",
    ),
    "praises it": (
        "That sounds great.",
        "That is a wonderful idea.",
        "I like that very much.",
        "That is good to hear, thank you.",
        "It is a good cause.",
        "I am impressed.",
        "That makes sense to me.",
        "That would be helpful.",
    ),
    "is curious": (
        "Tell me more about it.",
        "How does it work?",
        "How would I do that?",
        "What can I do to help?",
        "That is interesting, I did not know that.",
    ),
    "shares the concern": (
        "I have children myself, so I understand.",
        "I care a lot about this.",
        "I have helped in that way before.",
        "Yes, I have heard of it.",
        "I feel the same way about that.",
    ),
}
BACK: dict[str, tuple[str, ...]] = {
    "refuses": (
        "No, thank you.",
        "I am not interested.",
        "I do not want to do that.",
        "No, I will not.",
        "I would rather not.",
        "Not right now.",
        "I have to decline.",
    ),
    "thinks he cannot": (
        "I cannot afford it.",
        "I do not have the money for it right now.",
        "I have no time for that.",
        "I just can't do it.",
        "It is too hard for me.",
        "I tried and it did not work.",
        "I do not think I would be able to.",
    ),
    "doubts it": (
        "I am not sure about this.",
        "I do not know if I can trust that.",
        "How do I know that it is real?",
        "I doubt that it helps.",
        "I am sceptical about that.",
        "I would have to think about it first.",
        "Most of it never gets where it should.",
    ),
    "sees no need": (
        "I do not see a problem with it.",
        "It is not a big deal.",
        "I am fine the way things are.",
        "I do not think I need to change anything.",
        "Everybody does it.",
        "It does not bother me.",
        "I am not worried about it.",
    ),
    "likes it as it is": (
        "I like it the way it is.",
        "I enjoy it too much to give it up.",
        "It helps me to relax.",
        "It is just what I do with my friends.",
        "It is part of my life.",
    ),
    "resists": (
        "I do not want to be told what to do.",
        "Other people keep pushing me.",
        "I am only here because I have to be.",
        "That is none of your business.",
        "I do not believe that.",
        "That would not work for me.",
        "It is not my responsibility.",
    ),
    "has something else": (
        "I already give to something else.",
        "I prefer to do it another way.",
        "I would rather help people near me.",
        "No, I have never heard of it.",
        "I have no children.",
    ),
}


def anchor_texts() -> tuple[str, ...]:
    """Return every statement, group by group."""
    return tuple(text for group in (*ALONG.values(), *BACK.values()) for text in group)
