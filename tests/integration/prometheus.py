"""What Prometheus reads, read by the book: text exposition format 0.0.4, files of rules, and of its
language of expressions the part that our rules use."""
import math
import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"'
SAMPLE = re.compile(rf"({NAME})(?:\{{((?:{LABEL})(?:,{LABEL})*)\}})? (\S+)")


class Metric:
    def __init__(self, name, help_text):
        self.name, self.help, self.type = name, help_text, None
        self.samples = {}  # (name, labels as sorted pairs): value


def parse(text):
    """An exposition as {name: Metric}; what is not allowed in one is an error with its line."""
    metrics = {}
    now = None
    if not text.endswith("\n"):
        raise ValueError("the last line has no end")
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split(" ", 3)
        if words[:2] == ["#", "HELP"]:
            if words[2] in metrics:
                raise ValueError(f"{number}: {words[2]} comes twice")
            now = metrics[words[2]] = Metric(words[2], words[3])
        elif words[:2] == ["#", "TYPE"]:
            if not now or now.name != words[2] or now.type or now.samples:
                raise ValueError(f"{number}: TYPE out of place")
            if words[3] not in {"counter", "gauge", "histogram"}:
                raise ValueError(f"{number}: no type: {words[3]}")
            now.type = words[3]
        else:
            take_sample(now, number, line)
    for metric in metrics.values():
        if not metric.samples or not metric.type:
            raise ValueError(f"{metric.name}: no samples or no type")
        if metric.type == "histogram":
            check_histogram(metric)
    return metrics


def take_sample(metric, number, line):
    found = SAMPLE.fullmatch(line)
    if not found or not metric:
        raise ValueError(f"{number}: no sample: {line}")
    name = found[1]
    ends = ["_bucket", "_sum", "_count"] if metric.type == "histogram" else [""]
    if name not in [metric.name + end for end in ends]:
        raise ValueError(f"{number}: {name} stands under {metric.name}")
    labels = tuple(sorted(pair[:2] for pair in re.findall(LABEL, found[2] or "")))
    if (name, labels) in metric.samples:
        raise ValueError(f"{number}: {name}{labels} comes twice")
    value = float(found[found.re.groups])
    if metric.type == "counter" and (value < 0 or not math.isfinite(value)):
        raise ValueError(f"{number}: a counter of {value}")
    metric.samples[name, labels] = value


def check_histogram(metric):
    """Buckets ascend, the last one is +Inf and equals the count."""
    series = {}
    for (name, labels), value in metric.samples.items():
        if name.endswith("_bucket"):
            rest = tuple(pair for pair in labels if pair[0] != "le")
            series.setdefault(rest, []).append((float(dict(labels)["le"]), value))
    for rest, buckets in series.items():
        bounds, counts = zip(*buckets)
        if list(bounds) != sorted(set(bounds)) or list(counts) != sorted(counts) or \
                bounds[-1] != math.inf or counts[-1] != metric.samples[metric.name + "_count", rest]:
            raise ValueError(f"{metric.name}{rest}: buckets {buckets}")
        if (metric.name + "_sum", rest) not in metric.samples:
            raise ValueError(f"{metric.name}{rest}: no sum")


# ---- Rules

def parse_rules(text):
    """The rules of a file in the simple form that ours has, as a list of dicts."""
    rules, block, where = [], None, None
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        indent = len(line) - len(line.lstrip())
        if block and indent >= 10 and where is None:  # the lines of a folded text
            rules[-1][block] = (rules[-1][block] + " " + stripped).strip()
            continue
        block = None
        if not stripped or stripped.startswith("#"):
            continue
        key, colon, value = stripped.removeprefix("- ").partition(":")
        value = value.strip()
        if not colon or "\t" in line or indent % 2:
            raise ValueError(f"{number}: {line}")
        if (indent, stripped) in [(0, "groups:"), (4, "rules:")] or (indent, key) == (2, "name"):
            continue
        if indent == 6 and stripped.startswith("- alert: "):
            rules.append({"alert": value, "labels": {}, "annotations": {}})
            where = None
        elif indent == 8 and rules and key in {"expr", "for"}:
            where = None
            block = key if value == ">-" else None
            rules[-1][key] = "" if block else value
        elif indent == 8 and rules and key in {"labels", "annotations"} and not value:
            where = key
        elif indent == 10 and where:
            rules[-1][where][key] = value.strip('"')
        else:
            raise ValueError(f"{number}: {line}")
    return rules


# ---- Expressions

TOKEN = re.compile(r'\s*(?:(\d+\.?\d*(?:e[+-]?\d+)?)|(' + NAME + r')|("[^"]*")|(\[\d+[smhd]\])'
                   r"|(==|!=|<=|>=|=~|!~|[-+*/<>=(){},]))")
COMPARE = {"==": lambda a, b: a == b, "!=": lambda a, b: a != b, "<": lambda a, b: a < b,
           ">": lambda a, b: a > b, "<=": lambda a, b: a <= b, ">=": lambda a, b: a >= b}
COMPUTE = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b,
           "/": lambda a, b: a / b if b else math.nan}
LEVELS = [["and"], list(COMPARE), ["+", "-"], ["*", "/"]]


