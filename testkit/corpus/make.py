#!/usr/bin/env python3
"""Makes memories.jsonl and questions.jsonl of what is in written/. See README.md."""

import datetime
import json
import pathlib
import random
import re
import sys

HERE = pathlib.Path(__file__).parent
SEED = 20_260_131
# Memories of each project, written ones included.
EACH = 385
STYLES = {"?": "paraphrase", "~": "keyword", "!": "identifier"}
BEGIN = datetime.datetime(2024, 1, 8, 7, tzinfo=datetime.timezone.utc)
DAYS = 1_000
MONTHS = "January February March April May June July August September October November December".split()
PLACES = ["in production", "in staging only", "for one customer", "after each deploy", "on Mondays", "in the nightly run",
          "for new accounts", "on the oldest machine", "since the last upgrade", "under load only"]
STEPS = ["Nobody needs to do anything.", "It goes out with the next release.", "Backported to the release branch.",
         "The runbook has a line about it.", "No data had to be repaired.", "Two customers were told.",
         "It was seen in review and not by a user.", "The dashboard shows it in the second row.",
         "A follow-up is planned.", "Nothing else was touched."]


class Project:
    """One file of written/: what is asked for, and the phrases of each subsystem."""

    def __init__(self, path):
        self.name, self.written, self.questions, self.parts = path.stem, [], [], []
        for line in path.read_text().splitlines():
            self.read(line)

    def read(self, line):
        mark, _, rest = line.partition(" ")
        if mark in ("repository", "agents", "numbers", "version"):
            setattr(self, mark, rest.split())
        elif line.startswith("@"):
            path, _, joins = rest.partition(" > ")
            self.written.append({"kind": mark[1:], "paths": path.split(), "joins": joins})
        elif mark in STYLES:
            text, _, about = rest.partition(" > ")
            text, _, also = text.partition(" + ")
            answers = self.about(about, STYLES[mark]) if about else [len(self.written) - 1]
            answers += [self.begins(also)] if also else []
            self.questions.append({"text": text, "style": STYLES[mark], "answers": answers})
        elif mark == "%":
            name, paths, symbols = (field.split() for field in rest.split(" | "))
            self.parts.append({"name": " ".join(name), "paths": paths, "symbols": symbols, **{k: [] for k in "scfdrq"}})
        elif mark in "scfdrq" and mark:
            self.parts[-1][mark].append(rest)
        elif line and not line.startswith("# "):
            self.written[-1]["context"] = line
            if joins := self.written[-1]["joins"]:
                first = self.begins(joins)
                for question in self.questions:
                    if first in question["answers"] and question["style"] != "identifier":
                        question["answers"].append(len(self.written) - 1)

    def about(self, words, style):
        """The memory that begins so, and those that answer the same questions unless one is meant by name."""
        first = self.begins(words)
        text = self.written[first]["context"]
        joined = [at for at, memory in enumerate(self.written) if memory["joins"] and text.startswith(memory["joins"])]
        return [first] + ([] if style == "identifier" else joined)

    def begins(self, words):
        found = [at for at, memory in enumerate(self.written) if memory["context"].startswith(words)]
        assert len(found) == 1, f"{self.name}: {len(found)} memories begin with: {words}"
        return found[0]


def capital(text):
    return text[:1].upper() + text[1:]


def plain(identifier):
    """Of whatever spelling: retryAfter, retry_after and RETRY_AFTER are one."""
    return re.sub(r"[_-]", "", identifier.lower())


