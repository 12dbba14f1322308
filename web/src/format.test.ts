import { describe, expect, it } from "vitest";
import { ago, bytes, duration, num, number, time, tone } from "./format";

describe("numbers", () => {
  it("takes what the APIs write for what is no number", () => {
    expect(num("NaN")).toBeNaN();
    expect(num("Infinity")).toBe(Infinity);
    expect(num("-Infinity")).toBe(-Infinity);
    expect(num("1.5")).toBe(1.5);
    expect(num("")).toBeNaN();
    expect(num(undefined)).toBeNaN();
  });
  it("is short and says the odd ones", () => {
    expect([number(NaN), number(1.7976931348623157e308), number(-Infinity)]).toEqual(["NaN", "∞", "−∞"]);
    expect([number(1234567), number(0.1234567), number(0), number(1e-9), number(3.2e12 + 0.5)]).toEqual(["1,234,567", "0.12346", "0", "1.000e-9", "3.200e+12"]);
  });
  it("has sizes", () => expect([bytes(0), bytes(1023), bytes(1536), bytes(5 << 20), bytes(-1)]).toEqual(["0 B", "1023 B", "1.5 KiB", "5.0 MiB", "–"]));
});

describe("times", () => {
  it("knows that 1970 means never", () => {
    expect(time("1970-01-01T00:00:00Z")).toBeNaN();
    expect(time(0)).toBeNaN();
    expect(time("")).toBeNaN();
    expect(time("2026-01-02T03:04:05Z")).toBe(Date.UTC(2026, 0, 2, 3, 4, 5));
    expect(time("1795647673019")).toBe(1795647673019);
  });
  it("says how long and how long ago", () => {
    expect([duration(0), duration(400), duration(2500), duration(65000), duration(3 * 3600e3), duration(NaN)]).toEqual(["< 1 s", "400 ms", "2.5 s", "1 min 5 s", "3 h 0 min", "–"]);
    expect([ago(1000, 2000), ago(0, 40000), ago(0, 7200e3), ago(60000, 0)]).toEqual(["just now", "40 s ago", "2 h ago", "in 1 min"]);
  });
});

it("gives every API's states one tone", () => expect(["SUCCEEDED", "FINISHED", "Running", "CrashLoopBackOff", "FAILED", "x"].map(tone)).toEqual(["good", "good", "busy", "warn", "bad", "muted"]));
