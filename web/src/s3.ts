// Answers of S3, which are XML. Pure functions.

export interface S3Object {
  key: string;
  size: number;
  changed: string;
}
export interface Listing {
  objects: S3Object[];
  folders: string[];
  next?: string;
}

const entities: Record<string, string> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };
export const unescape = (s: string) =>
  s.replace(/&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi, (all, hex?: string, dec?: string, name?: string) =>
    hex ? String.fromCodePoint(parseInt(hex, 16)) : dec ? String.fromCodePoint(Number(dec)) : (entities[name!] ?? all),
  );
const all = (xml: string, tag: string) => [...xml.matchAll(new RegExp(`<${tag}>([\\s\\S]*?)</${tag}>`, "g"))].map((m) => m[1]!);
const one = (xml: string, tag: string) => unescape(all(xml, tag)[0] ?? "");

export const buckets = (xml: string) => all(xml, "Bucket").map((b) => ({ name: one(b, "Name"), made: one(b, "CreationDate") }));
export const listing = (xml: string): Listing => ({
  objects: all(xml, "Contents").map((c) => ({ key: one(c, "Key"), size: Number(one(c, "Size")), changed: one(c, "LastModified") })),
  folders: all(xml, "CommonPrefixes").map((p) => one(p, "Prefix")),
  next: one(xml, "NextContinuationToken") || undefined,
});