class Sayings:
    """The sentences about one subsystem. Each call gives another number, commit, person and month."""

    def __init__(self, rng, project, part):
        self.rng, self.project, self.part = rng, project, part

    def number(self):
        return self.rng.randint(*map(int, self.project.numbers))

    def commit(self):
        return f"{self.rng.getrandbits(28):07x}"

    def version(self):
        major, last = map(int, self.project.version)
        return f"{major}.{self.rng.randint(1, last)}.{self.rng.randint(0, 6)}"

    def who(self):
        return capital(self.rng.choice([agent for agent in self.project.agents if agent != "claude-code"]))

    def month(self):
        return self.rng.choice(MONTHS)

    def date(self):
        return f"{self.rng.randint(1, 28)} {self.month()}"

    def duration(self):
        return self.rng.choice([f"{self.rng.randint(6, 55)} minutes", f"{self.rng.randint(2, 19)} hours", "most of a day"])

    def path(self):
        return self.rng.choice(self.part["paths"])

    def symbol(self):
        return self.rng.choice(self.part["symbols"][:-1])

    def one(self, *wordings):
        return self.rng.choice(wordings)

    def all(self):
        """Every saying as (kind, text)."""
        said = []
        for at in range(4):
            said += self.story(at)
        said += [saying for choice in self.part["d"] for saying in self.choice(*choice.split(" | "))]
        said += [saying for rule in self.part["r"] for saying in self.rule(rule)]
        said += [saying for doubt in self.part["q"] for saying in self.doubt(doubt)]
        return said + self.chores() + self.chores()

    def story(self, at):
        rng, name = self.rng, self.part["name"]
        symptom, cause, fix = self.part["s"][at], self.part["c"][at], self.part["f"][at]
        other = (at + rng.randint(1, 3)) % 4
        number, commit, path, symbol, who = self.number(), self.commit(), self.path(), self.symbol(), self.who()
        step, place = rng.choice(STEPS), rng.choice(PLACES)
        seen = self.one(f"Seen {rng.randint(2, 40)} times, {place}.", f"Reported by {who}, {place}.", f"It happens {place}.")
        return [
            ("issue", self.one(
                f"Issue #{number}, {name}: {symptom}. {seen} The trace ends in {symbol}; the cause is not known yet.",
                f"#{number} opened by {who}: {symptom}. {seen} {path} was changed shortly before.")),
            ("note", self.one(
                f"Looked into #{number}. It is not that {self.part['c'][other]}; the log of {symbol} rules that out. "
                f"Next suspect: {path}.",
                f"#{number}: {who} could reproduce on a laptop that {symptom}. Takes {rng.randint(3, 50)} attempts, {place}.")),
            ("incident", self.one(
                f"Incident of {self.date()}, {self.duration()}: {symptom}. Cause: {cause}. Since then {fix}. {step}",
                f"Postmortem ({name}): {symptom}, for {self.duration()}. It turned out that {cause}. Remedy: {fix}. {step}")),
            ("fix", self.one(
                f"Fix of #{number} in {path}: {cause}. Now {fix}. Commit {commit}. {step}",
                f"{commit}: {fix}. Before, {cause}, and so {symptom}. Closes #{number}.")),
            ("change", self.one(
                f"Test for #{number} in {path}: it fails without {commit}, as {symptom}, and runs in {rng.randint(4, 900)} ms.",
                f"A regression test of {symbol} covers the case in which {symptom}. {who} wrote it before the fix, {commit}.")),
            ("review", self.one(
                f"Review of pull request #{number}: does {symbol} cover the old case, too, in which {self.part['s'][other]}? It "
                f"does since the second push; {path} has a test.",
                f"{who} on pull request #{number}, {path}: the description should say that {cause}. Changed before the merge.")),
            ("release", f"Release {self.version()}: {fix}; {self.part['f'][other]}. Smaller changes around {symbol}. {step}"),
            ("note", self.one(
                f"Support asked about {rng.randint(2, 25)} cases in which {symptom}. All are from before {self.version()}; "
                f"since then {fix}.",
                f"It came back on {self.date()}: {symptom}. The fix of #{number} had been lost in a merge and is in again "
                f"({commit}).")),
        ]

    def choice(self, what, why):
        number, who = self.number(), self.who()
        return [
            ("decision", self.one(
                f"Decision ({self.part['name']}): {what}. Reason: {why}. Agreed in #{number}.",
                f"{capital(what)}, decided on {self.date()} by {who} and {self.who()}: {why}. See {self.path()}.")),
            ("note", self.one(
                f"Asked again in #{number} whether this still holds: {what}. It does; {why}. {self.symbol()} relies on it.",
                f"A newcomer wanted to change {self.symbol()} and was pointed to #{number}: {what}, since {why}.")),
            ("decision", f"{who} proposed an exception for one customer from this: {what}. Turned down in #{number} after "
                f"{self.rng.randint(2, 30)} comments."),
        ]

    def rule(self, what):
        number, path = self.number(), self.path()
        return [
            ("convention", self.one(
                f"Convention ({self.part['name']}): {what}. Written down after #{number}.",
                f"{capital(what)}. Applies to {path} and everything beside it since {self.month()}.")),
            ("review", self.one(
                f"Review of #{number}, {path}: {what}. {self.who()} changed {self.symbol()} before the merge.",
                f"{self.who()} asked for changes in #{number}: \"{what}\" is not kept by {self.symbol()}.")),
            ("note", f"Looked for places that break the rule \"{what}\": {self.rng.randint(2, 31)} in {path}, listed in "
                f"#{number}, to be worked off until {self.version()}."),
        ]

    def doubt(self, what):
        return [
            ("question", self.one(
                f"Open question ({self.part['name']}): {what}. {self.who()} collects arguments in #{self.number()}.",
                f"{capital(what)} is undecided. {self.who()} is for it, {self.who()} wants numbers from {self.symbol()} first.")),
            ("note", f"The meeting of {self.date()} spent {self.rng.randint(10, 50)} minutes on {what} and put it off until "
                f"{self.version()} is out."),
        ]

    def chores(self):
        rng, name, path, symbol = self.rng, self.part["name"], self.path(), self.symbol()
        other, metric, commit, who = self.symbol(), self.part["symbols"][-1], self.commit(), self.who()
        middle = rng.randint(2, 90)
        return [
            ("note", f"Measured {metric} on {self.date()}: median {middle}, p99 {middle * rng.randint(3, 14)}. {symbol} makes up "
                f"{rng.randint(12, 80)} % of it."),
            ("change", f"{symbol} moved to {path} without a change of behaviour ({commit}). {who} reviewed."),
            ("change", f"Dependencies of {path} updated ({commit}): {symbol} needed another signature, {rng.randint(2, 40)} tests "
                f"were touched by a line each."),
            ("issue", f"The test of {symbol} in {path} failed {rng.randint(2, 9)} times in {rng.randint(100, 900)} runs. It depends "
                f"on the order of files; set aside under #{self.number()}."),
            ("note", f"{who} looks after the {name} until {self.month()}, {self.who()} stands in. Questions go to the channel first."),
            ("change", f"The page about the {name} has an example with {symbol} and a drawing now, {rng.randint(300, 1900)} words "
                f"in all. {who} read it as a newcomer."),
            ("change", f"New alert on {metric}: above {rng.randint(5, 900)} for {rng.randint(3, 30)} minutes it writes to the "
                f"channel, not to the phone. {commit}"),
            ("note", f"Coverage of {path} is {rng.randint(71, 97)} % ({self.month()}); what is left is the handling of errors in "
                f"{symbol}."),
            ("change", f"{path} had {rng.randint(500, 1400)} lines and was split under #{self.number()}: {symbol} stayed, the rest "
                f"got files of its own."),
            ("note", f"{who} tried for two days to replace {symbol} by a library. It covers {rng.randint(40, 90)} % of our cases; "
                f"the branch spike/{self.number()} is kept, nothing was merged."),
            ("change", f"{symbol} logs at debug level now; it wrote {rng.randint(11, 70)} % of all lines of the {name}. {commit}"),
            ("change", f"Dead code removed from {path}: nobody had called it since {self.version()}, {rng.randint(30, 400)} lines "
                f"fewer. {other} is untouched."),
            ("note", f"For newcomers to the {name}: begin with {path}, then read {symbol} and its tests. An afternoon is enough."),
        ]


