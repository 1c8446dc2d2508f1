"""Scripted calls with their true phases, written for the tests; none of the lines is a cue.

(speaker, phase, words): A is the agent, P the prospect. `full` and `skips` may be used to choose
numbers; the others only measure.
"""

import re

Line = tuple[str, int, str]


def script(text: str) -> tuple[Line, ...]:
    """Read lines of the form “A 4 what he says”; any other continues the one before."""
    joined = re.sub(r"\n +(?=[^ ])(?![AP] \d)", " ", text)
    lines = (line.strip().split(" ", 2) for line in joined.strip().splitlines())
    return tuple((who, int(phase), said) for who, phase, said in lines)


CALLS: dict[str, tuple[Line, ...]] = {
    "full": script("""
        A 1 Good afternoon, Maria, it's Alex from Bright Path, you left your number on our page.
        P 1 Oh hi, yes I remember that.
        A 1 Great, I hope I'm not interrupting your lunch.
        P 1 No it's fine.
        A 2 Would you mind if I asked you a couple of things, it takes five minutes at most?
        P 2 Sure, go ahead.
        A 3 How are things going over there in Tulsa?
        P 3 Hot, we have had no rain for weeks.
        A 3 I know what you mean, my sister lives in Oklahoma City and she says the same.
        P 3 Oh really, small world.
        A 4 So tell me, what kind of work are you in?
        P 4 I'm a cashier at a grocery store.
        A 4 And how long have you been doing that?
        P 4 Six years now.
        A 4 What do you like about it, and what not so much?
        P 4 The people are nice but the hours are terrible.
        A 5 What got you thinking about earning more than you do today?
        P 5 My son starts college next fall and I can't pay for it.
        A 5 And what would it mean to you to be able to pay that for him?
        P 5 Everything, honestly.
        A 6 Imagine it's next September, his tuition is covered, and you are home for dinner
            every night.
        P 6 That would be a dream.
        A 6 Who would you tell first?
        P 6 My mother for sure.
        A 7 Okay, so here is how our programme is built, in plain words.
        P 7 I'm listening.
        A 7 You get a coach, you follow the training at home in the evenings, and then you
            serve your own clients.
        P 7 And do I have to buy anything?
        A 7 There is a starter package, and everything else is included in it.
        P 7 Hm okay.
        A 8 One of our members, a nurse from Kansas, earned her first three hundred dollars in
            eight weeks.
        P 8 Only three hundred?
        A 8 On our website you find what all members earned last year, also those who made nothing.
        P 8 At least you're honest.
        P 9 But this sounds like one of those pyramid things to me.
        A 9 I get that question a lot, and you are right to ask it. What makes you think so?
        P 9 My cousin lost a lot of money in one.
        A 9 I'm sorry to hear that. Let me tell you openly what is different here.
        P 9 All right, that makes sense.
        A 10 How many evenings in the week could you set aside for this?
        P 10 Two or three.
        A 10 And is it only you who decides, or does your husband want to be asked?
        P 10 I decide that myself.
        A 11 What I suggest is that you have a short conversation with Kevin, our director.
        P 11 What would he tell me?
        A 11 He looks at your numbers with you. Is today good, or is tomorrow better?
        P 11 Today is good.
        A 12 Wonderful, I'm putting you through to him now, hold the line please.
        P 12 Okay, thank you.
    """),
    "skips": script("""
        A 1 Hello, is that Robert? This is Alex, you sent us your details on Sunday.
        P 1 Yeah that's me, what's this about?
        A 4 Can you tell me what job you have these days?
        P 4 I drive for a delivery company.
        A 4 And are those long days?
        P 4 Ten hours mostly.
        A 4 Have you tried to make some money on the side before?
        P 4 I sold some stuff online.
        A 7 Then let me tell you what we do. We teach people to run a small online business
            from their kitchen table.
        P 7 What do you mean by business?
        A 7 You offer our courses to customers, we deliver them, and you keep a share.
        P 7 How much of a share?
        A 7 It is forty percent, and you pay one starting fee.
        P 7 I see.
        A 10 How serious are you about that, from one to ten?
        P 10 Eight I would say.
        A 10 How much time could you give it each week?
        P 10 Maybe eight hours.
        A 12 Perfect. I'm going to connect you to Kevin this minute, stay with me.
        P 12 Cool, thanks.
    """),
    "stalls": script("""
        A 1 Hi there, Alex here from Bright Path, am I calling at a good moment?
        P 1 I guess so.
        A 2 Is it okay if I quickly tell you the reason for my call?
        P 2 Yeah okay.
        A 3 First of all, how has your day been?
        P 3 Busy as always, the kids are sick.
        A 3 Oh no, I hope they feel better soon.
        P 3 Thanks, they will.
        A 3 Is it as cold at your place as it is here?
        P 3 We had snow this morning.
        A 3 I love the snow, when I was a kid we used to go sledding all day.
        P 3 Yeah the kids like it too.
        A 4 And what do you do, are you working at the moment?
        P 4 I'm a home health aide.
        A 4 Right, and how many days a week is that?
        P 4 Five, sometimes six.
        A 4 Do you get along with your boss?
        P 4 She's okay.
        A 4 And how far do you have to drive each day?
        P 4 About an hour.
        A 4 Mm-hm.
        P 4 Gas is killing me.
        A 4 What would you say you spend on that a month?
        P 4 Two hundred at least.
        A 4 Okay, I see.
        P 4 I have to go, my patient is calling.
        A 4 No problem, I understand.
    """),
    "steps-back": script("""
        A 1 Hello, this is Alex, I'm returning the message you left us.
        P 1 Hi, yes.
        A 2 May I take a few minutes to find out if we can help you?
        P 2 Please do.
        A 4 What are you doing for work right now?
        P 4 I'm a mechanic.
        A 4 How do you feel about your job after all that time?
        P 4 My back hurts, I can't do it forever.
        A 5 So why is it important for you to change something now?
        P 5 I'm fifty two, if I don't do it now I never will.
        A 7 Let me walk you through what it is and how the training goes.
        P 7 Okay.
        A 7 There are ten lessons, you do them at home, and a mentor helps you with your first
            customers.
        P 7 Sounds doable.
        A 10 Is there someone else you'd want to talk with before you decide?
        P 10 No, I live alone.
        A 10 And how many hours could you invest in the beginning?
        P 10 Ten, maybe twelve.
        A 11 Then the best thing to do now is a quick chat with Kevin. Would this afternoon
            suit you?
        P 11 Wait, what does it cost? I can't afford much.
        A 9 That's a fair question, and I understand that money is a concern. What would be too
            much for you?
        P 9 A thousand would be too much.
        A 9 I hear that often. It's ninety nine, and you get it back if you stop in the first month.
        P 9 Okay, that's all right then.
        A 11 Good. So shall we set up the call with Kevin for today or for tomorrow?
        P 11 Tomorrow is fine.
        A 11 Does three o'clock work for you?
        P 11 Yes it does.
        A 12 Thanks a lot for your time, Tom, and enjoy the rest of your day.
        P 12 You too, bye.
    """),
    "hangs-up": script("""
        A 1 Good morning, is this Linda? My name is Alex, you asked us to call you.
        P 1 I don't remember that.
        A 1 You filled in a form on our website last Tuesday.
        P 1 Maybe, I don't know.
        A 2 Do you have two minutes so that I can tell you what it's about?
        P 2 I'm really busy right now.
        A 9 I understand, time is short for everybody. What is keeping you so busy?
        P 9 I have two jobs and no, I'm not interested.
        A 9 That's all right, nobody will push you into anything.
        P 9 Please take me off your list.
        A 12 Of course I will. Thank you and have a good day.
        P 12 Bye.
    """),
    "warm": script("""
        A 1 Hi Carlos, Alex from Bright Path, thank you for taking my call.
        P 1 Hey Alex, I was waiting for you.
        A 1 Nice, so you saw the page about the extra income.
        P 1 Yes I read all of it.
        A 5 What was it that made you want this so much?
        P 5 I want to stop working nights and be with my girls.
        A 5 What would another fifteen hundred a month do for you and the girls?
        P 5 I could quit the second job.
        A 6 Picture yourself at home on a weekday evening, with both girls, and the phone stays
            quiet.
        P 6 Man, that would be amazing.
        A 8 We had a night watchman from Houston who was exactly where you are a year ago.
        P 8 And what happened to him?
        A 8 He makes about eight hundred a month with it now, you can ask him yourself.
        P 8 Awesome. How do I sign up?
        A 10 Before that, is there anyone at home who has a say in it?
        P 10 My wife is fine with it.
        A 11 Then there are two ways to go on: you speak to Kevin right away, or I send you the
            video.
        P 11 Right away.
        A 12 Great, he just became free, I'll bring him on the line.
        P 12 Thanks man.
    """),
}
