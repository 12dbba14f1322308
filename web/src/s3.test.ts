import { expect, it } from "vitest";
import { buckets, listing } from "./s3";

it("reads listings", () => {
  const xml = `<ListBucketResult><Prefix>a/</Prefix><Contents><Key>a/&lt;b&gt; &amp; &#x263A;.txt</Key><LastModified>2026-01-01T00:00:00Z</LastModified><Size>7</Size></Contents><CommonPrefixes><Prefix>a/deep/</Prefix></CommonPrefixes><NextContinuationToken>t=</NextContinuationToken></ListBucketResult>`;
  expect(listing(xml)).toEqual({ objects: [{ key: "a/<b> & ☺.txt", size: 7, changed: "2026-01-01T00:00:00Z" }], folders: ["a/deep/"], next: "t=" });
  expect(listing("<x/>")).toEqual({ objects: [], folders: [], next: undefined });
});
it("reads buckets", () => expect(buckets("<Buckets><Bucket><Name>b</Name><CreationDate>d</CreationDate></Bucket></Buckets>")).toEqual([{ name: "b", made: "d" }]));
