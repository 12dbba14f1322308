"""Texts: counted, weighted and hashed, alone and before models."""

from declare import Case, new

TEXT = "sklearn.feature_extraction.text."
TRANSFORM = ("transform",)
BOTH = ("predict", "predict_proba")


def text(name, **parameters):
    return new(TEXT + name, **parameters)


def pipe(*steps):
    return new("sklearn.pipeline.make_pipeline", *steps)


def logistic():
    return new("sklearn.linear_model.LogisticRegression")


def mixed():
    """A text column, a category and numbers."""
    return new(
        "sklearn.compose.ColumnTransformer",
        [
            ("note", text("TfidfVectorizer", ngram_range=(1, 2)), "note"),
            ("kind", new("sklearn.preprocessing.OneHotEncoder", handle_unknown="ignore"), ["kind"]),
            ("n", new("sklearn.preprocessing.StandardScaler"), ["n"]),
        ],
    )


CASES = [
    *[
        Case(f"text_count{suffix}", lambda p=parameters: text("CountVectorizer", **p), data, TRANSFORM)
        for suffix, parameters, data in [
            ("", {}, "texts"),
            ("_case", {"lowercase": False}, "texts"),
            ("_pairs", {"ngram_range": (1, 3), "min_df": 2}, "texts"),
            ("_only_pairs", {"ngram_range": (2, 2)}, "hard_texts"),
            ("_binary", {"binary": True, "max_features": 20}, "texts"),
            ("_english", {"stop_words": "english", "ngram_range": (1, 2)}, "texts"),
            ("_stop_list", {"stop_words": ["der", "the"], "ngram_range": (1, 2)}, "texts"),
            ("_short", {"token_pattern": r"(?u)\b\w+\b"}, "texts"),
            ("_letters", {"token_pattern": r"(?u)\b[^\W\d_]+\b"}, "hard_texts"),
            ("_no_blank", {"token_pattern": r"\S+"}, "hard_texts"),
            ("_group", {"token_pattern": r"(\w+)['-]\w", "lowercase": False}, "hard_texts"),
            ("_three", {"token_pattern": r"\b[a-zA-Z]{3,}\b"}, "texts"),
            ("_ascii", {"strip_accents": "ascii"}, "hard_texts"),
            ("_unicode", {"strip_accents": "unicode"}, "hard_texts"),
            ("_hard", {}, "hard_texts"),
            ("_char", {"analyzer": "char", "ngram_range": (1, 3)}, "hard_texts"),
            ("_char_wb", {"analyzer": "char_wb", "ngram_range": (2, 5)}, "hard_texts"),
            ("_fixed", {"vocabulary": ["soup", "zug", "train"]}, "texts"),
        ]
    ],
    *[
        Case(f"text_tfidf{suffix}", lambda p=parameters: text("TfidfVectorizer", **p), "texts", TRANSFORM)
        for suffix, parameters in [
            ("", {}),
            ("_sublinear", {"sublinear_tf": True, "norm": "l1"}),
            ("_plain", {"use_idf": False, "norm": None}),
            ("_rough", {"smooth_idf": False, "ngram_range": (1, 2)}),
        ]
    ],
    Case(
        "text_tfidf_f32",
        lambda: new(TEXT + "TfidfVectorizer", dtype=__import__("numpy").float32),
        "texts",
        TRANSFORM,
        tolerance=1e-6,
    ),
    Case("text_hashing", lambda: text("HashingVectorizer", n_features=64), "texts", TRANSFORM),
    Case(
        "text_hashing_hard",
        lambda: text("HashingVectorizer", n_features=50, norm=None, ngram_range=(1, 2)),
        "hard_texts",
        TRANSFORM,
    ),
    Case(
        "text_hashing_plain",
        lambda: text("HashingVectorizer", n_features=32, alternate_sign=False, norm="l1", binary=True),
        "texts",
        TRANSFORM,
    ),
    Case(
        "text_model",
        lambda: pipe(text("TfidfVectorizer", stop_words="english"), logistic()),
        "texts",
        BOTH,
        formats=("cloudpickle", "joblib", "skops"),
    ),
    Case(
        "text_model_steps",
        lambda: pipe(text("CountVectorizer"), text("TfidfTransformer"), logistic()),
        "texts",
        BOTH,
        formats=("cloudpickle", "skops"),
    ),
    Case("text_model_hashed", lambda: pipe(text("HashingVectorizer"), logistic()), "texts", BOTH),
    Case("text_model_columns", lambda: pipe(mixed(), logistic()), "notes", BOTH, formats=("cloudpickle", "skops")),
]