class Expression:
    """Parse an expression; `selectors` are what it reads: (name, matchers, range, function)."""

    def __init__(self, text):
        self.tokens, self.at, self.selectors, self.function = [], 0, [], None
        where = 0
        while text[where:].strip():
            found = TOKEN.match(text, where)
            if not found:
                raise ValueError(f"{text[where:]!r} in {text!r}")
            self.tokens.append(found[found.lastindex])
            where = found.end()
        self.tree = self.level(0)
        if self.peek() is not None:
            raise ValueError(f"{self.tokens[self.at:]} is left over of {text!r}")

    def peek(self):
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def take(self, *wanted):
        token = self.peek()
        if token is None or (wanted and token not in wanted):
            raise ValueError(f"wants {wanted}, found {token!r}")
        self.at += 1
        return token

    def level(self, depth):
        if depth == len(LEVELS):
            return self.atom()
        left = self.level(depth + 1)
        while self.peek() in LEVELS[depth]:
            left = (self.take(), left, self.level(depth + 1))
        return left

    def atom(self):
        token = self.take()
        if token == "(":
            inner = self.level(0)
            self.take(")")
            return inner
        if token[0].isdigit():
            return ("number", float(token))
        if token == "sum":
            return self.total()
        if self.peek() == "(":
            return self.call(token)
        return self.selector(token)

    def total(self):
        how = self.take("by", "without")
        self.take("(")
        labels = [self.take()]
        while self.take(",", ")") == ",":
            labels.append(self.take())
        self.take("(")
        inner = self.level(0)
        self.take(")")
        return ("sum", how, labels, inner)

    def call(self, name):
        if name not in {"rate", "increase", "histogram_quantile"}:
            raise ValueError(f"no function of ours: {name}")
        self.take("(")
        before, self.function = self.function, name
        inner = [self.level(0)]
        while self.take(",", ")") == ",":
            inner.append(self.level(0))
        self.function = before
        return ("call", name, inner)

    def selector(self, name):
        matchers, span = [], None
        if self.peek() == "{":
            self.take()
            while True:
                matchers.append((self.take(), self.take("=", "!=", "=~", "!~"),
                                 self.take().strip('"')))
                if self.take(",", "}") == "}":
                    break
        if self.peek() and self.peek()[0] == "[":
            span = self.take()
        self.selectors.append((name, matchers, span, self.function))
        return ("read", name, matchers, span)

    def value(self, metrics, before=None):
        """The series that it is true of, {labels: value}, or a number. `before` is what the metrics
        were at the beginning of each span; without it nothing had happened."""
        return self.of(self.tree, metrics, before or {})

    def of(self, tree, metrics, before):
        kind, *rest = tree
        if kind == "number":
            return rest[0]
        if kind == "read":
            return read(metrics, *rest[:2])
        if kind == "sum":
            how, names, inner = rest
            added = {}
            for labels, value in self.of(inner, metrics, before).items():
                kept = tuple(pair for pair in labels if (pair[0] in names) == (how == "by"))
                added[kept] = added.get(kept, 0) + value
            return added
        if kind == "call" and rest[0] == "histogram_quantile":
            return quantiles(*(self.of(inner, metrics, before) for inner in rest[1]))
        if kind == "call":
            _, name, matchers, span = rest[1][0]
            began = read(before, name, matchers)
            seconds = seconds_of(span) if rest[0] == "rate" else 1
            return {labels: (value - began.get(labels, 0)) / seconds
                    for labels, value in read(metrics, name, matchers).items()}
        return join(kind, *(self.of(side, metrics, before) for side in rest))


def seconds_of(span):
    return int(span[1:-2]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[span[-2]]


def read(metrics, name, matchers):
    """The series of a selector, {labels: value}."""
    base = name if name in metrics else re.sub("_(bucket|sum|count)$", "", name)
    samples = metrics[base].samples if base in metrics else {}
    return {labels: value for (sample, labels), value in samples.items() if sample == name and all(
        (pattern == dict(labels).get(label, "") if "~" not in how
         else bool(re.fullmatch(pattern, dict(labels).get(label, "")))) == (how[0] == "=")
        for label, how, pattern in matchers)}


def quantiles(q, buckets):
    """As histogram_quantile: where in its bucket a value lies is taken to be even."""
    series = {}
    for labels, value in buckets.items():
        rest = tuple(pair for pair in labels if pair[0] != "le")
        series.setdefault(rest, []).append((float(dict(labels)["le"]), value))
    found = {}
    for rest, steps in series.items():
        steps.sort()
        rank, low, below = q * steps[-1][1], 0, 0
        for bound, count in steps:
            if count >= rank:
                break
            low, below = bound, count
        if not steps[-1][1]:
            found[rest] = math.nan
        else:
            found[rest] = low if math.isinf(bound) else (
                low + (bound - low) * (rank - below) / (count - below) if count > below else bound)
    return found


def join(kind, left, right):
    """An operator between series of the same labels, or with a number; a comparison leaves out those of
    which it is not true."""
    if kind == "and":
        return {labels: value for labels, value in left.items() if labels in right}
    is_number = [isinstance(side, float) for side in (left, right)]
    if all(is_number):
        return COMPUTE[kind](left, right)
    keys = right if is_number[0] else left if is_number[1] else [key for key in left if key in right]
    joined = {}
    for labels in keys:
        a = left if is_number[0] else left[labels]
        b = right if is_number[1] else right[labels]
        if kind in COMPUTE:
            joined[labels] = COMPUTE[kind](a, b)
        elif COMPARE[kind](a, b):
            joined[labels] = b if is_number[0] else a
    return joined
