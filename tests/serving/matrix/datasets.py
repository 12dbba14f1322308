"""Data sets of the model matrix, made of pseudo-random numbers: the same on every machine. Runs in every environment.

Each function answers (X of training, y of training, X to ask); X is a float64 or float32 array, a pandas DataFrame of
numbers and texts, or a list of texts; y is None where nothing is learned from it.
"""

import numpy as np

TRAIN = 300
ASK = 1000


def _numbers(seed, columns=6, rows=TRAIN + ASK, scale=True):
    random = np.random.RandomState(seed)
    x = random.normal(size=(rows, columns))
    if scale:
        x = x * np.array([1, 10, 0.1, 100, 1, 3, 1e-3, 50])[:columns] + np.array([0, 5, 1, -20, 0.5, 0, 0, 7])[:columns]
    return random, x


def _unit(x):
    return (x - x.mean(axis=0)) / x.std(axis=0)


def _split(x, y):
    return x[:TRAIN], None if y is None else y[:TRAIN], x[TRAIN:]


def two_classes(seed=1):
    """Six columns of different scale, classes 0 and 1."""
    random, x = _numbers(seed)
    z = _unit(x)
    return _split(x, (z[:, 0] + z[:, 1] * z[:, 2] - 0.5 * z[:, 3] + 0.5 * random.normal(size=len(x)) > 0).astype(int))


def three_classes(seed=2):
    """Labels 1, 3 and 7."""
    random, x = _numbers(seed)
    z = _unit(x)
    raw = z[:, 0] - z[:, 1] + z[:, 2] * z[:, 3] + 0.5 * random.normal(size=len(x))
    return _split(x, np.array([1, 3, 7])[np.digitize(raw, [-0.7, 0.7])])


def text_labels(seed=3):
    """Three classes named by texts."""
    x, y, ask = three_classes(seed)
    return x, np.array(["no", "perhaps", "später"], dtype=object)[np.searchsorted([1, 3, 7], y)], ask


def regression(seed=4):
    random, x = _numbers(seed)
    z = _unit(x)
    return _split(
        x, 3 * z[:, 0] - 2 * z[:, 1] + z[:, 2] * z[:, 3] + np.sin(2 * z[:, 4]) + 0.3 * random.normal(size=len(x))
    )


def positive(seed=5):
    """A target above zero, for losses of counts and amounts."""
    x, y, ask = regression(seed)
    return x, np.exp(y / 4), ask


def counts(seed=6):
    x, y, ask = positive(seed)
    return x, np.floor(y * 2), ask


def small_numbers(seed=7):
    """All columns of unit scale, which kernels and networks need."""
    random, x = _numbers(seed, scale=False)
    return _split(x, (x[:, 0] * x[:, 1] + x[:, 2] > 0.2).astype(int))


def small_three(seed=8):
    random, x = _numbers(seed, scale=False)
    return _split(x, np.digitize(x[:, 0] + x[:, 1] * x[:, 2] + 0.3 * random.normal(size=len(x)), [-0.6, 0.6]))


def small_regression(seed=9):
    random, x = _numbers(seed, scale=False)
    return _split(x, x[:, 0] - 2 * x[:, 1] + np.sin(3 * x[:, 2]) + 0.2 * random.normal(size=len(x)))


def not_negative(seed=10):
    """Counts of words, as it were: whole numbers of zero and more, and three classes."""
    random = np.random.RandomState(seed)
    y = random.randint(0, 3, size=TRAIN + ASK)
    rates = random.uniform(0.2, 4, size=(3, 6))
    return _split(random.poisson(rates[y]).astype(float), y)


def two_targets(seed=11):
    """Two numbers to predict."""
    random, x = _numbers(seed)
    z = _unit(x)
    return _split(x, np.column_stack([z[:, 0] - z[:, 1], z[:, 2] * z[:, 3] + 0.1 * random.normal(size=len(x))]))