def memories_of(project, rng, reserved):
    """All memories of one project in the order of time, and the ids of the written ones in theirs."""
    made, texts = [], set()
    for part in project.parts:
        for kind, text in Sayings(rng, project, part).all():
            names = [path for path in part["paths"] if path in text] or [rng.choice(part["paths"])]
            if text not in texts and not any(word in plain(text) for word in reserved):
                texts.add(text)
                made.append({"kind": kind, "context": text, "paths": names})
    made = rng.sample(made, EACH - len(project.written))
    everything = [(memory, at) for at, memory in enumerate(project.written)] + [(memory, None) for memory in made]
    rng.shuffle(everything)
    minutes = sorted(rng.sample(range(DAYS * 24 * 60), len(everything)))
    rows, ids = [], {}
    for place, ((memory, at), minute) in enumerate(zip(everything, minutes)):
        row = {
            "id": f"{project.name}-{place + 1:03}", "repository": project.repository[0], "kind": memory["kind"],
            "context": memory["context"], "agent": rng.choice(project.agents),
            "timestamp": (BEGIN + datetime.timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%M:00Z"),
            "paths": memory["paths"],
        }
        if memory["kind"] in ("change", "fix", "review"):
            row["branch"] = f"{memory['kind']}/{memory['paths'][0].rsplit('/', 1)[-1].split('.')[0].replace('_', '-').lower()}"
        if number := re.search(r"#(\d+)", memory["context"]):
            row["url"] = f"https://git.example/{row['repository']}/issues/{number[1]}"
        rows.append(row)
        if at is not None:
            ids[at] = row["id"]
    return rows, ids


def build():
    memories, questions = [], []
    for path in sorted((HERE / "written").glob("*.txt")):
        project = Project(path)
        rng = random.Random(f"{SEED} {project.name}")
        names = {plain(name.lstrip("v")) for q in project.questions if q["style"] == "identifier" for name in re.findall(r"`#?([^`]+)`", q["text"])}
        rows, ids = memories_of(project, rng, names)
        memories += rows
        for question in project.questions:
            relevant = [ids[at] for at in question["answers"]]
            if question["style"] == "identifier":
                only_there(question["text"], rows, relevant)
            questions.append({
                "q": question["text"].replace("`", ""), "repository": project.repository[0], "relevant": relevant,
                "style": question["style"],
            })
    return memories, questions


def only_there(question, rows, relevant):
    """What a question names is in its answers and in no other memory of the project."""
    for name in re.findall(r"`#?([^`]+)`", question):
        wanted = plain(name.lstrip("v"))
        has = [row["id"] for row in rows if wanted in plain(row["context"] + " " + " ".join(row["paths"]))]
        assert sorted(has) == sorted(relevant), f"{question}: named in {has}, answered by {relevant}"


def main():
    memories, questions = build()
    files = {"memories.jsonl": memories, "questions.jsonl": questions}
    for name, rows in files.items():
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        path = HERE / name
        if "--check" in sys.argv:
            if not path.exists() or path.read_text() != text:
                sys.exit(f"{path} is not what written/ makes: run python3 {HERE / 'make.py'}")
        else:
            path.write_text(text)
        print(f"{name}: {len(rows)} lines, {len(text.encode())} bytes")


main()
