"""General statements of going along and of holding back, which lines of any talk are near to.

They give fitted weights a footing that does not depend on what the fitted calls were about. Their
vectors travel inside the weights, so a change here counts from the next fitting on.
"""

ALONG: dict[str, tuple[str, ...]] = {
    "agrees": (
        "Yes, that is something I would like.",
        "Sure, I can fit that in.",
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
        "I believe I could handle that.",
        "I have managed things like that before.",
        "I know that I can manage it.",
        "It would not be hard for me.",
        "I could start with a small step.",
        "I can afford that.",
    ),
    "names reasons": (
        "It would make life easier for me and my family.",
        "I would sleep better at night.",
        "It matters a lot to me.",
        "I owe it to the people who count on me.",
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
        "What a clever idea.",
        "I like that very much.",
        "I am glad you told me, thank you.",
        "This is worth doing.",
        "I am impressed.",
        "That makes sense to me.",
        "That would help me a great deal.",
    ),
    "is curious": (
        "I want to find out more about this.",
        "How exactly does all of this work?",
        "How would I go about it?",
        "What would you need from me?",
        "That is news to me, and interesting.",
    ),
    "shares the concern": (
        "I have been there myself, so I understand.",
        "I care a lot about this.",
        "I have taken part in something like this before.",
        "Yes, I know about that already.",
        "I feel the same way about that.",
    ),
}
BACK: dict[str, tuple[str, ...]] = {
    "refuses": (
        "No, thank you.",
        "This does not interest me.",
        "I do not want to do that.",
        "No, I am not doing that.",
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
        "How can I be sure that this is genuine?",
        "I doubt that it helps.",
        "I am sceptical about that.",
        "I would have to think about it first.",
        "Most of the money goes to the people on top.",
    ),
    "sees no need": (
        "I do not see a problem with it.",
        "It is not a big deal.",
        "I am fine the way things are.",
        "I do not think I need to change anything.",
        "Most people I know do the same.",
        "It does not bother me.",
        "I am not worried about it.",
    ),
    "likes it as it is": (
        "I like it the way it is.",
        "I would miss my old ways.",
        "My days suit me well as they are.",
        "I have always done it like this with my friends.",
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
        "I already spend my money on other things.",
        "I prefer to do it another way.",
        "I would rather stay with what I know.",
        "No, your company is new to me.",
        "This is meant for other people than me.",
    ),
}


def anchor_texts() -> tuple[str, ...]:
    """Return every statement, group by group."""
    return tuple(text for group in (*ALONG.values(), *BACK.values()) for text in group)