def two_labels(seed=12):
    """Two classes to predict at once: one of three, one of two."""
    random, x = _numbers(seed)
    z = _unit(x)
    return _split(x, np.column_stack([np.digitize(z[:, 0] + z[:, 1], [-0.5, 0.5]), (z[:, 2] > z[:, 3]).astype(int)]))


def float32(seed=13):
    """32-bit floats, as they come from sensors and networks."""
    x, y, ask = two_classes(seed)
    return x.astype(np.float32), y, ask.astype(np.float32)


def _holes(x, seed, share=0.15):
    x = x.copy()
    x[np.random.RandomState(seed).uniform(size=x.shape) < share] = np.nan
    return x


def missing(seed=14):
    """Two classes; one value in seven is missing."""
    x, y, ask = two_classes(seed)
    return _holes(x, seed), y, _holes(ask, seed + 1)


def missing_three(seed=15):
    x, y, ask = three_classes(seed)
    return _holes(x, seed), y, _holes(ask, seed + 1)


def missing_regression(seed=16):
    x, y, ask = regression(seed)
    return _holes(x, seed), y, _holes(ask, seed + 1)


def missing_later(seed=17):
    """Nothing is missing at training, but later."""
    x, y, ask = two_classes(seed)
    return x, y, _holes(ask, seed)


def categories(seed=18):
    """Columns 0 and 3 hold codes 0 to 7 and 0 to 20, with codes that training has not seen, and holes."""
    x, y, ask = missing(seed)
    random = np.random.RandomState(seed)
    for part, extra in ((x, 0), (ask, 2)):
        part[:, 0] = random.randint(0, 8 + extra, size=len(part))
        part[:, 3] = random.randint(0, 21 + extra, size=len(part))
        part[random.uniform(size=len(part)) < 0.05, 3] = np.nan
    y = ((x[:, 0] % 3 == 1) ^ (np.nan_to_num(x[:, 3]) % 5 < 2) ^ (random.uniform(size=len(x)) < 0.1)).astype(int)
    return x, y, ask


def categories_regression(seed=19):
    x, y, ask = categories(seed)
    return x, y * 3.0 + np.nan_to_num(x[:, 1]) * 0.2, ask


def table(seed=20):
    """A pandas table: texts with new categories later, numbers with holes, a text column with holes."""
    import pandas as pd

    random, x = _numbers(seed, columns=3)
    rows = len(x)
    cities = np.array(["Bonn", "Köln", "Ulm", "a b", "Rom", "Oslo"], dtype=object)
    frame = pd.DataFrame(
        {
            "age": x[:, 0] * 10 + 40,
            "city": cities[np.where(np.arange(rows) < TRAIN, random.randint(0, 5, rows), random.randint(0, 6, rows))],
            "income": np.where(random.uniform(size=rows) < 0.1, np.nan, x[:, 1]),
            "plan": np.array(["basic", "plus", "pro"], dtype=object)[random.randint(0, 3, rows)],
            "score": x[:, 2],
        }
    )
    y = ((frame["age"] > 40) ^ (frame["plan"] == "pro") ^ (random.uniform(size=rows) < 0.1)).to_numpy().astype(int)
    return frame[:TRAIN], y[:TRAIN], frame[TRAIN:].reset_index(drop=True)


def table_categories(seed=22):
    """The same with texts as pandas' categories, some of them missing."""
    x, y, ask = table(seed)
    for part in (x, ask):
        part["plan"] = part["plan"].where(part["score"] < 1.5, None)
        for name in ("city", "plan"):
            part[name] = part[name].astype("category")
    return x, y, ask


def texts(seed=21):
    """Short texts about two things."""
    random = np.random.RandomState(seed)
    words = [
        "Der Zug fährt heute spät ab train late again station".split(),
        "the soup was good Good GOOD kitchen cook's food-court 3 x".split(),
    ]
    y = random.randint(0, 2, size=TRAIN + ASK)
    both = words[0] + words[1]
    rows = []
    for label in y:
        pick = [words[label][i % len(words[label])] for i in random.randint(0, 12, size=random.randint(1, 9))]
        rows.append(
            " ".join([*pick, both[random.randint(0, len(both))], ["", "!", " ...", ", no"][random.randint(0, 4)]])
        )
    return rows[:TRAIN], y[:TRAIN], rows[TRAIN:]


