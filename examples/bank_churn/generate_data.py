"""Makes a table of bank customers that looks like the public churn table: same columns, plausible dependencies.

usage: generate_data.py [--rows N] [--seed S] OUT.csv

The same seed gives the same file. What depends on what is invented, but in the ways one expects of such a bank: people
leave more often in middle age, when inactive, with three or more products, in Germany; many accounts outside Germany
hold nothing; a second product goes with an empty account.
"""

import argparse
import csv
import pathlib

import numpy as np

COLUMNS = [
    "RowNumber",
    "CustomerId",
    "Surname",
    "CreditScore",
    "Geography",
    "Gender",
    "Age",
    "Tenure",
    "Balance",
    "NumOfProducts",
    "HasCrCard",
    "IsActiveMember",
    "EstimatedSalary",
    "Exited",
]

SURNAMES = (
    "Adler Bauer Becker Bennett Bernard Blanc Castillo Clark Cruz Diaz Dubois Fischer Fontaine Garcia Gomez Hall "
    "Hoffmann Iglesias Jensen Keller Lambert Lopez Martin Meyer Molina Moreau Navarro Neumann Ortega Petit Prieto "
    "Richter Robert Romero Schmidt Serrano Simon Smith Torres Vidal Walker Weber Werner Wolf Young Zimmermann"
).split()


def generate(rows: int = 10_000, seed: int = 7) -> list[list]:
    """The rows of the table, as values in the order of COLUMNS."""
    rng = np.random.default_rng(seed)

    country = rng.choice(["France", "Germany", "Spain"], size=rows, p=[0.50, 0.25, 0.25])
    german = country == "Germany"
    female = rng.random(rows) < np.where(german, 0.475, 0.45)
    # A skewed age: most customers are in their thirties, a tail reaches the nineties.
    age = np.clip(18 + rng.gamma(shape=4.2, scale=5.0, size=rows), 18, 92).astype(int)
    credit = np.clip(rng.normal(651, 97, rows), 350, 850).round().astype(int)
    # The first and the last year are cut off by when the table was taken.
    tenure = rng.choice(11, size=rows, p=np.array([0.4] + [1.0] * 9 + [0.5]) / 9.9)
    empty = ~german & (rng.random(rows) < 0.48)
    balance = np.where(empty, 0.0, np.clip(rng.normal(119_800, 30_500, rows), 3_000, 251_000)).round(2)
    products = np.where(
        empty,
        rng.choice([1, 2, 3, 4], size=rows, p=[0.250, 0.720, 0.026, 0.004]),
        rng.choice([1, 2, 3, 4], size=rows, p=[0.655, 0.312, 0.026, 0.007]),
    )
    card = (rng.random(rows) < 0.7055).astype(int)
    # Older customers use their account a little more.
    active = (rng.random(rows) < np.clip(0.45 + 0.004 * (age - 25), 0.4, 0.75)).astype(int)
    salary = rng.uniform(11, 200_000, rows).round(2)

    # The risk of leaving, as a logit. It peaks in the mid fifties.
    logit = (
        -2.0
        + 2.3 * np.exp(-(((age - 54) / 13.0) ** 2))
        - 0.9 * np.exp(-(((age - 26) / 8.0) ** 2))
        + 0.75 * german
        + 0.50 * female
        - 1.00 * active
        - 0.0007 * (credit - 650)
        - 0.016 * (tenure - 5)
        + np.select([products == 1, products == 2, products == 3], [0.35, -1.15, 3.1], 5.3)
    )
    exited = (rng.random(rows) < 1.0 / (1.0 + np.exp(-logit))).astype(int)
    customer = 15_565_701 + rng.choice(max(250_000, 2 * rows), size=rows, replace=False)
    surname = rng.choice(SURNAMES, size=rows)

    gender = np.where(female, "Female", "Male")
    return [
        list(values)
        for values in zip(
            range(1, rows + 1),
            customer.tolist(),
            surname.tolist(),
            credit.tolist(),
            country.tolist(),
            gender.tolist(),
            age.tolist(),
            tenure.tolist(),
            [_money(value) for value in balance.tolist()],
            products.tolist(),
            card.tolist(),
            active.tolist(),
            [_money(value) for value in salary.tolist()],
            exited.tolist(),
            strict=True,
        )
    ]


def _money(value: float) -> str:
    """As the public table writes amounts: at most two decimals and no trailing zeros."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def write(path: str | pathlib.Path, rows: int = 10_000, seed: int = 7) -> pathlib.Path:
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(COLUMNS)
        table.writerows(generate(rows, seed))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description="Make a table of bank customers with the columns of the churn table.")
    parser.add_argument("out", help="file to write")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    if args.rows < 1:
        parser.error("--rows must be at least 1")
    path = write(args.out, args.rows, args.seed)
    print(f"wrote {args.rows} rows to {path}")


if __name__ == "__main__":
    main()
