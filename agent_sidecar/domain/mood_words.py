"""What words and idioms say about the mood of people on the phone who are asked for something."""

# what a word alone says, -1 (against) to 1 (for)
MOOD_WORDS = {
    1.0: "love loved loving amazing perfect perfectly fantastic wonderful awesome excited exciting "
    "thrilled delighted brilliant absolutely definitely terrific",
    0.5: "excellent yes yep yup sure ready willing fine indeed trust believe hopeful motivated "
    "inspired inspiring generous kind friendly comfortable relieved easier improve improved "
    "improvement benefit beneficial valuable legitimate legit honest reliable safe healthy "
    "strong support supportive important eager enthusiastic",
    0.7: "great good glad happy nice interested interesting helpful thanks thank enjoy enjoyed "
    "enjoying exactly appreciate appreciated impressive impressed cool best better agree "
    "agreed deal worth worthwhile beautiful grateful proud gladly happily certainly totally "
    "lovely pleased pleasure fun confident success successful yay wow bless blessed "
    "congratulations kudos super",
    0.3: "yeah okay ok alright fair useful easy hope hoping welcome true works help helps helping "
    "helped want wanted please curious possible able sounds right learn learning gain save "
    "saving saved win winning growing progress opportunity clear cares caring smart correct "
    "gotcha afford",
    -0.3: "unsure late sorry slow but however although though only anymore hesitate hesitant "
    "depends long wait waiting complicated vague struggle struggled struggling hmm stopped "
    "either less least barely hardly forced unfortunately",
    -0.5: "never busy doubt doubts doubtful hard difficult concern concerned concerns tired "
    "problem problems confused confusing boring cold wary careful cautious sceptical skeptical "
    "nervous uncomfortable expensive pricey debt debts broke poor worried worry worries "
    "worrying risk risky stress stressed stressful fail failed failing failure trouble sick "
    "pain painful lonely bored weird awkward issue issues lack lacking refuse refused "
    "unlikely impossible unable against quit losing loss argue overwhelmed",
    -0.7: "no nope nah bad badly worse waste wasted wasting wrong annoying annoyed pushy afraid "
    "scared scary suspicious useless ridiculous tough fake lost sad upset unhappy miserable "
    "depressed depressing frustrated frustrating frustration disappointed disappointing mad "
    "corrupt dishonest shady sketchy greedy pointless nonsense crap sucks suck unfair reject "
    "disagree disagreed bother bothering bothered dislike disliked anxious anxiety hurt",
    -1.0: "scam scams scammed scammer scammers fraud terrible awful horrible angry liar liars lie "
    "lies lying worst ripoff disgusting hate hated hates hating stupid idiot garbage bullshit "
    "furious outrageous damn hell",
}

# what several words say together; they are read as one, in plain words (contractions opened)
MOOD_IDIOMS = {
    1.0: "can not wait|could not agree more|could not be better|could not be happier|"
    "count me in|sign me up|i am in|let us do it|hell yes|hell yeah|would love|"
    "sounds great|sounds amazing",
    0.7: "sounds good|sounds fine|makes sense|make sense|of course|no doubt|without a doubt|"
    "no question about it|good idea|i would like|we would like|would like to|"
    "looking forward|look forward|you are right|that is right|that is true|fair enough|"
    "why not|go ahead|for sure|no brainer|i will do|i will try|i can do that|"
    "i do care|thumbs up",
    0.5: "not bad|not too bad|not so bad|not half bad|can not complain|no complaints|"
    "no problem|no problems|no worries|not a problem|nothing to lose|do not see why not|"
    "can not say no|will not regret|not have a problem|no big deal|not a bad|do not mind|"
    "would not mind|nothing wrong with|no issue|never better|no objection|tell me more|"
    "sure why not|sounds like a plan|not a scam|not expensive|not hard|do not worry|"
    "i like|we like|really like|do like|like that|like it|like to|like the|i need to|"
    "i have to change|i am going to|no reason not",
    0.0: "sounds like|feels like|looks like|kind of|sort of|no idea|right now|"
    "all right then|you know|i mean|right there|no matter|fine print|good luck|"
    "good morning|good afternoon|good evening|good bye|good night|good day|"
    "hard working|how long|as long as|long time|so long|not only|not just|"
    "not only that|thank god|pretty much|hang on|hold on|no one else|no longer|"
    "do you like|want to know|like this|would you like|in no time|what is wrong|"
    "the problem is|no wonder|at least|last but not least",
    -0.4: "not sure|i do not know|do not know|i guess|not really|not yet|maybe later|"
    "not today|not now|so so|not so much|not much|too much|too long|too late|too far|"
    "too old|hard to say|i suppose|if you say so|yeah but|yes but|okay but|ok but|"
    "have to think|need to think|think about it|could be better|not too good|"
    "not too great|not so good|not so great|not great|not good|not that great|"
    "on the other hand|at the moment|what is the catch|the catch|not the best",
    -0.7: "yeah right|as if|no thanks|no thank you|no thank|yeah no|yes no|no way|"
    "not interested|i am good thanks|i am good thank|i am all set|i will pass|fed up|"
    "sick of|tired of|rather not|not for me|no need|not a chance|no chance|"
    "too good to be true|could not care less|do not care|do not want|do not need|"
    "do not like|do not trust|do not believe|do not agree|do not think so|"
    "can not afford|no interest|no money|no time|not worth|do not have|does not work|"
    "would not work|will not work|leave it|hang up|do not see|not happy|not going to|"
    "will not|never mind|nothing to|what is the point|no point|no good|no use|"
    "have a hard time|get lost|go away|all talk|so what",
    -1.0: "leave me alone|waste of|wasting my time|rip off|ripped off|ripping|piss off|"
    "pissed off|shut up|stop calling|do not call|take me off|screw you|get out of here|"
    "are you kidding me|give me a break|how dare you|full of it",
}

# these are said with a pause in them: “yeah, no”, “no, thank you”
PAUSED_IDIOMS = frozenset(
    "no thank|no thank you|no thanks|ok but|okay but|sure why not|yeah but|yeah no|"
    "yes but|yes no".split("|")
)

# how much a word before another makes of it
DEGREES = {
    1.3: "very really so extremely totally absolutely completely super incredibly truly quite "
    "pretty such especially seriously way too much far highly deeply",
    0.6: "somewhat slightly kinda sorta little bit maybe perhaps probably might guess almost "
    "partly fairly mildly",
}

# what a line is like whose words alone may not say its mood
WARM_LINES = (
    "Yes, I would like that.",
    "That sounds great, I am interested.",
    "I agree with you completely.",
    "Sure, I can do that.",
    "I really want to make a change.",
    "I am glad to hear that.",
    "I love the idea.",
    "Okay, let's do it.",
    "I am ready to begin.",
    "I think it is worth it.",
    "That would help me a lot.",
    "I will definitely try it.",
    "I enjoy it very much.",
    "Thank you, that is very helpful.",
    "I know I should do it, and I can.",
    "Yes, absolutely.",
)
COLD_LINES = (
    "No, I do not want that.",
    "I am not interested.",
    "I don't think so.",
    "I don't believe that.",
    "I can't do it, it is too hard.",
    "I am not sure about it.",
    "I can't afford it right now.",
    "I don't see any reason to change.",
    "I don't trust it.",
    "That is a waste of time.",
    "I hate it.",
    "I have doubts about it.",
    "I am fine the way things are.",
    "It will not work for me.",
    "Maybe another time, not today.",
    "No, absolutely not.",
)