def missing_column(seed=22):
    """Column 2 has no value at training."""
    x, y, ask = missing(seed)
    x[:, 2] = np.nan
    return x, y, ask


def table_holes(seed=23):
    """Texts with holes, truth values and whole numbers."""
    x, y, ask = table(seed)
    random = np.random.RandomState(seed)
    for part in (x, ask):
        part["member"] = random.uniform(size=len(part)) < 0.4
        part["count"] = random.randint(0, 5, size=len(part))
        part.loc[random.uniform(size=len(part)) < 0.2, "city"] = np.nan
        part.drop(columns=["plan"], inplace=True)
    return x, y, ask


def churn(seed=24):
    """Customers of a bank, from the churn data; made up in its likeness where that is not at hand."""
    import pathlib

    import pandas as pd

    file = pathlib.Path(__file__).resolve().parents[4] / "shared" / "data" / "churn.csv"
    if file.exists():
        frame = pd.read_csv(file).drop(columns=["RowNumber", "CustomerId", "Surname"])[: TRAIN + ASK]
    else:
        random = np.random.RandomState(seed)
        rows = TRAIN + ASK
        frame = pd.DataFrame(
            {
                "CreditScore": random.randint(350, 850, rows),
                "Geography": np.array(["France", "Spain", "Germany"], dtype=object)[random.randint(0, 3, rows)],
                "Gender": np.array(["Female", "Male"], dtype=object)[random.randint(0, 2, rows)],
                "Age": random.randint(18, 90, rows),
                "Tenure": random.randint(0, 11, rows),
                "Balance": random.uniform(0, 2e5, rows),
                "NumOfProducts": random.randint(1, 5, rows),
                "HasCrCard": random.randint(0, 2, rows),
                "IsActiveMember": random.randint(0, 2, rows),
                "EstimatedSalary": random.uniform(10, 2e5, rows),
            }
        )
        frame["Exited"] = (frame["Age"] > 50).astype(int)
    y = frame.pop("Exited").to_numpy()
    return frame[:TRAIN], y[:TRAIN], frame[TRAIN:].reset_index(drop=True)


def hard_texts(seed=25):
    """Texts with capitals, accents, blanks and signs from many scripts."""
    random = np.random.RandomState(seed)
    parts = (
        "Straße ÉTÉ été naïve İstanbul ΟΔΟΣ ΣΑΣ Σ ὈΔΥΣΣΕΎΣ Ǆ ﬁne ＦＵＬＬ ½ x² Ⅷ 한국어 北京 東京タワー ガ "
        "snake_case e-mail a1 42 3.14 don't l'été … — „ja“ ½kg №5 ǅ ﷺ ẞ ñandú Ørsted Æ Œuvre Ł ı ſ a\u0301b 𝐀𝐁 😀 1\u0663"
    ).split(" ")
    blanks = [" ", "  ", "\t", "\n", " \t ", "\u00a0", "\u3000 "]
    rows = []
    for _ in range(TRAIN + ASK):
        row = ""
        for i in random.randint(0, len(parts), size=random.randint(0, 9)):
            row += parts[i] + blanks[random.randint(0, len(blanks))]
        rows.append(row)
    rows[0] = "".join(p + " " for p in parts)
    return rows[:TRAIN], None, rows[TRAIN:]


def notes(seed=26):
    """A pandas table of texts, categories and numbers."""
    import pandas as pd

    learn, y, ask = texts(seed)
    random = np.random.RandomState(seed)
    rows = len(learn) + len(ask)
    frame = pd.DataFrame(
        {
            "n": random.normal(size=rows),
            "note": np.array(learn + ask, dtype=object),
            "kind": np.array(["a", "b", "c"], dtype=object)[random.randint(0, 3, rows)],
        }
    )
    return frame[:TRAIN], y, frame[TRAIN:].reset_index(drop=True)
