"""Makes the sample call that the demo plays: speaks its script, and writes its exact times.

Needs `espeak-ng` and `sox`. Writes call.jsonl, agent.wav and prospect.wav (8 kHz, µ-law, both from
second 0) into the folder given, by default the package's own. The prospect's pitch and pace rise
with her interest, so that the recording has something to hear in it besides words.
"""

import argparse
import json
import shutil
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from agent_sidecar.simulator.wav import RATE_HZ, encode_ulaw

SAMPLE = Path(__file__).parent.parent / "agent_sidecar" / "simulator" / "sample"
VOICES = {"agent": "en-us+m3", "prospect": "en-us+f4"}
LEAD = {
    "external_id": "sample-maria",
    "first_name": "Maria",
    "last_name": "Delgado",
    "phone": "+18135550142",
    "email": "maria.delgado@example.com",
    "source": "web form",
    "initial_interest": "extra income beside hospital shifts",
    "timezone": "America/New_York",
    "country": "US",
    "state": "FL",
    "city": "Tampa",
    "current_income_range": "30k-50k",
    "desired_income_range": "50k-75k",
    "time_availability": "evenings",
    "experience_level": "none",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One thing said; a negative pause begins before the other has finished."""

    speaker: Literal["agent", "prospect"]
    pause_s: float
    # espeak's scale, 0 to 99
    pitch: int
    words_per_minute: int
    text: str
    strategy: str | None = None


def agent(pause_s: float, text: str, strategy: str | None = None) -> Line:
    return Line("agent", pause_s, 42, 205, text, strategy)


def maria(pause_s: float, pitch: int, words_per_minute: int, text: str) -> Line:
    return Line("prospect", pause_s, pitch, words_per_minute, text)


SCRIPT = (
    agent(0.4, "Hi Maria, this is Alex, the AI assistant of Bright Path. You filled in our form."),
    maria(0.7, 38, 165, "Oh. I'm pretty busy right now."),
    agent(
        0.4,
        "I understand. May I have two minutes, and then you decide?",
        "acknowledge-and-ask",
    ),
    maria(0.9, 38, 165, "Fine. Two minutes."),
    agent(0.3, "Thank you! How is your week going in Tampa?"),
    maria(0.6, 39, 168, "Long. I work double shifts at the hospital."),
    agent(0.4, "That sounds hard. What made you look for something on the side?"),
    maria(0.8, 40, 170, "My rent went up, and I hardly see my kids."),
    agent(
        0.4,
        "What would an extra thousand dollars a month change for you?",
        "qualify-income-goal",
    ),
    maria(0.9, 43, 175, "I could drop the Saturday shift."),
    agent(0.3, "Picture it: Saturdays with your kids again."),
    maria(1.2, 38, 168, "That would be nice. But is this a pyramid scheme?"),
    agent(
        0.4,
        "Fair question. Nobody earns by recruiting here. You sell to your own customers.",
        "name-the-fear",
    ),
    maria(0.8, 38, 170, "They all say that. How do I know it's real?"),
    agent(
        0.4,
        "A nurse from Ohio asked me the same. She made six hundred dollars in month three.",
        "proof-by-story",
    ),
    maria(0.6, 45, 180, "Six hundred? Okay. What does it cost me?"),
    agent(
        0.3,
        "Ninety-nine dollars, once. You get it back within thirty days if you stop.",
        "transparent-numbers",
    ),
    maria(0.6, 50, 188, "Really? And how many hours a week would I need?"),
    agent(
        0.3, "Five hours to start, from home, around your shifts. Could you do that?", "time-fit"
    ),
    maria(0.4, 54, 195, "Yes, I could do five hours! Would somebody train me?"),
    agent(0.2, "Step by step, with a mentor. From one to ten, how serious are you?"),
    maria(0.4, 58, 200, "Honestly? A nine! This is just what I was looking for."),
    agent(-0.9, "That is wonderful."),
    maria(0.3, 62, 208, "How do I get started? Can I talk to a real person?"),
    agent(
        0.2,
        "Of course. Kevin is our director, and he is free right now.",
        "bring-in-closer",
    ),
    maria(0.2, 63, 210, "Great, I'd love that! Can you put him on?"),
    agent(0.2, "I am connecting you now, Maria. Please stay on the line."),
    maria(0.2, 64, 210, "Thank you so much, this sounds really good!"),
)


def speak(line: Line) -> NDArray[np.int16]:
    """Return the line as a telephone would carry it, silence at both ends removed."""
    # who is interested speaks up
    level_dbfs = -8.0 if line.speaker == "agent" else -6 - (64 - line.pitch) / 4
    espeak = [
        *("espeak-ng", "-v", VOICES[line.speaker], "-p", str(line.pitch)),
        *("-s", str(line.words_per_minute), "--stdout", line.text),
    ]
    spoken = subprocess.run(espeak, check=True, capture_output=True).stdout  # noqa: S603
    trim = ["silence", "1", "0.01", "0.5%", "reverse"]
    sox = [
        *("sox", "-q", "-t", "wav", "--ignore-length", "-"),
        *("-t", "raw", "-r", str(RATE_HZ), "-e", "signed", "-b", "16", "-c", "1", "-D", "-"),
        *("highpass", "250", "gain", "-n", f"{level_dbfs:g}", *trim, *trim),
    ]
    carried = subprocess.run(sox, input=spoken, check=True, capture_output=True)  # noqa: S603
    return np.frombuffer(carried.stdout, "<i2").astype(np.int16)


def write_wav(path: Path, samples: NDArray[np.int16]) -> None:
    encoded = encode_ulaw(samples)
    form = struct.pack("<HHIIHHH", 7, 1, RATE_HZ, RATE_HZ, 1, 8, 0)
    fact = struct.pack("<I", len(encoded))
    chunks = b"".join(
        name + struct.pack("<I", len(chunk)) + chunk + b"\0" * (len(chunk) % 2)
        for name, chunk in ((b"fmt ", form), (b"fact", fact), (b"data", encoded))
    )
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)


def make(folder: Path) -> float:
    """Write the three files; return the length in seconds."""
    pieces: dict[str, list[tuple[int, NDArray[np.int16]]]] = {"agent": [], "prospect": []}
    segments = []
    at = 0
    for line in SCRIPT:
        samples = speak(line)
        start = at + round(line.pause_s * RATE_HZ)
        at = start + len(samples)
        pieces[line.speaker].append((start, samples))
        segment = {
            "speaker": line.speaker,
            "text": line.text,
            "start_s": round(start / RATE_HZ, 3),
            "end_s": round(at / RATE_HZ, 3),
        }
        segments.append(segment | ({"strategy": line.strategy} if line.strategy else {}))
    for speaker, spoken in pieces.items():
        # a track ends with its last word: silence follows by itself
        last_start, last = spoken[-1]
        track = np.zeros(last_start + len(last), np.int16)
        for start, samples in spoken:
            track[start : start + len(samples)] = samples
        write_wav(folder / f"{speaker}.wav", track)
    call = {
        "call_id": "sample-maria",
        "lead": LEAD,
        "segments": segments,
        "audio": {"agent": "agent.wav", "prospect": "prospect.wav"},
        "outcome": {"success": True, "final_status": "hot_transfer"},
    }
    (folder / "call.jsonl").write_text(json.dumps(call, ensure_ascii=False) + "\n", "utf-8")
    return at / RATE_HZ


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", nargs="?", type=Path, default=SAMPLE)
    folder: Path = parser.parse_args().folder
    missing = [tool for tool in ("espeak-ng", "sox") if shutil.which(tool) is None]
    if missing:
        print(f"install {' and '.join(missing)} first", file=sys.stderr)
        return 1
    length_s = make(folder)
    sizes = {file.name: file.stat().st_size for file in sorted(folder.glob("*.wav"))}
    print(f"{len(SCRIPT)} lines, {length_s:.1f} s, {sizes} bytes in {folder}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
